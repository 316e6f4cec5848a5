"""Trials side by side are timed by the program that runs them, and so many are chosen as gain and have room."""

from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
import torch

from cmd_tune.data.store import Store
from cmd_tune.errors import DataError, OutOfMemory
from cmd_tune.runs.data_source import open_data
from cmd_tune.runs.fused_probe import Timed, choose, next_trials, side_by_side, time_fused
from cmd_tune.settings import Settings
from cmd_tune.train.step import steps_alone

CPU = torch.device("cpu")


def asked(each: dict[int, float], most: int, room: float = inf, memory: int = 10) -> tuple[list[int], int]:
    """The numbers of trials that are timed, and the one chosen. each: a trial's step; memory: bytes a trial."""
    rows: list[Timed] = []
    while trials := next_trials(rows, most, room):
        rows.append(Timed(trials, trials * each[trials], trials * memory))
    return [row.trials for row in rows], choose(rows, room).trials


# Milliseconds of a trial's step on a card: of a small encoder in bfloat16 and in float32, and of one that fills a card.
BFLOAT16 = {1: 1.09, 2: 0.63, 4: 0.39, 8: 0.27, 16: 0.22, 32: 0.19}
FLOAT32 = {1: 1.38, 2: 0.85, 4: 0.60, 8: 0.45, 16: 0.39, 32: 0.35}
LARGE = {1: 15.7, 2: 15.0, 4: 14.9}


@pytest.mark.parametrize(
    ("each", "most", "timed", "chosen"),
    [
        (BFLOAT16, 32, [1, 2, 4, 8, 16, 32], 32),
        (BFLOAT16, 8, [1, 2, 4, 8], 8),
        (BFLOAT16, 1, [1], 1),
        (FLOAT32 | {32: 0.36}, 64, [1, 2, 4, 8, 16, 32], 16),  # 0.39 / 0.36 is 8 % more
        (LARGE, 4, [1, 2], 1),  # 5 % more
        ({1: 1.0, 2: 0.6, 3: 0.5}, 3, [1, 2, 3], 3),  # no more than there are, and not only powers of two
        ({1: 1.0, 2: 0.91}, 2, [1, 2], 1),
        ({1: 1.0, 2: 0.90}, 2, [1, 2], 2),
    ],
)
def test_more_trials_are_tried_while_each_gains_a_tenth(
    each: dict[int, float], most: int, timed: list[int], chosen: int
) -> None:
    assert asked(each, most) == (timed, chosen)


@pytest.mark.parametrize(
    ("room", "timed", "chosen"),
    [(80, [1, 2, 4, 8], 8), (79, [1, 2, 4], 4), (20, [1, 2], 2), (19, [1], 1), (5, [1], 1), (-3, [1], 1)],
)
def test_no_more_trials_are_tried_than_have_room_by_the_memory_of_those_before(
    room: float, timed: list[int], chosen: int
) -> None:
    assert asked(BFLOAT16, 32, room) == (timed, chosen)


def test_trials_that_took_more_than_was_told_are_not_chosen() -> None:
    rows = [Timed(1, 1.0, 10), Timed(2, 1.2, 30)]
    assert (choose(rows, 29), choose(rows, 30)) == (rows[0], rows[1])
    assert next_trials(rows, 8, 29) is None


def test_threads_have_one_program_and_one_trial_has_its_own_steps() -> None:
    assert side_by_side(1, lambda steps_by: steps_by, CPU) == [steps_alone]
    (together,) = set(side_by_side(3, lambda steps_by: steps_by, CPU))
    assert together is not steps_alone


def test_the_failure_of_one_is_raised_and_nobody_waits_for_it() -> None:
    """One of three fails before its first step; the others, which wait to begin with it, end as well."""
    order = iter(range(3))

    def train(steps_by: Callable[..., object]) -> None:
        if next(order) == 1:
            raise DataError("a file is gone")
        steps_by()

    with pytest.raises(DataError, match="a file is gone"):
        side_by_side(3, train, CPU)


def test_real_steps_are_timed(
    tiny: Callable[..., Settings], tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor: of one trial and of what is chosen; nothing is left behind."""
    source, _ = open_data(tmp_path, tiny_store.path, "xview")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    one, best = time_fused(tiny(batch_size=8, stages="two"), source, 3, 1.0, CPU)
    assert one.trials == 1
    assert best.trials in (1, 2, 3)
    assert one.each >= best.each > 0
    assert (one.memory, best.memory) == (0, 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_that_is_full_ends_the_timing_unless_one_trial_has_none(
    tiny: Callable[..., Settings], tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmd_tune.train import fused_program, loop

    source, _ = open_data(tmp_path, tiny_store.path, "xview")

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fused_program, "build_encoder", full)
    one, best = time_fused(tiny(batch_size=8), source, 2, 1.0, CPU)
    assert one == best
    monkeypatch.setattr(loop, "build_encoder", full)
    with pytest.raises(OutOfMemory):
        time_fused(tiny(batch_size=8), source, 2, 1.0, CPU)
