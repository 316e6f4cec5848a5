"""An objective in blocks of samples against the same objective on the whole batch by autograd."""

import pytest
import torch
from torch.nn import functional as F

from cmd_tune.model import blocks
from cmd_tune.model.blocks import MeanInBlocks
from cmd_tune.model.objectives import cross_modal_distillation, info_nce

M, B, D, K = 3, 7, 5, 11


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(M, n, D, generator=generator, dtype=dtype), dim=2) for n in (B, B, K)]


def terms(positive_MB, student_MBK, teacher_MBK):
    contrastive_M = info_nce(positive_MB, student_MBK, 0.2)
    distillation = cross_modal_distillation(
        student_MBK, teacher_MBK, 4, student_temperature=0.3, teacher_temperature=0.1
    )
    return contrastive_M.sum() + 0.7 * distillation, torch.cat((distillation[None], contrastive_M))


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 100])
def test_loss_figures_and_gradient_are_those_of_the_whole_batch(monkeypatch, threads, rows):
    monkeypatch.setattr(blocks, "_BLOCK", rows * M * K)
    query, key, banks = tensors()
    whole, ours = query.clone().requires_grad_(), query.clone().requires_grad_()
    student, teacher = whole @ banks.transpose(1, 2), key @ banks.transpose(1, 2)
    expected, expected_figures = terms((whole * key).sum(2), student, teacher)
    (3 * expected).backward()
    loss, figures = MeanInBlocks.apply(ours, key, banks, terms)
    (3 * loss).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(figures, expected_figures, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, whole.grad, rtol=1e-10, atol=1e-13)


def test_figures_have_no_gradient_and_inputs_stay():
    query, key, banks = tensors()
    before = [x.clone() for x in (query, key, banks)]
    loss, figures = MeanInBlocks.apply(query.requires_grad_(), key, banks, terms)
    assert loss.requires_grad
    assert not figures.requires_grad
    loss.backward()
    for now, then in zip((query, key, banks), before, strict=True):
        assert torch.equal(now.detach(), then)


def test_what_a_block_raises_is_raised():
    def broken(*similarities):
        raise ValueError("topk 12 exceeds 11")

    query, key, banks = tensors()
    with pytest.raises(ValueError, match="topk 12 exceeds 11"):
        MeanInBlocks.apply(query, key, banks, broken)
