"""Between Ray Tune and the book."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.data.store import Store
from cmd_tune.search.controller import Conductor
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.execution.trial_process import RECORDS, SLOWER
from cmd_tune.search.plan import new_plan
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.study import Book
from cmd_tune.tracking import RunSnapshot


class Shown(list[RunSnapshot]):
    """What MLflow would be shown."""

    show = list.append


@pytest.fixture
def conductor(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Conductor:
    plan = new_plan(
        str(make_space().path), storage=tmp_path / "runs", name="it", data=tiny_store.path, protocol="xview",
        preset=None, overrides=["epochs=451"], trials=4, concurrent=None, workers=1, gpus_per_worker=None,
        tracking_uri=None,
    )  # fmt: skip
    machine = Machine(workers=1, cpus=1.0, gpus=0.0, threads=1, concurrent=2, learning=2)
    book = Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
    return Conductor(plan, book, machine, Shown(), Console(file=io.StringIO()))  # type: ignore[arg-type]


def test_a_history_that_comes_at_once_is_entered_as_if_it_had_come_one_by_one(conductor: Conductor) -> None:
    config = conductor.suggest("a")
    assert config is not None
    history = [{"epoch": epoch, "loss/total": 1 / epoch} for epoch in range(1, 450)]
    history[99]["val/knn/fused"] = 50.0
    for record in history[:3]:
        conductor.reported("a", {**record, "pid": 1})
    shown = len(conductor.tracker)  # type: ignore[arg-type]
    conductor.reported("a", {**history[-1], "pid": 1, RECORDS: history})
    entry = conductor.book.entries[0]
    assert entry.history == history
    assert len((Path(config["folder"]) / "history.jsonl").read_text().splitlines()) == 449
    assert conductor.book._study.trials[0].intermediate_values == {100: 50.0}
    assert len(conductor.tracker) == shown + 1  # type: ignore[arg-type]


def test_what_many_trials_say_is_shown_once(conductor: Conductor) -> None:
    for trial in ("a", "b"):
        conductor.suggest(trial)
        conductor.reported(trial, {"epoch": 1, "loss/total": 1.0, SLOWER: "half the speed: [no compiler]"})
    output = conductor.display.console.file.getvalue()  # type: ignore[attr-defined]
    assert output.count("half the speed: [no compiler]\n") == 1
