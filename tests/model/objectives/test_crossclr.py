"""CrosSCLR's cross-view objective: the authors' numbers, re-derived in NumPy, in closed form, by finite differences."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from cmd_tune.model.objectives.crossclr import CrosSCLR, cross_view_contrast

M, B, K = 3, 5, 16
MODALITIES = ("joint", "motion", "bone")
CASES = list(product((1, 3), (True, False)))


def similarities(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1


@pytest.fixture(scope="module")
def reference(golden):
    with np.load(golden / "crossclr_loss.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.mark.parametrize(("topk", "context"), CASES)
def test_the_authors_numbers(reference, topk, context):
    q, k, bank = (torch.stack([reference[f"{kind}_{m}"] for m in MODALITIES]) for kind in ("q", "k", "queue"))
    ours = cross_view_contrast((q * k).sum(2), q @ bank, topk, context=context, contrast_temperature=0.07)
    theirs = [reference[f"loss_{m}_topk{topk}_context{int(context)}"].item() for m in MODALITIES]
    assert ours.tolist() == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize(("topk", "context"), CASES)
def test_numpy_agrees(modalities, topk, context):
    positive, bank = similarities(0, modalities, B), similarities(1, modalities, B, K)
    expected = np.zeros(modalities)
    for u, v in product(range(modalities), repeat=2):
        for sample in range(B):
            mine, theirs = bank[u, sample].numpy(), bank[v, sample].numpy()
            if u == v:
                continue
            logits = [positive[u, sample].item(), *mine] + ([*(mine * theirs)] if context else [])
            log_p = np.array(logits) / 0.07
            log_p -= np.log(np.exp(log_p).sum())
            found = np.argsort(-theirs)[:topk]
            positives = [0, *(1 + found)] + ([*(1 + K + found)] if context else [])
            expected[u] -= log_p[positives].mean() / B / (modalities - 1)
    ours = cross_view_contrast(positive, bank, topk, context=context, contrast_temperature=0.07)
    assert ours.tolist() == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize("context", [True, False])
def test_no_similarity_leaves_the_number_of_logits(context):
    """All zero, hence all logits: −log of one in 1 + 2K, or in 1 + K."""
    ours = cross_view_contrast(torch.zeros(M, B), torch.zeros(M, B, K), 3, context=context, contrast_temperature=0.07)
    assert ours.tolist() == pytest.approx([math.log(1 + (2 if context else 1) * K)] * M)


def test_a_cold_temperature_asks_for_what_the_other_finds():
    """τ → 0 without context, topk 1: the best logit less the mean of the positive's and the mined one's, over τ."""
    positive, bank = similarities(0, 2, B), similarities(1, 2, B, K)
    ours = cross_view_contrast(positive, bank, 1, context=False, contrast_temperature=1e-5)
    for u, v in [(0, 1), (1, 0)]:
        best = torch.maximum(positive[u], bank[u].amax(1))
        mined = bank[u].gather(1, bank[v].argmax(1, keepdim=True))[:, 0]
        expected = (best - (positive[u] + mined) / 2).mean() / 1e-5
        assert ours[u].item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(("topk", "context"), CASES)
def test_gradients_are_those_of_finite_differences(topk, context):
    """Both factors of the context have one."""

    def loss(positive, bank):
        return cross_view_contrast(positive, bank, topk, context=context, contrast_temperature=0.3)

    assert torch.autograd.gradcheck(
        loss, (similarities(0, M, B).requires_grad_(), similarities(1, M, B, K).requires_grad_())
    )


# The method


@pytest.mark.parametrize("context", ["with", "without"])
def test_crossclr_takes_the_place_of_base(asked, contrastive, context):
    """The contrastive terms are reported, and have no gradient."""
    expected = cross_view_contrast(
        asked[0][:, 0], asked[1][:, 0], 2, context=context == "with", contrast_temperature=0.07
    )
    total, between, own = CrosSCLR(0.07, 2, context)(asked[0].requires_grad_(), asked[1].requires_grad_(), asked[2])
    assert total.item() == between.item() == pytest.approx(expected.sum().item())
    torch.testing.assert_close(own, contrastive)
    assert not own.requires_grad
