"""What objective.py promises of an objective, for every one that is registered."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from torch.nn import functional as F

from cmd_tune.model.batch_loss import BatchLoss
from cmd_tune.model.objectives import CMD, DISTILLATIONS, OBJECTIVES
from cmd_tune.model.objectives.distillation import pairwise_distillation
from cmd_tune.settings import Settings
from cmd_tune.train.loop import objective_at

M, B, K = 3, 6, 11


@pytest.fixture(params=OBJECTIVES)
def objective(request, tiny):
    return objective_at(tiny(objective=request.param, topk=4, crossclr_topk=2), 1)


def similarities(objective, seed=0):
    """(positive_MAB, student_MABK, teacher_MBK) in float64, of random unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    query, key, banks = (
        F.normalize(torch.randn(M, n, 5, generator=generator, dtype=torch.float64), dim=2) for n in (B, B, K)
    )
    asked = query.expand(M, M, B, 5) if objective.asks_every_bank else query[:, None]
    teacher = key @ banks.mT if objective.uses_keys else torch.empty(M, B, 0, dtype=torch.float64)
    return (asked * key[:, None]).sum(3), asked @ banks[:, None].mT, teacher


def test_its_fields_are_settings_and_its_name_is_the_users_word(objective):
    assert {field.name for field in fields(objective)} <= set(Settings.model_fields)
    assert OBJECTIVES[objective.name] is type(objective)
    with pytest.raises(FrozenInstanceError):
        objective.contrast_temperature = 1.0


def test_equal_fields_make_equal_objectives(objective):
    """A captured step has the objective as its key."""
    values = {field.name: getattr(objective, field.name) for field in fields(objective)}
    again, other = type(objective)(**values), type(objective)(**{**values, "contrast_temperature": 3.0})
    assert (objective, hash(objective)) == (again, hash(again))
    assert objective != other


def test_the_outcome(objective):
    loss, cross_modal, contrastive_M = objective(*similarities(objective))
    assert loss.shape == cross_modal.shape == ()
    assert contrastive_M.shape == (M,)
    assert all(x.isfinite().all() for x in (loss, cross_modal, contrastive_M))
    assert (contrastive_M > 0).all()
    assert bool(cross_modal != 0) == objective.cross_modal


def test_the_contrastive_term_is_info_nce_whatever_the_loss(objective):
    """−log softmax of the positive among itself and the rows, from its definition."""
    positive_MAB, student_MABK, teacher_MBK = similarities(objective)
    own = range(M) if objective.asks_every_bank else [0] * M
    for m, a in enumerate(own):
        logits = torch.cat((positive_MAB[m, a, :, None], student_MABK[m, a]), dim=1) / objective.contrast_temperature
        expected = F.cross_entropy(logits, torch.zeros(B, dtype=torch.long))
        found = objective(positive_MAB, student_MABK, teacher_MBK)[2][m]
        assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_is_the_slope(objective):
    positive_MAB, student_MABK, teacher_MBK = similarities(objective)

    def loss(positive, student):
        return objective(positive, student, teacher_MBK)[0]

    assert torch.autograd.gradcheck(loss, (positive_MAB.requires_grad_(), student_MABK.requires_grad_()))


def test_no_gradient_flows_into_the_teacher(objective):
    positive_MAB, student_MABK, teacher_MBK = similarities(objective)
    loss = objective(positive_MAB.requires_grad_(), student_MABK, teacher_MBK.requires_grad_())[0]
    assert torch.autograd.grad(loss, teacher_MBK, allow_unused=True)[0] is None


