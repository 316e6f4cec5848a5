"""An objective on a batch, in blocks of samples, against the same objective on the whole batch by autograd.

P trials, M modalities, G of all trials, A that ask a bank, B samples, D embedding, K bank rows, F figures.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from cmd_tune.model import batch_loss
from cmd_tune.model.batch_loss import BatchLoss
from cmd_tune.model.objectives import CMD, MCL, Base, CrosSCLR, one_pass

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


def of_one(query_MABD, key_MBD, banks_MKD, objective):
    """(loss, figures) of a single trial."""
    loss_P, figures_PF = BatchLoss.apply(query_MABD, key_MBD, banks_MKD, (objective,), None)
    assert (loss_P.shape, figures_PF.shape) == ((1,), (1, 1 + 2 * M))
    return loss_P[0], figures_PF[0]


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
    monkeypatch.setattr(batch_loss, "_BLOCK", rows * M * K * (M if objective.asks_every_bank else 1))
    query, key, banks = tensors()
    whole, ours = query.clone().requires_grad_(), query.clone().requires_grad_()
    query_MABD = asked(whole, objective)
    positive_MAB = (query_MABD * key[:, None]).sum(3)
    student, teacher = query_MABD @ banks[:, None].transpose(2, 3), key @ banks.transpose(1, 2)
    expected, cross_modal, contrastive_M = objective(positive_MAB, student, teacher)
    (3 * expected).backward()
    own = range(M) if objective.asks_every_bank else [0] * M
    hits = [(positive_MAB[m, a] > student[m, a].amax(1)).double().mean() for m, a in enumerate(own)]
    loss, figures = of_one(asked(ours, objective), key, banks, objective)
    (3 * loss).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(figures[: 1 + M], torch.stack((cross_modal, *contrastive_M)), rtol=1e-12, atol=0)
    torch.testing.assert_close(figures[1 + M :], torch.stack(hits), rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, whole.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_figures_have_no_gradient_and_inputs_stay(dtype):
    query, key, banks = tensors(dtype)
    before = [x.clone() for x in (query, key, banks)]
    objective = OBJECTIVES["cmd"]
    loss, figures = of_one(asked(query.requires_grad_(), objective), key, banks, objective)
    assert loss.requires_grad
    assert not figures.requires_grad
    loss.backward()
    for now, then in zip((query, key, banks), before, strict=True):
        assert torch.equal(now.detach(), then)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("distillation", ["pairwise", "consensus"])
def test_more_neighbours_than_rows_are_refused(dtype, distillation):
    query, key, banks = tensors(dtype)
    with pytest.raises((ValueError, RuntimeError), match=r"topk 12 exceeds|out of range"):
        of_one(query[:, None], key, banks, CMD(0.2, 0.1, 0.3, 12, 0.7, distillation))


def test_an_objective_that_does_not_use_keys_gets_none():
    query, key, banks = tensors()
    seen = []

    class Watched(Base):
        def __call__(self, positive_MAB, student_MABK, teacher_MBK):
            seen.append(teacher_MBK.shape)
            return super().__call__(positive_MAB, student_MABK, teacher_MBK)

    of_one(query[:, None], key, banks, Watched(0.2))
    assert seen == [(M, 0, K)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_cpu_sums_the_gradient_in_the_order_of_0_1_0(name):
    """To the last bit, so that a run goes on with the numbers with which an earlier version began it."""
    objective = OBJECTIVES[name]
    query, key, banks = tensors(torch.float32)
    query_MABD = asked(query, objective)
    rows_MRD = torch.cat((query_MABD.flatten(1, 2), *([key] if objective.uses_keys else [])), dim=1)
    similarities_MRK, positive_MAB = rows_MRD @ banks.transpose(1, 2), (query_MABD * key[:, None]).sum(3)
    arguments = ((objective,), positive_MAB, similarities_MRK)
    grad_positive_MAB = (one_pass.losses(*arguments) or batch_loss._losses_by_pytorch(*arguments))[2]
    start_MRD = (grad_positive_MAB[..., None] * key[:, None]).flatten(1, 2)
    expected = torch.baddbmm(start_MRD, similarities_MRK[:, : start_MRD.shape[1]], banks)
    ours = query_MABD.clone().requires_grad_()
    loss, _ = of_one(ours, key, banks, objective)
    loss.backward()
    assert torch.equal(ours.grad, expected.unflatten(1, query_MABD.shape[1:3]))


def several(name, P):
    """(objectives of P trials that differ, their queries as asked, keys and banks)."""
    first = OBJECTIVES[name]
    objectives = [replace(first, contrast_temperature=0.2 + 0.1 * p) for p in range(P)]
    if first.uses_keys:
        objectives = [replace(of, topk=1 + p, distill_weight=0.7 + p) for p, of in enumerate(objectives)]
    if name == "crossclr":
        objectives = [replace(of, crossclr_topk=1 + p) for p, of in enumerate(objectives)]
    generator = torch.Generator().manual_seed(1)
    shapes = ((P * M, n, D) for n in (B, B, K))
    query, key, banks = (F.normalize(torch.randn(*shape, generator=generator), dim=2) for shape in shapes)
    return objectives, torch.cat([asked(of, first) for of in query.chunk(P)]).contiguous(), key, banks


def apart(objectives, query_GABD, key_GBD, banks_GKD, pull_P):
    """Losses, figures, and the gradient of Σ pull · loss in the queries, as lists over the trials."""
    query_GABD = query_GABD.clone().requires_grad_()
    loss_P, figures_PF = BatchLoss.apply(query_GABD, key_GBD, banks_GKD, objectives, None)
    (gradient,) = torch.autograd.grad(loss_P, query_GABD, pull_P)
    return list(zip(loss_P.detach(), figures_PF, gradient.chunk(len(objectives)), strict=True))


@pytest.mark.parametrize("P", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_trials_side_by_side_are_as_each_alone(name, dtype, P):
    """Within rounding: the sums of a product depend on how many there are."""
    objectives, *tensors = several(name, P)
    tensors = [x.to(dtype) for x in tensors]
    pull_P = torch.arange(1, P + 1, dtype=dtype)
    found = apart(objectives, *tensors, pull_P)
    for p, (objective, *of_one) in enumerate(zip(objectives, *(x.chunk(P) for x in tensors), strict=True)):
        (alone,) = apart((objective,), *of_one, pull_P[p : p + 1])
        for ours, theirs in zip(found[p], alone, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("where", ["query", "bank", "pull"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_trial_that_breaks_leaves_its_fellows_losses_and_gradients(name, where):
    """Its embeddings, its bank, or what comes back from what is made of its loss."""
    objectives, query, key, banks = several(name, 3)
    pull_P = torch.ones(3)
    whole = apart(objectives, query, key, banks, pull_P)
    {"query": query[M : 2 * M], "bank": banks[M : 2 * M], "pull": pull_P[1:2]}[where].fill_(torch.nan)
    found = apart(objectives, query, key, banks, pull_P)
    assert found[1][2].isnan().any()
    for p in (0, 2):
        for ours, theirs in zip(found[p], whole[p], strict=True):
            assert ours.isfinite().all()
            assert torch.equal(ours, theirs)
