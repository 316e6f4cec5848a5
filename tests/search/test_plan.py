"""A search before it runs: which metrics it may be judged by, and that nothing is asked for in vain."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import yaml

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.runs.run_folder import SEARCH_FILE
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan, new_plan, record_layout, resumed_plan
from cmd_tune.search.spaces.space import Space
from cmd_tune.yaml_files import dump_yaml, read_yaml

OF_ALL = {"parameters": {"contrast_temperature": {"min": 0.05, "max": 0.2}}, "points_to_evaluate": None}  # objectives


@pytest.fixture
def plan(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a search of a space file with these keys changed, judged by this metric; `more` is typed after --set."""
    numbers = count()

    def make(metric: str, *more: str, data: Store = tiny_store, **changes: object) -> Plan:
        space = make_space(metric={"name": metric, "goal": "minimize"}, **changes)
        return new_plan(
            str(space.path),
            storage=tmp_path / "runs",
            name=f"it-{next(numbers)}",
            data=data.path,
            protocol="xview",
            preset=None,
            overrides=["batch_size=8", *more],
            trials=None,
            resources=ResourceRequest(),
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


POINTS = [{"teacher_temperature": 0.05, "student_temperature": share} for share in (0.1, 0.2, 0.3)]


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"points_to_evaluate": None}, 0),
        ({"points_to_evaluate": POINTS}, 3),
        ({"method": "random", "points_to_evaluate": POINTS, "budget": {"trials": 9}}, 9),
        ({"method": "grid", "parameters": {"topk": {"values": [2, 4]}}, "points_to_evaluate": None}, 2),
    ],
)
def test_how_many_trials_wait_for_no_results(plan: Callable[..., Plan], changes: dict[str, object], given: int) -> None:
    assert plan("loss/total", **changes).given == given


def test_the_plan_says_how_trials_were_laid_out(plan: Callable[..., Plan]) -> None:
    made = plan("loss/total")
    record_layout(made, "2 trials at once")
    kept = yaml.safe_load((made.folder / "search.yaml").read_text())
    assert kept["layout"] == "2 trials at once"
    assert kept["trials"] == 4


MODALITIES = {"modalities": {"values": [["joint", "motion"], ["joint", "bone"]]}, "layers": {"values": [1, 2]}}
ONE_OR_TWO = {"objective": {"values": ["base", "cmd"]}, "modalities": {"values": [["joint"], ["joint", "bone"]]}}


@pytest.mark.parametrize(
    ("metric", "lacking", "changes"),
    [
        ("val/knn/motion", "modalities joint,bone", {"parameters": MODALITIES}),
        ("val/linear/bone", "objective base, modalities joint", {"parameters": ONE_OR_TWO}),
        ("loss/cmd", "objective base, modalities joint", {"parameters": ONE_OR_TWO}),
        (
            "loss/crossclr",
            "objective mcl",
            {"parameters": {"objective": {"values": ["crossclr", "mcl"]}, "layers": {"values": [1, 2]}}},
        ),
    ],
)
def test_what_some_trials_do_not_report_is_named_with_those_trials(
    plan: Callable[..., Plan], metric: str, lacking: str, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(metric, points_to_evaluate=None, **changes)
    said = str(caught.value)
    assert f"space.yaml: metric.name: '{metric}' is never reported by trials of {lacking}, " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("val/knn/joint", {"parameters": MODALITIES}),
        ("val/knn/fused", {"parameters": ONE_OR_TWO}),
        ("loss/cmd", {"parameters": ONE_OR_TWO, "constraints": ["objective == 'cmd'"]}),
        # cmd is between modalities: the constraint leaves none but both.
        ("val/knn/bone", {"parameters": ONE_OR_TWO, "constraints": ["objective != 'base'"]}),
    ],
)
def test_what_every_trial_reports_is_a_metric(
    plan: Callable[..., Plan], metric: str, changes: dict[str, object]
) -> None:
    assert plan(metric, points_to_evaluate=None, **changes).space.metric == metric


