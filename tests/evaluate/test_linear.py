"""The linear probe: is it at the minimum, and at the minimum of what it says?"""

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.linear import linear_predictions, linear_probabilities

M, G, Q, F, L = 3, 120, 40, 6, 4


@pytest.fixture
def data():
    """Overlapping classes, features of very different means and spreads."""
    generator = torch.Generator().manual_seed(0)
    centre_MLF = torch.randn(M, L, F, generator=generator)
    label_G = torch.arange(G) % L
    label_Q = torch.arange(Q) % L
    scale_F, shift_F = torch.logspace(-2, 2, F), torch.linspace(-50, 50, F)

    def features(labels):
        noise = torch.randn(M, len(labels), F, generator=generator)
        return (centre_MLF[:, labels] + noise) * scale_F + shift_F

    return features(label_G), features(label_Q), label_G


def newton(gallery, query, labels, penalty):
    """Multinomial logistic regression in float64, by Newton's method from 0; probabilities of the queries."""
    mean, std = gallery.mean(0), gallery.std(0, ddof=1)
    x = np.concatenate([(gallery - mean) / std, np.ones((len(gallery), 1))], axis=1)
    z = np.concatenate([(query - mean) / std, np.ones((len(query), 1))], axis=1)
    classes = labels.max() + 1
    truth = np.eye(classes)[labels]
    ridge = np.full((x.shape[1], classes), penalty)
    ridge[-1] = 1e-9  # biases are not penalised; a trace of it, since adding a constant to all changes nothing
    weights = np.zeros_like(ridge)

    def probabilities(inputs):
        logits = inputs @ weights
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    for _ in range(50):
        p = probabilities(x)
        gradient = x.T @ (p - truth) / len(x) + ridge * weights
        curvature = (p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None, :]) / len(x)
        hessian = np.einsum("gf,gkl,ge->fkel", x, curvature, x).reshape(weights.size, weights.size)
        weights -= np.linalg.solve(hessian + np.diag(ridge.ravel()), gradient.ravel()).reshape(weights.shape)
    assert np.abs(gradient).max() < 1e-10
    return probabilities(z)


@pytest.mark.parametrize("penalty", [1e-1, 1e-2, 1e-3])
def test_probabilities_are_those_of_the_minimum(data, penalty):
    gallery, query, labels = data
    ours = linear_probabilities(gallery, query, labels, penalty=penalty)
    assert ours.shape == (M, Q, L)
    for m in range(M):
        exact = newton(gallery[m].double().numpy(), query[m].double().numpy(), labels.numpy(), penalty)
        np.testing.assert_allclose(ours[m].numpy(), exact, atol=2e-3)


def test_all_at_once_is_each_alone(data):
    gallery, query, labels = data
    together = linear_probabilities(gallery, query, labels)
    for m in range(M):
        alone = linear_probabilities(gallery[m : m + 1], query[m : m + 1], labels)
        torch.testing.assert_close(together[m : m + 1], alone, rtol=0, atol=4e-3)


def test_fused_is_the_mean_of_the_probabilities(data):
    predictions = linear_predictions(*data)
    probability_MQL = linear_probabilities(*data)
    assert torch.equal(predictions[:M], probability_MQL.argmax(2))
    assert torch.equal(predictions[M], probability_MQL.mean(0).argmax(1))
    assert len({tuple(row.tolist()) for row in predictions}) == M + 1


def test_separable_classes_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    features = 10 * torch.eye(3)[labels] + torch.randn(60, 3, generator=generator)
    predictions = linear_predictions(features.expand(2, -1, -1), features.expand(2, -1, -1), labels)
    assert torch.equal(predictions, labels.expand(3, 60))


def test_units_of_a_feature_do_not_matter(data):
    gallery, query, labels = data
    scale, shift = torch.logspace(2, -2, F), torch.linspace(3, -3, F)
    ours = linear_probabilities(gallery * scale + shift, query * scale + shift, labels)
    torch.testing.assert_close(ours, linear_probabilities(gallery, query, labels), rtol=0, atol=4e-3)


def test_a_feature_that_never_changes_is_harmless(data):
    gallery, query, labels = data
    constant_G, constant_Q = torch.full((M, G, 1), 7.0), torch.full((M, Q, 1), 7.0)
    ours = linear_probabilities(torch.cat((gallery, constant_G), 2), torch.cat((query, constant_Q), 2), labels)
    torch.testing.assert_close(ours, linear_probabilities(gallery, query, labels), rtol=0, atol=4e-3)


def test_the_same_numbers_every_time_and_in_any_mode(data):
    first = linear_probabilities(*data)
    with torch.no_grad():
        assert torch.equal(linear_probabilities(*data), first)
    assert not first.requires_grad
