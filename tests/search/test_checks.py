"""What is said of a run before it starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.runs.run_checks import checkpoint_bytes
from cmd_tune.search.beginning import make_engine
from cmd_tune.search.checks import check_start, disk_line, largest_checkpoint
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan, new_plan, resumed_plan
from cmd_tune.search.request import check_request
from cmd_tune.search.search import run_search
from cmd_tune.search.spaces.space import Space

BATCHES = {"points_to_evaluate": None, "constraints": ["batch_size != 9"]}
STEPS = {"distribution": "int_uniform", "min": 4, "max": 36}

CELLS = {
    "method": "cells", "parameters": None, "points_to_evaluate": None, "budget": None,
    "cells": [{"batch_size": 9}], "seeds": [1, 2], "metric": {"name": "test/knn/joint", "goal": "maximize"},
}  # fmt: skip


@pytest.fixture
def planned(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a search of 36 clips, in tmp_path / "runs"."""

    def make(workers: int = 1, overrides: tuple[str, ...] = ("batch_size=8",), **changes: object) -> Plan:
        return new_plan(
            check_request(
                str(make_space(**changes).path),
                storage=tmp_path / "runs",
                name="it",
                data=tiny_store.path,
                protocol="xview",
                preset=None,
                overrides=overrides,
                trials=None,
                resources=ResourceRequest(workers=workers, cpus=64),
                tracking_uri=None,
            )
        )

    return make


def _run(plan: Plan) -> None:
    run_search(plan, make_engine(plan.folder, plan.resources, None), console=Console(quiet=True))


@pytest.mark.parametrize(
    ("workers", "overrides", "changes", "said"),
    [
        (5, ["batch_size=32"], {}, "--workers 5: batch_size 32 is not a multiple of it"),
        (64, ["batch_size=32"], {}, "--workers 64: batch_size 32 is not a multiple of it"),
        (1, [], {}, "batch_size 64: there are only 36 clips"),
        (3, [], {**BATCHES, "parameters": {"batch_size": {"values": [9, 12, 16]}}}, "--workers 3: batch_size 16 is"),
        (
            2,
            [],
            {**BATCHES, "parameters": {"batch_size": {**STEPS, "distribution": "q_uniform", "q": 3}}},
            "--workers 2: batch_size 15 is",
        ),
        (1, [], {**BATCHES, "parameters": {"batch_size": {**STEPS, "max": 40}}}, "batch_size 37: there are only 36"),
        (2, [], CELLS, "--workers 2: batch_size 9 is"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_before_the_first_trial(
    planned, tmp_path, workers, overrides, changes, said
):
    with pytest.raises(UsageError) as caught:
        planned(workers, overrides, **changes)
    assert said in str(caught.value)
    assert not (tmp_path / "runs" / "it").exists()


def test_a_batch_size_that_the_constraints_leave_fitting_is_searched(planned):
    space = {"parameters": {"batch_size": STEPS}, "constraints": ["batch_size % 4 == 0"], "points_to_evaluate": None}
    assert check_start(planned(4, (), **space)) == []


def test_a_resumed_search_is_checked_too_and_stays(planned, tmp_path):
    planned()
    options = dict.fromkeys(("space_name", "trials", "tracking_uri"))
    five = ResourceRequest(workers=5)
    resumed = resumed_plan("it", kept_options={}, storage=tmp_path / "runs", resources=five, **options)
    with pytest.raises(UsageError, match="--workers 5: batch_size 8 is not a multiple of it"):
        _run(resumed)
    assert (tmp_path / "runs" / "it" / "search.yaml").exists()


def test_time_alone_may_end_a_search(planned):
    made = planned(budget={"time": "5m"})
    assert (made.trials, made.space.seconds) == (None, 300)


@pytest.mark.parametrize(("epochs", "said"), [(20, 1), (21, 0)])
def test_early_stopping_that_stops_nothing_is_said(planned, epochs, said):
    early = {"type": "asha", "grace_period": 20}
    remarks = check_start(planned(overrides=("batch_size=8", f"epochs={epochs}"), early_terminate=early))
    assert len(remarks) == said
    assert all("early_terminate.grace_period: 20 epochs are all that a trial has (20)" in remark for remark in remarks)


def test_the_largest_checkpoint_of_a_space_is_predicted(planned, tiny_store):
    """Of what a checkpoint's size depends on, the largest values; of names, whichever takes most."""
    parameters = {
        "queue_size": {"distribution": "int_uniform", "min": 4, "max": 4096},
        "hidden_size": {"values": [128, 16]},
        "optimizer": {"values": ["adamw", "sgd"]},
        "topk": {"value": 2},
        "teacher_temperature": {"values": [0.1, 0.2]},
    }
    plan = planned(parameters=parameters, points_to_evaluate=None)
    largest = plan.settings.model_copy(update={"queue_size": 4096, "hidden_size": 128, "optimizer": "adamw"})
    found = largest_checkpoint(plan.space, plan.settings, tiny_store.width)
    assert found == checkpoint_bytes(largest, tiny_store.width)


def test_the_disk_that_a_search_needs_is_said(planned, tiny_store):
    plan = planned()
    one = checkpoint_bytes(plan.settings, tiny_store.width)
    for at_once, most in ((2, 4 + 3 + 2 * 2), (9, 4 + 3 + 2 * 4)):  # of four trials, four run at once at most
        said = f"disk: the checkpoints of 4 trials and 3 refits take up to {most * one / 1e6:.0f} MB; "
        assert disk_line(plan, at_once, 3).startswith(said)


def test_the_disk_that_a_trial_needs_is_said_if_it_is_not_known_how_many_there_will_be(planned, tiny_store):
    plan = planned(budget={"time": "5m"})
    one = checkpoint_bytes(plan.settings, tiny_store.width) / 1e6
    said = f"disk: checkpoints take {one:.0f} MB a trial, and {2 * one:.0f} MB more of each that runs; "
    assert disk_line(plan, 2, 3).startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reported": {"test/knn/joint": 70.6}}, True),
        ({**CELLS, "cells": [{"batch_size": 9, "reported": {"test/knn/joint": 70.6}}]}, True),
        ({**CELLS, "reported_on": {"by": "us", "dataset": "ntu-60", "protocol": "xsub", "probes": {}}}, False),
        ({}, False),
    ],
)
def test_reported_accuracies_without_an_origin_are_told_at_the_start(
    planned: Callable[..., Plan], changes: dict[str, object], said: bool
) -> None:
    batch = () if "cells" in changes else ("batch_size=8",)
    remarks = [line for line in check_start(planned(1, batch, **changes)) if "reported" in line]
    assert len(remarks) == said
    if said:
        assert remarks[0].startswith(
            "reported: the report leaves it out, since nothing says", 1 + remarks[0].index(" ")
        )
        assert "write reported_on: {by: whom, dataset: ntu-60, protocol: xsub, probes: {knn: 1-NN}}" in remarks[0]
