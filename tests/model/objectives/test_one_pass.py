"""one_pass.cpp and one_pass_kernels.py against PyTorch's objectives in float64: losses, gradients, limits."""

import math
from importlib import import_module

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.model.objectives import CMD, Base, CrosSCLR, one_pass
from cmd_tune.model.objectives.terms import Terms, numbers
from tests.model.objectives.cases import (
    KINDS,
    NAMES,
    by_kernels,
    compare,
    every_objective,
    of_one,
    of_trials,
    side_by_side,
    similarities,
)

# (M modalities, B samples, K bank rows, topk)
SIZES = [
    (3, 7, 11, 4),
    (2, 5, 1, 1),
    (2, 1, 40, 40),
    (5, 3, 333, 100),
    (7, 2, 64, 20),
    (3, 2, 4099, 2048),
]


@pytest.fixture(params=["compiled", "kernels"])
def together(request):
    """The function of one of the two; the kernels run in Triton's interpreter."""
    if request.param == "kernels":
        return by_kernels(import_module("tests.model.interpreted").objective_kernels.losses)
    if native.library() is None:
        pytest.skip("this machine has no C++ compiler")
    return one_pass.losses


@pytest.fixture
def losses(together):
    return of_one(together)


@pytest.mark.parametrize(("M", "B", "K", "topk"), SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_losses_figures_and_gradients_are_pytorchs(losses, name, M, B, K, topk):
    objective = every_objective(topk)[name]
    compare(losses, objective, *similarities(objective, M, B, K))


@pytest.mark.parametrize("name", ["cmd", "mcl"])
def test_kernels_add_up_more_terms_than_fit_at_once(name, monkeypatch):
    """In four parts and two; MCL has thrice as many terms, of which most are of other banks."""
    launch = import_module("tests.model.interpreted").objective_kernels
    monkeypatch.setattr(launch, "SUMMED", 4)
    objective = every_objective(4)[name]
    compare(of_one(by_kernels(launch.losses)), objective, *similarities(objective, 3, 5, 11))


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
    compare(losses, objective, *similarities(objective, 3, 3, 200, spread=0.5), within=2e-5)


@pytest.mark.parametrize("topk", [1, 2, 17, 64, 127, 128])
def test_the_neighbours_are_topks(losses, topk):
    """Without contrast's share, the rows with a gradient are the teacher's choice: half of them negative, one 0."""
    objective = CMD(1e6, 1.0, 1.0, topk, 1.0)
    positive, both = similarities(objective, 2, 5, 128)
    both[:, :, 5] = 0.0
    gradient = compare(losses, objective, positive, both)[:, 0]
    chosen = both[:, 5:].topk(topk).indices
    for student, teacher in ((0, 1), (1, 0)):
        there = torch.zeros(5, 128, dtype=torch.bool).scatter_(1, chosen[teacher], True)
        far = gradient[student][~there].abs()
        assert topk == 128 or far.max() < 1e-8
        if topk > 1:
            assert gradient[student][there].abs().min() > 1e-8


@pytest.mark.parametrize("distillation", ["pairwise", "consensus"])
def test_of_equal_neighbours_the_first_that_there_is_room_for(losses, distillation):
    """Similarities on a grid of nine values: exactly topk rows, and none is passed over for an equal one behind it."""
    objective = CMD(1e6, 0.5, 1.0, 20, 1.0, distillation)
    positive, both = similarities(objective, 2, 5, 64)
    both[:, 5:] = (both[:, 5:] * 4).round() / 4 + 0.0  # no −0, which is less than 0 in the kernels
    losses(objective, positive, both_after := both.clone())
    expected = torch.zeros(2, 5, 64, dtype=torch.bool)
    expected.scatter_(2, both[:, 5:].flip(0).argsort(dim=2, descending=True, stable=True)[:, :, :20], True)
    assert torch.equal(both_after[:, :5].abs() > 1e-8, expected)


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


def by_trial(losses, objectives, positive_GAB, similarities_GRK):
    """Each trial's loss, figures, gradients in its positives and in its similarities; the latter's stay as they are."""
    P, both_GRK = len(objectives), similarities_GRK.clone()
    loss_P, figures_PF, grad_positive_GAB = losses(objectives, positive_GAB, both_GRK)
    assert loss_P.shape == (P,)
    return list(zip(loss_P, figures_PF, grad_positive_GAB.chunk(P), both_GRK.chunk(P), strict=True))


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("together", "P"), [("compiled", 1), ("compiled", 3), ("compiled", 8), ("kernels", 3)], indirect=["together"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_each_trial_has_the_numbers_of_it_alone(together, kind, P):
    """To the last bit, though every number differs between the trials."""
    objectives = of_trials(kind, P, most=40)
    tensors = side_by_side(objectives, 3, 2, 40)
    found = by_trial(together, objectives, *tensors)
    for objective, ours, positive, both in zip(objectives, found, *(x.chunk(P) for x in tensors), strict=True):
        assert_same(ours, *by_trial(together, (objective,), positive, both))


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_follow_the_numbers_in_memory(kind):
    """A captured graph keeps its arguments: what the objectives were then does not count."""
    launched = import_module("tests.model.interpreted").objective_kernels.losses
    before = of_trials(kind, 2, most=40)
    after = list(reversed(of_trials(kind, 4, most=40)))[:2]
    tensors = side_by_side(before, 3, 2, 40)
    numbers_PN = numbers(before, 40)

    def replayed(_, *given):
        return launched(before, numbers_PN, *given)

    first = by_trial(replayed, before, *tensors)
    numbers_PN.copy_(numbers(after, 40))
    second = by_trial(replayed, before, *tensors)
    for p, expected in enumerate(by_trial(by_kernels(launched), after, *tensors)):
        assert_same(second[p], expected)
        assert not torch.equal(second[p][0], first[p][0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_trial_leaves_its_fellows_as_they_are(together, kind):
    objectives = of_trials(kind, 3, most=20)
    positive, both = side_by_side(objectives, 3, 2, 20)
    whole = by_trial(together, objectives, positive, both)
    for broken in (math.nan, math.inf):
        for tensor in (positive, both):
            tensor.unflatten(0, (3, 3))[1].fill_(broken)
        found = by_trial(together, objectives, positive, both)
        assert not found[1][0].isfinite()
        for p in (0, 2):
            assert found[p][0].isfinite()
            assert_same(found[p], whole[p])


def test_kernels_read_as_many_trials_as_there_are():
    launched = import_module("tests.model.interpreted").objective_kernels.losses
    objectives = of_trials("base", 3, most=1)
    with pytest.raises(ValueError, match=r"numbers of shape \(2, 7\) are not those of 3 objectives"):
        launched(objectives, numbers(objectives[:2], 40), *side_by_side(objectives, 3, 2, 40))


def test_rows_of_keys_that_no_term_reads_are_left_to_pytorch():
    """Whoever reads rows by the terms would take keys of one modality for queries of the next."""

    class Sparing(CMD):
        def terms(self, rows):
            return Terms(self.contrast_temperature)

    objective = Sparing(0.1, 0.1, 0.1, topk=3, distill_weight=0.0)
    positive_GAB, similarities_GRK = torch.rand(2, 1, 4), torch.rand(2, 8, 9)
    assert one_pass.losses([objective], positive_GAB, similarities_GRK) is None