def test_two_stages_that_are_both_the_first_have_no_cross_modal_loss(plan: Callable[..., Plan]) -> None:
    with pytest.raises(UsageError, match="'loss/cmd' is never reported, "):
        plan("loss/cmd", settings={"stages": "two", "stage_switch": 1.0})
    assert plan("loss/cmd", settings={"stages": "two", "stage_switch": 0.9})


def test_a_cell_is_compared_by_what_it_reports(plan: Callable[..., Plan]) -> None:
    def table(*claims: object, motion: float | None = None) -> Plan:
        cells = [
            {"modalities": ["joint", "bone"], "reported": {"test/knn/bone": 60.0}},
            {"modalities": ["joint", "motion"], "reported": {"test/knn/motion": motion} if motion else {}},
        ]
        changes = {"parameters": None, "points_to_evaluate": None, "budget": None}
        return plan("val/knn/joint", method="cells", cells=cells, claims=list(claims), **changes)

    assert table(motion=55.0).trials == 2
    with pytest.raises(UsageError, match="'test/knn/bone' is never reported by trials of modalities joint,motion, "):
        table({"says": "bone is best", "best": {"modalities": ["joint", "bone"]}})


AXES = [["joint", "motion"], ["joint", "rotation_axis"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"modalities": AXES[1]}, **OF_ALL},
        {"parameters": {"modalities": {"values": AXES}}, "points_to_evaluate": None},
        {"parameters": {"modalities": {"value": AXES[1]}, "layers": {"values": [1, 2]}}, "points_to_evaluate": None},
        {
            "method": "cells",
            "cells": [{"modalities": names} for names in AXES],
            **dict.fromkeys(("parameters", "points_to_evaluate", "budget")),
        },
    ],
    ids=["setting", "searched", "fixed", "cell"],
)
def test_joints_in_2_d_have_no_axes(
    plan: Callable[..., Plan], flat_store: Store, tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="modalities: rotation_axis needs joints in 3-D, those of coco-17 ") as said:
        plan("val/knn/joint", data=flat_store, **changes)
    assert len(said.value.lines) == 1
    assert not list((tmp_path / "runs").glob("it-*"))
    assert plan("val/knn/joint", **changes).folder.exists()


TOPK = {"topk": {"min": 200, "max": 400}, "layers": {"values": [1, 2]}}


def test_an_impossible_space_is_refused_before_it_has_a_folder(plan: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"space.yaml: parameters: no configuration is allowed; one breaks ") as caught:
        plan("loss/total", parameters=TOPK, points_to_evaluate=None)  # the preset's queue has 192
    assert "topk 200 exceeds queue_size 192" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"constraints: no configuration meets them; one breaks 'epochs < 3'"):
        plan("loss/total", parameters=TOPK, constraints=["epochs < 3"], points_to_evaluate=None)
    assert not list(tmp_path.glob("runs/*"))


def test_what_the_command_line_makes_possible_is_not_refused(plan: Callable[..., Plan]) -> None:
    """Also where the preset's value of what is searched does not fit it."""
    assert plan("loss/total", "queue_size=512", parameters=TOPK, points_to_evaluate=None, preset="quick")
    small = {**TOPK, "topk": {"min": 1, "max": 8}}
    for changes in ({"settings": {"queue_size": 8}}, {"parameters": {**small, "queue_size": {"value": 8}}}):
        made = plan("loss/total", **{"parameters": small, "points_to_evaluate": None, **changes})
        assert made.settings.topk <= made.settings.queue_size == 8
    with pytest.raises(UsageError, match=r"--set: queue_size = 'x': "):
        plan("loss/total", "queue_size=x", parameters=small, points_to_evaluate=None)


def test_a_resume_leaves_the_environment_that_was_recorded(plan: Callable[..., Plan]) -> None:
    """It may go on with another release, on another machine."""
    folder = plan("loss/total").folder
    kept = read_yaml(folder / SEARCH_FILE)
    assert kept["environment"].keys().isdisjoint({"gpu", "cpu_threads"})  # trials may run elsewhere
    kept["environment"]["python"] = "3.99"
    (folder / SEARCH_FILE).write_text(dump_yaml(kept))
    resumed_plan(
        folder.name, space_name=None, kept_options={}, storage=folder.parent,
        trials=7, resources=ResourceRequest(), tracking_uri=None,
    )  # fmt: skip
    assert read_yaml(folder / SEARCH_FILE) == {**kept, "trials": 7}


