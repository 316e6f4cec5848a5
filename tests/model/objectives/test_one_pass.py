"""one_pass.cpp and one_pass_kernels.py against PyTorch's objectives in float64: losses, gradients, limits."""

import math
from importlib import import_module

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.model.objectives import CMD, Base, CrosSCLR, one_pass
from tests.model.objectives.cases import NAMES, by_kernels, compare, every_objective, of_one, similarities

# (M modalities, B samples, K bank rows, topk)
SIZES = [
    (3, 7, 11, 4),
    (2, 5, 1, 1),
    (2, 1, 40, 40),
    (5, 4, 333, 100),
    (7, 3, 64, 20),
    (3, 6, 4099, 2048),
]
MANY = (2, 130, 5, 2)  # more terms than one_pass_kernels.py adds up at once; all objectives add them in one way


@pytest.fixture(params=["compiled", "kernels"])
def of_trials(request):
    """The function of one of the two; the kernels run in Triton's interpreter."""
    if request.param == "kernels":
        return by_kernels(import_module("tests.model.interpreted").objective_kernels.losses)
    if native.library() is None:
        pytest.skip("this machine has no C++ compiler")
    return one_pass.losses


@pytest.fixture
def losses(of_trials):
    return of_one(of_trials)


@pytest.mark.parametrize(
    ("name", "M", "B", "K", "topk"), [*((name, *size) for name in NAMES for size in SIZES), ("cmd", *MANY)]
)
def test_losses_figures_and_gradients_are_pytorchs(losses, name, M, B, K, topk):
    objective = every_objective(topk)[name]
    compare(losses, objective, *similarities(objective, M, B, K))


@pytest.mark.skipif(native.library() is None, reason="this machine has no C++ compiler")
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_threads_share_the_samples(name, threads):
    objective = every_objective(100)[name]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    compare(of_one(one_pass.losses), objective, *similarities(objective, 5, 4, 333))
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
def test_cold_and_hot_temperatures(losses, name, temperatures):
    """Exponents to −400, where float32 has nothing left, and none at all."""
    objective = every_objective(50, **temperatures)[name]
    compare(losses, objective, *similarities(objective, 3, 8, 200, spread=0.5), within=2e-5)


@pytest.mark.parametrize("topk", [1, 2, 17, 64, 127, 128])
def test_the_neighbours_are_topks(losses, topk):
    """Without contrast's share, the rows with a gradient are the teacher's choice: half of them negative, one 0."""
    objective = CMD(1e6, 1.0, 1.0, topk, 1.0)
    positive, both = similarities(objective, 2, 16, 128)
    both[:, :, 5] = 0.0
    gradient = compare(losses, objective, positive, both)[:, 0]
    chosen = both[:, 16:].topk(topk).indices
    for student, teacher in ((0, 1), (1, 0)):
        there = torch.zeros(16, 128, dtype=torch.bool).scatter_(1, chosen[teacher], True)
        far = gradient[student][~there].abs()
        assert topk == 128 or far.max() < 1e-8
        if topk > 1:
            assert gradient[student][there].abs().min() > 1e-8


@pytest.mark.parametrize("distillation", ["pairwise", "consensus"])
def test_of_equal_neighbours_the_first_that_there_is_room_for(losses, distillation):
    """Similarities on a grid of nine values: exactly topk rows, and none is passed over for an equal one behind it."""
    objective = CMD(1e6, 0.5, 1.0, 20, 1.0, distillation)
    positive, both = similarities(objective, 2, 12, 64)
    both[:, 12:] = (both[:, 12:] * 4).round() / 4 + 0.0  # no −0, which is less than 0 in the kernels
    losses(objective, positive, both_after := both.clone())
    expected = torch.zeros(2, 12, 64, dtype=torch.bool)
    expected.scatter_(2, both[:, 12:].flip(0).argsort(dim=2, descending=True, stable=True)[:, :, :20], True)
    assert torch.equal(both_after[:, :12].abs() > 1e-8, expected)


def test_all_rows_alike_are_a_uniform_distribution(losses):
    objective = CMD(0.07, 0.05, 0.1, 8, 1.0)
    both = torch.full((3, 8, 32), 0.25)
    loss, figures, _ = losses(objective, torch.full((3, 1, 4), 0.25), both)
    assert figures[0].item() == pytest.approx(0, abs=5e-6)
    assert loss.item() == pytest.approx(3 * math.log(33), rel=1e-6)
    assert figures[4:].tolist() == [0.0, 0.0, 0.0]  # no positive beats its equals


def test_one_neighbour_is_exactly_nothing(losses):
    objective = CMD(0.07, 0.05, 0.1, 1, 1.0)
    positive, both = similarities(objective, 3, 5, 30)
    alone = both[:, :5].clone()
    _, figures, _ = losses(objective, positive, both)
    losses(Base(0.07), positive, alone)
    assert figures[0].item() == 0.0
    assert torch.equal(both[:, :5], alone)


def test_a_student_like_its_teacher_has_nothing_to_learn(losses):
    """Equal similarities in all modalities, equal temperatures: the pairs' KL and their gradient vanish."""
    objective = CMD(0.07, 0.1, 0.1, 40, 1.0)
    positive, both = similarities(objective, 3, 5, 100)
    both[:] = both[:1, :5].repeat(1, 2, 1)
    contrast = both[:, :5].clone()
    _, figures, _ = losses(objective, positive, both)
    losses(Base(0.07), positive, contrast)
    assert figures[0].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(both[:, :5], contrast, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["query", "key"])
def test_what_is_no_number_makes_the_loss_none(losses, name, where):
    """So that a diverged run is stopped, whichever side it broke on."""
    objective = every_objective(6)[name]
    positive, both = similarities(objective, 3, 4, 20)
    if where == "query":
        both[1, 2, 7] = math.nan
    elif objective.uses_keys:
        both[1, -2] = math.nan
    else:
        positive[1, 0, 2] = math.nan
    loss, *_ = losses(objective, positive, both)
    if name != "weight 0" or where == "query":
        assert not math.isfinite(loss.item())


def test_crossclr_and_float64_are_left_to_pytorch(losses):
    objective = CrosSCLR(0.07, 2, "with")
    assert losses(objective, *similarities(objective, 3, 4, 20)) is None
    positive, both = similarities(Base(0.07), 3, 4, 20)
    assert losses(Base(0.07), positive.double(), both.double()) is None


@pytest.mark.parametrize("distillation", ["pairwise", "consensus"])
def test_more_neighbours_than_rows_are_refused(losses, distillation):
    objective = CMD(0.07, 0.05, 0.1, 21, 1.0, distillation)
    with pytest.raises(ValueError, match="topk 21 exceeds the 20 rows of a bank"):
        losses(objective, *similarities(objective, 3, 4, 20))
