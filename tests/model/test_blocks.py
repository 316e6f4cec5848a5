"""An objective in blocks of samples against the same objective on the whole batch by autograd."""

import pytest
import torch
from torch.nn import functional as F

from cmd_tune.model import blocks
from cmd_tune.model.blocks import MeanInBlocks
from cmd_tune.model.objectives.methods import CMD, MCL, Base, CrosSCLR

M, B, D, K = 3, 7, 5, 11


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(M, n, D, generator=generator, dtype=dtype), dim=2) for n in (B, B, K)]


OBJECTIVES = {
    "base": Base(0.2),
    "mcl": MCL(0.2, "added"),
    "mcl instead": MCL(0.2, "instead"),
    "crossclr": CrosSCLR(0.2, 2, "with"),
    "cmd": CMD(0.2, 0.1, 0.3, 4, 0.7),
    "consensus": CMD(0.2, 0.1, 0.3, 4, 0.7, "consensus"),
}


def terms_of(objective):
    def terms(*similarities):
        total, cross_modal, contrastive_M = objective(*similarities)
        return total, torch.cat((cross_modal[None], contrastive_M))

    return terms


def asked(query_MBD, objective):
    return query_MBD.expand(M, M, B, D) if objective.asks_every_bank else query_MBD[:, None]


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_figures_and_gradient_are_those_of_the_whole_batch(monkeypatch, threads, rows, name):
    objective = OBJECTIVES[name]
    monkeypatch.setattr(blocks, "_BLOCK", rows * M * K * (M if objective.asks_every_bank else 1))
    query, key, banks = tensors()
    whole, ours = query.clone().requires_grad_(), query.clone().requires_grad_()
    query_MABD = asked(whole, objective)
    student, teacher = query_MABD @ banks[:, None].transpose(2, 3), key @ banks.transpose(1, 2)
    terms = terms_of(objective)
    expected, expected_figures = terms((query_MABD * key[:, None]).sum(3), student, teacher)
    (3 * expected).backward()
    loss, figures = MeanInBlocks.apply(asked(ours, objective), key, banks, terms, objective.uses_keys)
    (3 * loss).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(figures, expected_figures, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, whole.grad, rtol=1e-10, atol=1e-13)


def test_figures_have_no_gradient_and_inputs_stay():
    query, key, banks = tensors()
    before = [x.clone() for x in (query, key, banks)]
    objective = OBJECTIVES["cmd"]
    query_MABD = asked(query.requires_grad_(), objective)
    loss, figures = MeanInBlocks.apply(query_MABD, key, banks, terms_of(objective), True)
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
        MeanInBlocks.apply(query[:, None], key, banks, broken, True)


def test_terms_without_keys_get_none():
    query, key, banks = tensors()
    seen = []

    def terms(positive_MAB, student_MABK, teacher_MBK):
        seen.append(teacher_MBK.shape)
        return student_MABK.sum() + positive_MAB.sum(), torch.zeros(1)

    MeanInBlocks.apply(query[:, None], key, banks, terms, False)
    assert seen == [(M, 0, K)]
