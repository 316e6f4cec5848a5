"""What is asked of a new search, before its data are there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan
from cmd_tune.search.request import check_request

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


def test_more_points_than_trials_and_a_tables_seed_are_refused(make_space) -> None:
    point = {"teacher_temperature": 0.05, "student_temperature": 0.1}
    with pytest.raises(UsageError, match=r"points_to_evaluate: has 2 points, of which budget.trials lets 1 run"):
        make_space(points_to_evaluate=[point, {**point, "student_temperature": 0.2}], budget={"trials": 1})
    of_table = {"method": "cells", "parameters": None, "points_to_evaluate": None, "budget": None}
    with pytest.raises(UsageError, match=r"settings.seed: does not go with method cells, whose seeds replace it"):
        make_space(**of_table, cells=[{"topk": 4}], settings={"seed": 3})


@pytest.mark.parametrize(
    ("data", "protocol", "said"),
    [
        ("none.arrow", None, "none.arrow: no such file"),
        ("tiny.arrow", "xsubject", "protocol: 'xsubject' is not one of synthetic"),
    ],
)
def test_data_that_are_there_are_opened_before_anything_is_made(make_space, tiny_store, tmp_path, data, protocol, said):
    storage = tmp_path / "runs"
    options = dict.fromkeys(("name", "preset", "trials", "tracking_uri"))
    with pytest.raises(CmdTuneError, match=said):
        check_request(
            str(make_space().path), storage=storage, data=tiny_store.path.parent / data, protocol=protocol,
            overrides=[], resources=ResourceRequest(), **options,
        )  # fmt: skip
    assert not storage.exists()


def test_what_counts_in_some_trials_alone_does_not_follow_the_start_point(request_of):
    """Where topk does not count, trials have the preset's, whatever the first point says; epochs are the point's."""
    spec = {"objective": {"values": ["mcl", "cmd"]}, "topk": {"values": [8, 16], "when": "objective == 'cmd'"},
            "layers": {"values": [1, 2]}}  # fmt: skip
    for point in ({"objective": "cmd", "topk": 8, "layers": 1}, {"objective": "mcl", "layers": 1}):
        settings = request_of(parameters=spec, points_to_evaluate=[point]).settings
        assert (settings.topk, settings.layers, settings.objective) == (32, 1, point["objective"])
    small = {"queue_size": {"value": 16}}  # which the preset's topk of 32 does not go with
    point = {"objective": "cmd", "topk": 8, "layers": 1}
    assert request_of(parameters={**spec, **small}, points_to_evaluate=[point]).settings.topk == 8