def test_the_order_of_samples_and_of_rows_does_not_matter(objective):
    positive_MAB, student_MABK, teacher_MBK = similarities(objective)
    sample_B = torch.tensor([3, 5, 0, 1, 4, 2])
    row_K = torch.randperm(K, generator=torch.Generator().manual_seed(1))
    teacher = teacher_MBK[:, sample_B]
    shuffled = objective(
        positive_MAB[..., sample_B],
        student_MABK[:, :, sample_B][..., row_K],
        teacher[..., row_K] if objective.uses_keys else teacher,
    )
    for ours, theirs in zip(shuffled, objective(positive_MAB, student_MABK, teacher_MBK), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_a_batch_is_the_mean_of_its_parts(objective, parts):
    positive_MAB, student_MABK, teacher_MBK = similarities(objective)
    pieces = zip(positive_MAB.chunk(parts, 2), student_MABK.chunk(parts, 2), teacher_MBK.chunk(parts, 1), strict=True)
    outcomes = [objective(*piece) for piece in pieces]
    for ours, theirs in zip(
        zip(*outcomes, strict=True), objective(positive_MAB, student_MABK, teacher_MBK), strict=True
    ):
        torch.testing.assert_close(torch.stack(ours).mean(0), theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_a_training_step_has_its_loss_and_gradient(objective, dtype, within):
    """BatchLoss, which float32 takes through the compiled pass if `terms` names the loss, against autograd."""
    generator = torch.Generator().manual_seed(0)
    query, key, banks = (
        F.normalize(torch.randn(M, n, 5, generator=generator, dtype=torch.float64), dim=2) for n in (B, B, K)
    )
    losses, found = [], []
    for by_autograd in (True, False):
        kind = torch.float64 if by_autograd else dtype
        mine = query.to(kind).requires_grad_()
        asked = mine.expand(M, M, B, 5) if objective.asks_every_bank else mine[:, None]
        if by_autograd:
            teacher = key @ banks.mT if objective.uses_keys else key[..., :0]
            loss = objective((asked * key[:, None]).sum(3), asked @ banks[:, None].mT, teacher)[0]
        else:
            (loss,), _ = BatchLoss.apply(asked, key.to(kind), banks.to(kind), (objective,), None)
        losses.append(loss.item())
        found.append(torch.autograd.grad(loss, mine)[0].double())
    assert losses[1] == pytest.approx(losses[0], rel=within)
    assert (found[1] - found[0]).norm() <= within * found[0].norm()


def test_pytorch_computes_a_distillation_that_kernels_do_not_know(tiny, monkeypatch):
    """It can be chosen by its name; kernels would take it for one of theirs, or for none."""
    monkeypatch.setitem(DISTILLATIONS, "twice", lambda *args, **options: 2 * pairwise_distillation(*args, **options))
    values = {field.name: getattr(tiny(), field.name) for field in fields(CMD)}
    twice, half = CMD(**{**values, "topk": 4, "distillation": "twice"}), CMD(**{**values, "topk": 4})
    assert twice.terms(K) is None
    query, key, banks = (F.normalize(torch.randn(M, n, 5), dim=2) for n in (B, B, K))
    found, expected = (BatchLoss.apply(query[:, None], key, banks, (of,), None)[1][0] for of in (twice, half))
    assert found[0].item() == pytest.approx(2 * expected[0].item(), rel=2e-5)


def test_terms_refuse_more_neighbours_than_rows_or_need_none(objective):
    """A kernel may not read past a bank."""
    named = objective.terms(K)
    if named is not None and named.topk:
        assert objective.terms(named.topk) == named
        with pytest.raises(ValueError, match=f"topk {named.topk} exceeds the {named.topk - 1} rows"):
            objective.terms(named.topk - 1)


@pytest.mark.parametrize("name", [name for name, method in OBJECTIVES.items() if not method.cross_modal])
def test_one_modality_is_enough_without_a_term_between_them(tiny, name):
    objective = objective_at(tiny(objective=name, modalities=("joint",)), 1)
    positive_MAB, student_MABK, teacher_MBK = (x[:1] for x in similarities(objective))
    loss, _, contrastive_M = objective(positive_MAB, student_MABK, teacher_MBK)
    assert loss.item() == pytest.approx(contrastive_M.sum().item())
