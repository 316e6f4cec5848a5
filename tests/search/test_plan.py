"""A search before it runs: which metrics it may be judged by, and that nothing is asked for in vain."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.search.plan import Plan, new_plan, resumed_plan
from cmd_tune.search.space import Space

OF_ALL = {"parameters": {"contrast_temperature": {"min": 0.05, "max": 0.2}}, "points_to_evaluate": None}  # objectives


@pytest.fixture
def plan(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a search of a space file with these keys changed, judged by this metric."""

    def make(metric: str, overrides: tuple[str, ...] = (), name: str | None = None, **changes: object) -> Plan:
        space = make_space(metric={"name": metric, "goal": "minimize"}, **changes)
        return new_plan(
            str(space.path),
            storage=tmp_path / "runs",
            name=name,
            data=tiny_store.path,
            protocol="xview",
            preset=None,
            overrides=["batch_size=8", *overrides],
            trials=None,
            concurrent=None,
            workers=1,
            gpus_per_worker=None,
            tracking_uri=None,
        )

    return make


@pytest.mark.parametrize("objective", ["mcl", "crossclr", "cmd"])
def test_the_cross_modal_loss_is_named_after_the_objective(plan: Callable[..., Plan], objective: str) -> None:
    changes = {"settings": {"objective": objective}, **OF_ALL}
    assert plan(f"loss/{objective}", **changes).space.metric == f"loss/{objective}"
    other = "loss/mcl" if objective == "cmd" else "loss/cmd"
    with pytest.raises(UsageError, match=f"'{other}' is never reported"):
        plan(other, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"objective": "base"}, **OF_ALL},
        {"parameters": {"objective": {"values": ["base", "cmd"]}}, "points_to_evaluate": None},
    ],
    ids=["base", "searched"],
)
def test_what_not_every_trial_reports_is_no_metric(plan: Callable[..., Plan], changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="'loss/cmd' is never reported") as caught:
        plan("loss/cmd", **changes)
    assert "\n" not in str(caught.value)
    assert plan("loss/total", **changes).space.metric == "loss/total"


@pytest.mark.parametrize(
    ("overrides", "changes", "said"),
    [
        (["sgd_momentum=0.5"], {}, "--set: sgd_momentum: applies to optimizer sgd alone, and adamw is asked for"),
        (["step_epoch=5"], {}, "--set: step_epoch: applies to schedule step alone, and cosine is asked for"),
        (["stage_switch=0.2"], {}, "--set: stage_switch: applies to stages two alone, and one is asked for"),
        (
            ["objective=mcl"],
            {},
            "parameters: teacher_temperature: applies to objective cmd alone, and mcl is asked for",
        ),
        ([], {"settings": {"mcl_form": "instead"}}, "settings: mcl_form: applies to objective mcl alone, and cmd is"),
        (
            [],
            {"parameters": {"topk": {"values": [4, 6]}, "objective": {"values": ["mcl", "base"]}}},
            "parameters: topk: applies to objective cmd alone, and mcl and base are asked for",
        ),
        (
            [],
            {"early_terminate": {"type": "asha", "grace_period": 40}},
            "early_terminate.grace_period: 40 epochs are all that a trial has (40), so that none would be stopped",
        ),
    ],
)
def test_what_would_do_nothing_is_refused(plan, overrides, changes, said) -> None:
    changes = {"points_to_evaluate": None, **changes} if "parameters" in changes else changes
    with pytest.raises(UsageError) as caught:
        plan("loss/total", overrides, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_some_trial_uses_is_none_of_it(plan) -> None:
    parameters = {"topk": {"values": [4, 6]}, "objective": {"values": ["cmd", "base"]}}
    more = ["optimizer=sgd", "sgd_momentum=0.5", "schedule=step", "step_epoch=9", "distill_weight=2"]
    found = plan("loss/total", more, parameters=parameters, points_to_evaluate=None)
    assert found.settings.distill_weight == 2
    assert (
        plan("loss/total", ["objective=mcl", "topk=4"], name="mcl", **OF_ALL).settings.topk == 4
    )  # as queue_size may demand


def test_more_points_than_trials_and_a_tables_seed_are_refused(make_space) -> None:
    point = {"teacher_temperature": 0.05, "student_temperature": 0.1}
    with pytest.raises(UsageError, match=r"points_to_evaluate: has 2 points, of which budget.trials lets 1 run"):
        make_space(points_to_evaluate=[point, {**point, "student_temperature": 0.2}], budget={"trials": 1})
    of_table = {"method": "cells", "parameters": None, "points_to_evaluate": None, "budget": None}
    with pytest.raises(UsageError, match=r"settings.seed: does not go with method cells, whose seeds replace it"):
        make_space(**of_table, cells=[{"topk": 4}], settings={"seed": 3})


def test_a_search_goes_on_with_the_data_it_began_with(make_space, make_store, tmp_path) -> None:
    store, storage = make_store(), tmp_path / "runs"
    sizes = dict.fromkeys(("trials", "concurrent", "workers", "gpus_per_worker", "tracking_uri"))
    options = {**sizes, "workers": 1, "protocol": "xsub", "preset": None, "overrides": ["batch_size=8"]}
    new_plan(str(make_space().path), storage=storage, name="it", data=store.path, **options)
    before = (storage / "it" / "search.yaml").read_bytes()

    def resumed() -> Plan:
        return resumed_plan("it", space_name=None, kept_options={}, storage=storage, **sizes)

    assert resumed().source.protocol == "xsub"
    assert (storage / "it" / "search.yaml").read_bytes() == before
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"search.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed()
