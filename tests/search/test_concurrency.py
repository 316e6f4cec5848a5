"""How many trials the conductor lets run at once."""

from rich.console import Console

from cmd_tune.search.controller import Conductor
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.plan import new_plan
from cmd_tune.search.study.study import Book
from cmd_tune.tracking import open_tracker


def handed_out(space, store, storage, machine):
    """How many trials the conductor of a new search hands out before any of them reports."""
    plan = new_plan(
        str(space.path),
        storage=storage,
        name="it",
        data=store.path,
        protocol="xview",
        preset=None,
        overrides=["batch_size=8"],
        trials=None,
        concurrent=None,
        workers=1,
        gpus_per_worker=None,
        tracking_uri=None,
    )
    tracker = open_tracker(plan.tracking_uri, plan.experiment, plan.name, storage)
    book = Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
    conductor = Conductor(plan, book, machine, tracker, Console(quiet=True))
    count = 0
    while conductor.suggest(str(count)):
        count += 1
    assert not conductor.exhausted()
    assert tracker.close() == ""
    return count


def test_queued_points_take_every_place_and_what_is_learnt_fewer(make_space, tiny_store, tmp_path):
    points = [{"teacher_temperature": 0.05, "student_temperature": value / 10} for value in range(1, 7)]
    machine = Machine(1, 1.0, 0.0, 1, concurrent=8, learning=2)
    six = make_space(points_to_evaluate=points, budget={"trials": 12})
    assert handed_out(six, tiny_store, tmp_path / "six", machine) == 6
    one = make_space(points_to_evaluate=points[:1], budget={"trials": 12})
    assert handed_out(one, tiny_store, tmp_path / "one", machine) == 2
