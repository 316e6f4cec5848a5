"""Rankings by hand, and against scikit-learn's average precision."""

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.retrieval import rank, recall_ks


def on_a_circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack((angles.cos(), angles.sin()), dim=1)[None]


def test_by_hand():
    """Seen from 0 degrees the gallery's classes are 1, 0, 0, 1: precision 1 and 2/4 for class 1, 1/2 and 2/3 for 0."""
    gallery, query = on_a_circle(10, 20, 30, 40), on_a_circle(0, 0)
    ranking = rank(gallery, query, torch.tensor([1, 0, 0, 1]), torch.tensor([1, 0]))
    expected = torch.tensor([(1 + 2 / 4) / 2, (1 / 2 + 2 / 3) / 2])
    torch.testing.assert_close(ranking.average_precision_SQ, expected.expand(3, 2))
    assert ranking.rank_SQ.tolist() == [[1, 2]] * 3
    assert ranking.hits(1).tolist() == [[True, False]] * 3
    assert ranking.hits(2).all()


def test_a_class_that_the_gallery_lacks_is_never_found():
    ranking = rank(on_a_circle(10, 20), on_a_circle(0), torch.tensor([0, 1]), torch.tensor([2]))
    assert ranking.average_precision_SQ.tolist() == [[0.0]] * 3
    assert not ranking.hits(2).any()


def test_agrees_with_scikit_learn():
    """Where no two clips are as similar, its average precision is ours."""
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    gallery, query = torch.randn(2, 50, 4, generator=generator), torch.randn(2, 600, 4, generator=generator)
    label_G, label_Q = (torch.randint(0, 5, (n,), generator=generator) for n in (50, 600))
    ranking = rank(gallery, query, label_G, label_Q)
    for modality in range(2):
        g, q = gallery[modality].double().numpy(), query[modality].double().numpy()
        cosine_QG = (q @ g.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(g, axis=1)
        for index in range(0, 600, 37):
            theirs = metrics.average_precision_score(label_G.numpy() == int(label_Q[index]), cosine_QG[index])
            assert float(ranking.average_precision_SQ[modality, index]) == pytest.approx(theirs, abs=1e-5)


def test_recall_stops_at_the_gallery():
    assert list(recall_ks(7)) == [1, 5]
