"""A space and its settings, as a plan checks them: metrics that every trial reports, settings that have an effect."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.search.plan import Plan
from cmd_tune.search.space_checks import check_uses

OF_ALL = {"parameters": {"contrast_temperature": {"min": 0.05, "max": 0.2}}, "points_to_evaluate": None}  # objectives


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


MODALITIES = {"modalities": {"values": [["joint", "motion"], ["joint", "bone"]]}, "layers": {"values": [1, 2]}}
ONE_OR_TWO = {"objective": {"values": ["base", "cmd"]}, "modalities": {"values": [["joint"], ["joint", "bone"]]}}

WHERE_COMPUTED = {  # with one layer there is no quotient, and the objective is that of the settings
    "objective": {"values": ["mcl"], "when": "8 / (layers - 1) > 2"},
    "layers": {"values": [1, 2, 3]},
}


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
        ("loss/mcl", "objective cmd", {"parameters": WHERE_COMPUTED}),
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


def test_each_of_several_metrics_must_be_reported(request_of: Callable[..., object]) -> None:
    names = ("val/knn/fused", "cost/seconds", "cost/parameters")
    request_of(metric=None, metrics=[{"name": name} for name in names])
    with pytest.raises(UsageError) as caught:
        request_of(metric=None, metrics=[{"name": "val/knn/fused"}, {"name": "cost/second"}])
    assert "space.yaml: metrics[1].name: 'cost/second' is never reported, did you mean 'cost/seconds'?" in str(
        caught.value
    )


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
        return plan("test/knn/joint", method="cells", cells=cells, claims=list(claims), **changes)

    assert table(motion=55.0).trials == 2
    with pytest.raises(UsageError, match="'test/knn/bone' is never reported by trials of modalities joint,motion, "):
        table({"says": "bone is best", "best": {"modalities": ["joint", "bone"]}})


CELLS = {"method": "cells", **dict.fromkeys(("parameters", "points_to_evaluate", "budget"))}


def test_a_metric_of_a_table_that_is_never_reported_is_named(plan: Callable[..., Plan]) -> None:
    cells = [{"topk": 4, "reported": {"test/knn/joints": 70}}]
    with pytest.raises(UsageError, match=r"'test/knn/joints' is never reported, did you mean 'test/knn/joint'\?$"):
        plan("test/knn/joint", **CELLS, cells=cells)
    claims = [{"says": "so", "best": {"topk": 4}, "metrics": ["loss/total"]}]
    with pytest.raises(UsageError, match=r"cells, claims: 'loss/total' is never reported"):
        plan(
            "test/knn/joint",
            **CELLS,
            cells=[{"topk": 4, "reported": {"test/knn/joint": 70}}, {"topk": 8}],
            claims=claims,
        )


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


def test_a_search_chooses_by_validation_and_never_by_the_test_set(plan: Callable[..., Plan]) -> None:
    """A table selects nothing, and so compares by either."""
    with pytest.raises(UsageError, match=r"metric\.name: 'test/knn/joint' is never reported, did you mean "):
        plan("test/knn/joint", **OF_ALL)
    cells = [{"topk": 4, "reported": {"test/knn/joint": 70, "val/linear/fused": 60}}, {"topk": 8}]
    validated = {"settings": {"holdout": "validation"}}
    assert plan("val/knn/joint", **CELLS, **validated, cells=cells).trials == 2


def test_every_accuracy_of_the_searched_modalities_is_a_metric(plan: Callable[..., Plan]) -> None:
    changes = {**OF_ALL, "settings": {"modalities": ["joint", "bone"]}}
    for kind in ("knn", "linear"):
        for stream in ("joint", "bone", "fused"):
            assert plan(f"val/{kind}/{stream}", **changes).space.metric == f"val/{kind}/{stream}"
        with pytest.raises(UsageError, match=f"'val/{kind}/motion' is never reported, "):
            plan(f"val/{kind}/motion", **changes)


@pytest.mark.parametrize(("epochs", "refused"), [(40, True), (41, False)])
def test_a_rule_that_stops_nothing_is_refused_unless_the_epochs_were_asked_for(plan, epochs, refused) -> None:
    """A grace period of 40 epochs leaves one of 41. Who types --set epochs is told so at the start, and may."""
    early = {"type": "asha", "grace_period": 40}
    changes = {"settings": {"epochs": epochs}, "early_terminate": early}
    if refused:
        with pytest.raises(UsageError, match=r"space\.yaml: early_terminate\.grace_period: 40 epochs are all that"):
            plan("loss/total", **changes)
    else:
        plan("loss/total", **changes)
    assert plan("loss/total", "epochs=40", early_terminate=early).settings.epochs == 40
    searched = {
        "parameters": {"epochs": {"values": [20, 40]}, "layers": {"values": [1, 2]}},
        "points_to_evaluate": None,
    }
    assert plan("loss/total", early_terminate=early, **searched)


def test_a_cell_may_give_a_value_to_what_its_own_objective_does_not_use(plan: Callable[..., Plan]) -> None:
    """Every cell gives every setting of the table a value; a search's parameters must have an effect in some trial."""
    cells = [{"objective": "base", "teacher_temperature": 0.05}, {"objective": "mcl", "teacher_temperature": 0.05}]
    made = plan("test/knn/joint", **CELLS, cells=cells)
    check_uses(made.space, made.settings, {})


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
            "settings": {"holdout": "validation"},
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


def test_what_applies_where_a_parameter_does_not_count_is_allowed(plan: Callable[..., Plan]) -> None:
    """With one layer the objective is the preset's, cmd, of which topk is a setting."""
    parameters = {
        "layers": {"values": [1, 2, 3]},
        "objective": {"values": ["mcl"], "when": "layers > 1"},
        "topk": {"min": 2, "max": 30, "when": "objective == 'cmd'"},
    }
    assert plan("val/knn/fused", parameters=parameters, points_to_evaluate=None).space.conditions.conditional


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"precision": {"values": ["float32", "auto"]}}, "points_to_evaluate": None},
        {"parameters": {"precision": {"value": "auto"}, "layers": {"values": [1, 2]}}, "points_to_evaluate": None},
    ],
    ids=["searched", "fixed"],
)
def test_trials_do_not_measure_their_precisions(plan: Callable[..., Plan], changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="precision: auto is measured once, for all trials of a search; write it"):
        plan("loss/total", **changes)