@pytest.mark.parametrize(
    ("overrides", "changes", "said"),
    [
        (["sgd_momentum=0.5"], {}, "--set: sgd_momentum: applies to optimizer sgd alone, and adamw is asked for"),
        (["step_epoch=5"], {}, "--set: step_epoch: applies to schedule step alone, and cosine is asked for"),
        (["stage_switch=0.2"], {}, "--set: stage_switch: applies to stages two alone, and one is asked for"),
        (
            ["objective=mcl"],
            {"parameters": {"teacher_temperature": {"min": 0.1, "max": 0.2}}},
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
        plan("loss/total", *overrides, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_would_do_nothing_is_named_at_once(plan) -> None:
    with pytest.raises(UsageError) as caught:
        plan("loss/total", "objective=mcl")
    name = caught.value.lines[0].partition(": ")[0]
    assert caught.value.lines == [
        f"{name}: parameters: {key}: applies to objective cmd alone, and mcl is asked for; leave it out"
        for key in ("teacher_temperature", "student_temperature")
    ]


def test_what_some_trial_uses_is_none_of_it(plan) -> None:
    parameters = {"topk": {"values": [4, 6]}, "objective": {"values": ["cmd", "base"]}}
    more = ["optimizer=sgd", "sgd_momentum=0.5", "schedule=step", "step_epoch=9", "distill_weight=2"]
    found = plan("loss/total", *more, parameters=parameters, points_to_evaluate=None)
    assert found.settings.distill_weight == 2
    assert plan("loss/total", "objective=mcl", "topk=4", **OF_ALL).settings.topk == 4  # as queue_size may demand


def test_a_resume_replaces_what_it_asks_of_resources_and_nothing_else(plan) -> None:
    folder = plan("loss/total").folder
    first = read_yaml(folder / SEARCH_FILE)
    assert (first["concurrent"], first["workers"], first["gpus_per_worker"]) == (None, 1, None)
    for asked in (ResourceRequest(concurrent=2, gpus_per_worker=0.5), ResourceRequest(workers=4)):
        resumed = resumed_plan(
            folder.name, space_name=None, kept_options={}, storage=folder.parent,
            trials=None, resources=asked, tracking_uri=None,
        )  # fmt: skip
    assert resumed.resources == ResourceRequest(concurrent=2, workers=4, gpus_per_worker=0.5)
    assert read_yaml(folder / SEARCH_FILE) == {**first, "concurrent": 2, "workers": 4, "gpus_per_worker": 0.5}


def test_more_points_than_trials_and_a_tables_seed_are_refused(make_space) -> None:
    point = {"teacher_temperature": 0.05, "student_temperature": 0.1}
    with pytest.raises(UsageError, match=r"points_to_evaluate: has 2 points, of which budget.trials lets 1 run"):
        make_space(points_to_evaluate=[point, {**point, "student_temperature": 0.2}], budget={"trials": 1})
    of_table = {"method": "cells", "parameters": None, "points_to_evaluate": None, "budget": None}
    with pytest.raises(UsageError, match=r"settings.seed: does not go with method cells, whose seeds replace it"):
        make_space(**of_table, cells=[{"topk": 4}], settings={"seed": 3})


def test_a_search_goes_on_with_the_data_it_began_with(make_space, make_store, tmp_path) -> None:
    store, storage = make_store(), tmp_path / "runs"
    sizes = {"trials": None, "resources": ResourceRequest(), "tracking_uri": None}
    options = {**sizes, "protocol": "xsub", "preset": None, "overrides": ["batch_size=8"]}
    new_plan(str(make_space().path), storage=storage, name="it", data=store.path, **options)
    before = (storage / "it" / "search.yaml").read_bytes()

    def resumed() -> Plan:
        return resumed_plan("it", space_name=None, kept_options={}, storage=storage, **sizes)

    assert resumed().source.protocol == "xsub"
    assert (storage / "it" / "search.yaml").read_bytes() == before
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"search.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed()
