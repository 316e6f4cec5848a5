"""What base.py promises of a view transformation, for every one that is registered."""

from dataclasses import fields

import pytest
import torch

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.views import VIEWS
from cmd_tune.settings import Settings

LENGTHS = torch.tensor([1, 2, 7, 30, 12, 64, 5, 90])
SHAPE, FRAMES = (20, 3, 2), 9
FLAT = (20, 2, 3)  # of rows as wide
START = LENGTHS.cumsum(0) - LENGTHS


@pytest.fixture(params=VIEWS)
def view(request, tiny):
    settings, kind = tiny(views=request.param), VIEWS[request.param]
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})


@pytest.fixture(scope="module")
def rows():
    return torch.randn(int(LENGTHS.sum()), 120, generator=torch.Generator().manual_seed(0))


def drawn(view, key=("draws",), lengths=LENGTHS):
    return view.draw(lengths, SHAPE[0], keyed_generator(*key))


def test_its_fields_are_settings_and_its_name_is_the_users_word(view):
    assert {field.name for field in fields(view)} <= set(Settings.model_fields)
    assert VIEWS[view.name] is type(view)


def test_numbers_are_uniform_one_row_a_clip(view):
    """Mean ½ and variance 1/12 within five standard deviations of theirs."""
    uniform_BN = view.numbers(500, SHAPE[0], keyed_generator("uniform"))
    count = uniform_BN.numel()
    assert len(uniform_BN) == 500
    assert (uniform_BN >= 0).all()
    assert (uniform_BN < 1).all()
    assert abs(uniform_BN.mean().item() - 1 / 2) < 5 * (1 / 12 / count) ** 0.5
    assert abs(uniform_BN.var().item() - 1 / 12) < 5 * (1 / 180 / count) ** 0.5


def test_draws_depend_on_the_key_alone(view):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = drawn(view, key=(3, "views", 7, 11))
    torch.rand(10)
    again, other = drawn(view, key=(3, "views", 7, 11)), drawn(view, key=(3, "views", 7, 12))
    torch.set_rng_state(before)
    drawn(view)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(len(x) == len(LENGTHS) for x in one)


@pytest.mark.parametrize("shape", [SHAPE, FLAT])
def test_a_view_depends_on_its_draws_alone(view, rows, shape):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draws = drawn(view)
    one, again = (view.make(rows, START, draws, FRAMES, shape) for _ in range(2))
    assert torch.equal(one, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.shape == (len(LENGTHS), FRAMES, *shape)
    assert one.dtype == torch.float32
    assert one.isfinite().all()


def test_what_is_made_is_in_the_draws_and_not_in_the_fields(view, rows):
    """Trials side by side have their views made at once, by one of them."""
    values = {name: x / 2 if isinstance(x, float) else x for name, x in vars(view).items()}
    draws = drawn(view)
    other = type(view)(**values)
    assert torch.equal(other.make(rows, START, draws, FRAMES, SHAPE), view.make(rows, START, draws, FRAMES, SHAPE))


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_makes_its_samples_of_the_global_batch(view, rows, workers):
    """It keeps its rows of the numbers; what is chosen and made of them is what one worker has for these samples."""
    whole = view.make(rows, START, drawn(view), FRAMES, SHAPE)
    uniform_BN = view.numbers(len(LENGTHS), SHAPE[0], keyed_generator("draws"))
    for rank in range(workers):
        mine_B = torch.arange(len(LENGTHS)).view(workers, -1)[rank]
        draws = view.choose(uniform_BN[mine_B], LENGTHS[mine_B])
        assert torch.equal(view.make(rows, START[mine_B], draws, FRAMES, SHAPE), whole[mine_B])


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_no_digit(view, rows, threads):
    before = torch.get_num_threads()
    one = view.make(rows, START, drawn(view), FRAMES, SHAPE)
    torch.set_num_threads(threads)
    try:
        draws = drawn(view)
        many = view.make(rows, START, draws, FRAMES, SHAPE)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, many)


def test_a_view_reads_its_own_clip_alone(view, rows):
    """All other rows are not numbers; what is read of them would show."""
    whole = view.make(rows, START, drawn(view), FRAMES, SHAPE)
    for i in range(len(LENGTHS)):
        alone_FX = torch.full_like(rows, torch.nan)
        own = slice(int(START[i]), int(START[i] + LENGTHS[i]))
        alone_FX[own] = rows[own]
        draws = [x[[i]] for x in drawn(view)]
        assert torch.equal(view.make(alone_FX, START[[i]], tuple(draws), FRAMES, SHAPE), whole[[i]])


def test_every_clip_gets_a_view_of_its_own(view, rows):
    """Twice the same clip in a batch, and the two views of a step, are not the same view."""
    starts, lengths = START[[5]].repeat(12), LENGTHS[[5]].repeat(12)
    views = view.make(rows, starts, drawn(view, lengths=lengths), FRAMES, SHAPE)
    assert len(torch.unique(views.flatten(1), dim=0)) == 12
