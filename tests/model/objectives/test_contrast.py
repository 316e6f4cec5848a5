"""Contrast within and between modalities: re-derived in NumPy, in closed form, by finite differences."""

import math

import numpy as np
import pytest
import torch

from cmd_tune.model.objectives.contrast import MCL, Base, info_nce, mutual_contrast

M, B, K = 3, 5, 16


def similarities(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(*(shape or (M, B, K)), generator=generator, dtype=torch.float64) - 1


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def test_info_nce_in_closed_form():
    """All similarities alike: log(1 + K). Positive 1 and K negatives −1 at τ: log(1 + K·e^(−2/τ))."""
    assert info_nce(torch.zeros(M, B), torch.zeros(M, B, K), 0.07).tolist() == pytest.approx([math.log(1 + K)] * M)
    for temperature in (0.07, 0.5, 2.0):
        ours = info_nce(torch.ones(M, B).double(), -torch.ones(M, B, K).double(), temperature)
        expected = math.log1p(K * math.exp(-2 / temperature))
        assert ours.tolist() == pytest.approx([expected] * M, rel=1e-5 if temperature > 0.07 else 1e-2)


def test_info_nce_is_cross_entropy_of_class_zero_a_modality():
    positive, bank = similarities(2)[..., 0], similarities(0)
    logits = torch.cat((positive[..., None], bank), dim=2) / 0.07
    expected = [np.mean([-np.log(softmax(row.numpy())[0]) for row in of_one]) for of_one in logits]
    assert info_nce(positive, bank, 0.07).tolist() == pytest.approx(expected, rel=1e-12)


def test_info_nce_gradient():
    def loss(positive, bank):
        return info_nce(positive, bank, 0.3)

    assert torch.autograd.gradcheck(loss, (similarities(2)[..., 0].requires_grad_(), similarities(0).requires_grad_()))


def test_info_nce_of_cold_temperatures_is_finite():
    bank = torch.zeros(1, 1, 2)
    bank[..., 1] = 1.0
    assert info_nce(torch.zeros(1, 1), bank, 1e-6).tolist() == pytest.approx([1e6])


# Between modalities


def test_mutual_contrast_is_one_cross_entropy_a_pair():
    """Query q_a, positive k_b, negatives Q_b, from embeddings; row b, column a of what is handed over."""
    generator = np.random.default_rng(0)
    q, k, bank = (x / np.linalg.norm(x, axis=2, keepdims=True) for x in (
        generator.normal(size=(M, B, 6)), generator.normal(size=(M, B, 6)), generator.normal(size=(M, K, 6))
    ))  # fmt: skip
    expected, own = 0.0, np.zeros(M)
    for a in range(M):
        for b in range(M):
            for sample in range(B):
                logits = np.array([q[a, sample] @ k[b, sample], *(bank[b] @ q[a, sample])]) / 0.07
                loss = -np.log(softmax(logits)[0]) / B
                if a == b:
                    own[a] += loss
                else:
                    expected += loss
    q, k, bank = (torch.from_numpy(x) for x in (q, k, bank))
    positive_MAB = torch.einsum("abd,mbd->mab", q, k)
    between, own_M = mutual_contrast(positive_MAB, torch.einsum("abd,mkd->mabk", q, bank), 0.07)
    assert between.item() == pytest.approx(expected, rel=1e-12)
    assert own_M.tolist() == pytest.approx(own.tolist(), rel=1e-12)


def test_mutual_contrast_in_closed_form():
    """All similarities alike: log(1 + K) for each of M(M − 1) pairs. Twin modalities: M − 1 times their own terms."""
    between, own_M = mutual_contrast(torch.zeros(M, M, B), torch.zeros(M, M, B, K), 0.07)
    assert between.item() == pytest.approx(M * (M - 1) * math.log(1 + K))
    assert own_M.tolist() == pytest.approx([math.log(1 + K)] * M)
    positive, bank = similarities(2, B).expand(M, M, B), similarities(0, B, K).expand(M, M, B, K)
    between, own_M = mutual_contrast(positive, bank, 0.07)
    assert between.item() == pytest.approx((M - 1) * own_M.sum().item(), rel=1e-12)


def test_one_modality_has_nobody_to_contrast_with():
    between, own_M = mutual_contrast(similarities(2, 1, 1, B), similarities(0, 1, 1, B, K), 0.07)
    assert between.item() == pytest.approx(0, abs=1e-12)
    assert own_M.item() == pytest.approx(info_nce(similarities(2, 1, B), similarities(0, 1, B, K), 0.07).item())


def test_mutual_contrast_gradient():
    def loss(positive, bank):
        return mutual_contrast(positive, bank, 0.3)

    inputs = (similarities(2, M, M, B).requires_grad_(), similarities(0, M, M, B, K).requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


# The methods


def test_base_is_the_contrastive_terms_alone(asked, contrastive):
    total, between, own = Base(0.07)(*asked)
    assert total.item() == pytest.approx(contrastive.sum().item())
    assert between.item() == 0.0
    assert torch.equal(own, contrastive)


@pytest.mark.parametrize("form", ["added", "instead"])
def test_mcl_is_added_or_instead(form):
    generator = torch.Generator().manual_seed(0)
    positive, student = (torch.rand(M, M, B, *rest, generator=generator).double() for rest in ((), (K,)))
    pairs = info_nce(positive, student, 0.07)
    total, between, own = MCL(0.07, form)(positive, student, student[:, 0, :0])
    assert torch.equal(own, pairs.diagonal())
    assert between.item() == pytest.approx(pairs.sum().item() - own.sum().item())
    assert total.item() == pytest.approx(pairs.sum().item() if form == "added" else between.item())
