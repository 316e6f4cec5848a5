"""Cosines of every stream, against every pair looked at in NumPy."""

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.similarity import similarity_blocks, stream_names

M, G, Q, F = 3, 17, 11, 5


@pytest.fixture
def features():
    """Modalities whose features differ in length by orders of magnitude, clip by clip."""
    generator = torch.Generator().manual_seed(0)
    scale_M11 = torch.tensor([0.1, 1.0, 10.0])[:, None, None]
    gallery = torch.randn(M, G, F, generator=generator) * scale_M11 * torch.rand(M, G, 1, generator=generator)
    query = torch.randn(M, Q, F, generator=generator) * scale_M11 * torch.rand(M, Q, 1, generator=generator)
    return gallery, query


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_every_stream_and_every_pair(features):
    gallery, query = (x.double().numpy() for x in features)
    ours = torch.cat([block.clone() for block in similarity_blocks(*features)], dim=1).numpy()
    assert ours.shape == (M + 2, Q, G)
    for q in range(Q):
        for g in range(G):
            each = [cosine(query[m, q], gallery[m, g]) for m in range(M)]
            joined = cosine(query[:, q].ravel(), gallery[:, g].ravel())
            np.testing.assert_allclose(ours[:, q, g], [*each, np.mean(each), joined], atol=2e-6)


@pytest.mark.parametrize("block", [1, 4, Q, 100])
def test_blocks_do_not_matter(features, block):
    whole = next(iter(similarity_blocks(*features)))
    parts = torch.cat([part.clone() for part in similarity_blocks(*features, block=block)], dim=1)
    torch.testing.assert_close(parts, whole)


def test_a_feature_of_nothing_is_like_nothing(features):
    gallery, query = features
    gallery[:, 3] = 0
    whole = next(iter(similarity_blocks(gallery, query)))
    assert torch.equal(whole[:, :, 3], torch.zeros(M + 2, Q))
    assert whole.isfinite().all()


def test_one_modality_is_all_three_streams(features):
    gallery, query = (x[:1] for x in features)
    alone, fused, joined = next(iter(similarity_blocks(gallery, query)))
    torch.testing.assert_close(fused, alone)
    torch.testing.assert_close(joined, alone)


def test_names_are_in_the_order_of_the_streams():
    assert stream_names(("joint", "bone")) == ("joint", "bone", "fused", "concatenated")
    assert stream_names(("joint", "bone"), concatenated=False) == ("joint", "bone", "fused")
