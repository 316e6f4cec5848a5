"""compiled.cpp against the objectives as PyTorch computes them in float64: losses, figures, gradients, limits."""

import math

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.model.batch_loss import _losses_in_blocks
from cmd_tune.model.objectives import compiled
from cmd_tune.model.objectives.methods import CMD, MCL, Base, CrosSCLR

# M modalities, A that ask a bank, B samples, K bank rows, R rows of similarities

pytestmark = pytest.mark.skipif(native.library() is None, reason="this machine has no C++ compiler")


def similarities(objective, M, B, K, seed=0, spread=0.3):
    """(positive_MAB, similarities_MRK) in float32, as BatchLoss has them."""
    generator = torch.Generator().manual_seed(seed)
    A = M if objective.asks_every_bank else 1
    rows = A * B + (B if objective.uses_keys else 0)
    positive, both = (torch.randn(*s, generator=generator).mul(spread).clamp(-1, 1) for s in ((M, A, B), (M, rows, K)))
    return positive, both


def compare(objective, positive_MAB, similarities_MRK, within=2e-6):
    """Loss, figures and gradients against float64's; returns the gradient in the queries' similarities."""
    M, A, B = positive_MAB.shape
    exact_MRK, ours_MRK = similarities_MRK.double(), similarities_MRK.clone()
    loss, figures, grad_positive = _losses_in_blocks(objective, positive_MAB.double(), exact_MRK)
    ours = compiled.losses(objective, positive_MAB, ours_MRK)
    assert ours is not None
    torch.testing.assert_close(ours[0].double(), loss, rtol=within, atol=1e-6)
    torch.testing.assert_close(ours[1].double(), figures, rtol=within, atol=1e-6)
    of_queries = slice(0, A * B)
    for mine, right in ((ours[2], grad_positive), (ours_MRK[:, of_queries], exact_MRK[:, of_queries])):
        assert (mine.double() - right).norm() <= within * right.norm() + 1e-12
    return ours_MRK[:, of_queries].view(M, A, B, -1)


def every_objective(topk, **temperatures):
    cold = {"contrast_temperature": 0.07, "teacher_temperature": 0.05, "student_temperature": 0.1, **temperatures}
    contrast = cold["contrast_temperature"]
    return {
        "base": Base(contrast),
        "mcl": MCL(contrast, "added"),
        "mcl instead": MCL(contrast, "instead"),
        "cmd": CMD(**cold, topk=topk, distill_weight=0.7),
        "consensus": CMD(**cold, topk=topk, distill_weight=0.7, distillation="consensus"),
        "weight 0": CMD(**cold, topk=topk, distill_weight=0.0),
    }


NAMES = tuple(every_objective(1))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("M", "B", "K", "topk"), [(3, 7, 11, 4), (2, 5, 1, 1), (2, 1, 40, 40), (5, 4, 333, 100), (3, 6, 4099, 2048)]
)
@pytest.mark.parametrize("name", NAMES)
def test_losses_figures_and_gradients_are_pytorchs(name, M, B, K, topk, threads):
    objective = every_objective(topk)[name]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    compare(objective, *similarities(objective, M, B, K))
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "temperatures",
    [
        {"teacher_temperature": 1e-3},
        {"teacher_temperature": 0.02, "student_temperature": 0.005},
        {"contrast_temperature": 5e-3},
        {"teacher_temperature": 1e3, "student_temperature": 1e3, "contrast_temperature": 1e3},
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_cold_and_hot_temperatures(name, temperatures):
    """Exponents to −400, where float32 has nothing left, and none at all."""
    objective = every_objective(50, **temperatures)[name]
    compare(objective, *similarities(objective, 3, 8, 200, spread=0.5), within=2e-5)


@pytest.mark.parametrize("topk", [1, 2, 17, 64, 127, 128])
def test_the_neighbours_are_topks(topk):
    """Without contrast's share, the rows with a gradient are the teacher's choice: half of them negative, one 0."""
    objective = CMD(1e6, 1.0, 1.0, topk, 1.0)
    positive, both = similarities(objective, 2, 16, 128)
    both[:, :, 5] = 0.0
    gradient = compare(objective, positive, both)[:, 0]
    chosen = both[:, 16:].topk(topk).indices
    for student, teacher in ((0, 1), (1, 0)):
        there = torch.zeros(16, 128, dtype=torch.bool).scatter_(1, chosen[teacher], True)
        far = gradient[student][~there].abs()
        assert topk == 128 or far.max() < 1e-8
        if topk > 1:
            assert gradient[student][there].abs().min() > 1e-8


@pytest.mark.parametrize("distillation", ["pairwise", "consensus"])
def test_of_equal_neighbours_exactly_as_many_as_there_is_room_for(distillation):
    """Similarities on a grid of nine values: whichever are taken of the last ones, no more and no fewer than topk."""
    objective = CMD(1e6, 0.5, 1.0, 20, 1.0, distillation)
    positive, both = similarities(objective, 2, 12, 64)
    both[:, 12:] = (both[:, 12:] * 4).round() / 4
    compiled.losses(objective, positive, both_after := both.clone())
    taken = (both_after[:, :12].abs() > 1e-8).sum(2)
    assert (taken == 20).all(), taken


def test_all_rows_alike_are_a_uniform_distribution():
    objective = CMD(0.07, 0.05, 0.1, 8, 1.0)
    both = torch.full((3, 8, 32), 0.25)
    loss, figures, _ = compiled.losses(objective, torch.full((3, 1, 4), 0.25), both)
    assert figures[0].item() == pytest.approx(0, abs=5e-6)
    assert loss.item() == pytest.approx(3 * math.log(33), rel=1e-6)
    assert figures[4:].tolist() == [0.0, 0.0, 0.0]  # no positive beats its equals


def test_one_neighbour_is_exactly_nothing():
    objective = CMD(0.07, 0.05, 0.1, 1, 1.0)
    positive, both = similarities(objective, 3, 5, 30)
    alone = both[:, :5].clone()
    _, figures, _ = compiled.losses(objective, positive, both)
    compiled.losses(Base(0.07), positive, alone)
    assert figures[0].item() == 0.0
    assert torch.equal(both[:, :5], alone)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    """Equal similarities in all modalities, equal temperatures: the pairs' KL and their gradient vanish."""
    objective = CMD(0.07, 0.1, 0.1, 40, 1.0)
    positive, both = similarities(objective, 3, 5, 100)
    both[:] = both[:1, :5].repeat(1, 2, 1)
    contrast = both[:, :5].clone()
    _, figures, _ = compiled.losses(objective, positive, both)
    compiled.losses(Base(0.07), positive, contrast)
    assert figures[0].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(both[:, :5], contrast, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["query", "key"])
def test_what_is_no_number_makes_the_loss_none(name, where):
    """So that a diverged run is stopped, whichever side it broke on."""
    objective = every_objective(6)[name]
    positive, both = similarities(objective, 3, 4, 20)
    if where == "query":
        both[1, 2, 7] = math.nan
    elif objective.uses_keys:
        both[1, -2] = math.nan
    else:
        positive[1, 0, 2] = math.nan
    loss, *_ = compiled.losses(objective, positive, both)
    if name != "weight 0" or where == "query":
        assert not math.isfinite(loss.item())


def test_crossclr_and_float64_are_left_to_pytorch():
    objective = CrosSCLR(0.07, 2, "with")
    assert compiled.losses(objective, *similarities(objective, 3, 4, 20)) is None
    positive, both = similarities(Base(0.07), 3, 4, 20)
    assert compiled.losses(Base(0.07), positive.double(), both.double()) is None
