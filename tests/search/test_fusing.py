"""--fuse auto: what needs no measurement, what is measured for real, and what a search is told of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cmd_tune.errors import DataError, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search import fusing
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.execution.resources import Node
from cmd_tune.search.fusing import most_fused, timed_apart, varied_in_shape, why_one, with_fuse
from cmd_tune.search.request import SearchRequest

CARD = Node(8, 1)


@pytest.fixture
def auto(request_of: Callable[..., SearchRequest]) -> Callable[..., SearchRequest]:
    """A dry request of 40 trials with --fuse auto and these options, of a space with these parameters."""

    def make(*overrides: str, parameters: dict[str, object] | None = None, **options: object) -> SearchRequest:
        changes = {"parameters": parameters, "points_to_evaluate": None} if parameters else {}
        request = request_of(*overrides, trials=40, **changes)
        return replace(request, fuse_auto=True, resources=ResourceRequest(**options))

    return make


@pytest.mark.parametrize(
    ("here", "options", "why"),
    [
        (CARD, {}, ""),
        (CARD, {"workers": 2}, "trials have 2 workers each"),
        (Node(8, 0), {}, "there is no GPU"),
        (CARD, {"gpus_per_worker": 0.0}, "trials use no GPU"),
        (CARD, {"concurrent": 1}, "a GPU has one trial at a time"),
        (Node(8, 16), {}, "a GPU has one trial at a time"),  # ten trials at once
        (Node(8, 1), {"gpus_per_worker": 2.0}, "a GPU has one trial at a time"),  # which the layout then refuses
    ],
)
def test_some_searches_need_no_measurement(
    auto: Callable[..., SearchRequest], here: Node, options: dict[str, float], why: str
) -> None:
    assert why_one(auto(**options), here) == why


@pytest.mark.parametrize(
    ("settings", "parameters", "names"),
    [
        ([], {"hidden_size": {"values": [8, 16]}, "layers": {"values": [1, 2]}}, ["hidden_size", "layers"]),
        ([], {"queue_size": {"min": 64, "max": 128}, "topk": {"min": 8, "max": 32}}, ["queue_size"]),
        ([], {"optimizer": {"values": ["sgd", "adamw"]}}, ["optimizer"]),
        ([], {"modalities": {"values": [["joint", "motion"], ["joint", "bone"]]}}, ["modalities"]),
        ([], {"objective": {"values": ["cmd", "mcl"]}}, ["objective"]),
        ([], {"distillation": {"values": ["pairwise", "consensus"]}}, ["distillation"]),
        (["objective=mcl"], {"mcl_form": {"values": ["added", "instead"]}}, ["mcl_form"]),
        (["objective=crossclr"], {"crossclr_topk": {"values": [1, 2]}}, []),
        (["stages=two"], {"stage_switch": {"min": 0.1, "max": 0.5}}, ["stage_switch"]),
        ([], {"precision": {"values": ["float32", "bfloat16"]}}, ["precision"]),
        ([], {"frames": {"values": [8, 16], "when": "key_momentum > 0.9"}, "key_momentum": {"min": 0.5, "max": 1.0}},
         ["frames"]),
        ([], {"seed": {"values": [0, 1]}, "learning_rate": {"min": 0.001, "max": 0.1}, "epochs": {"values": [5, 9]},
              "shear_range": {"min": 0.1, "max": 1.0}, "weight_decay": {"values": [0, 1e-4]}}, []),
        ([], {"hidden_size": {"values": [16]}, "seed": {"values": [0, 1]}}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_trials_of_one_program_have_one_shape(
    auto: Callable[..., SearchRequest], settings: list[str], parameters: dict[str, object], names: list[str]
) -> None:
    request = auto(*settings, parameters=parameters)
    assert sorted(varied_in_shape(request.space, request.settings)) == sorted(names)
    assert why_one(request, CARD) == (f"trials differ in {', '.join(names)}" if names else "")


def test_cells_of_a_table_have_one_shape(request_of: Callable[..., SearchRequest]) -> None:
    table = {"method": "cells", "seeds": [0, 1], "metric": None, "parameters": None, "points_to_evaluate": None}
    same = request_of(**table, budget=None, cells=[{"topk": 8}, {"topk": 16}])
    other = request_of(**table, budget=None, cells=[{"queue_size": 512, "topk": 8}, {"queue_size": 64, "topk": 8}])
    assert varied_in_shape(same.space, same.settings) == []
    assert varied_in_shape(other.space, other.settings) == ["queue_size"]


@pytest.mark.parametrize(
    ("gpus", "options", "most"),
    [
        (1, {}, 10),  # a quarter of 40 trials, as tpe learns
        (4, {}, 3),  # each card has some of the ten
        (1, {"gpus_per_worker": 0.5}, 5),
        (2, {"concurrent": 6}, 3),
    ],
)
def test_no_more_are_fused_than_run_at_once_on_a_card(
    auto: Callable[..., SearchRequest], gpus: int, options: dict[str, float], most: int
) -> None:
    assert most_fused(auto(**options), Node(8, gpus)) == most


def test_a_number_stays_and_a_cluster_is_refused(auto: Callable[..., SearchRequest]) -> None:
    request = replace(auto(fuse=3), fuse_auto=False)
    assert with_fuse(request, "10.0.0.1:6379", None) == (request, "")
    with pytest.raises(UsageError, match=r"^--fuse auto: is measured on this machine, and the cluster at 10\.0\.0\.1"):
        with_fuse(auto(), "10.0.0.1:6379", None)


@pytest.mark.parametrize("gpus", [0, 1])
def test_without_data_it_is_said_whether_it_will_be_measured(
    auto: Callable[..., SearchRequest], monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setattr(fusing, "gpu_count", lambda: gpus)
    request, line = with_fuse(auto(), None, None)
    assert (line, request.fuse_auto, request.resources.fuse) == (
        ("fuse auto: measured at the start", True, None) if gpus else ("fuse auto: 1, since there is no GPU", False, 1)
    )


@pytest.mark.long
def test_what_is_measured_is_what_the_search_is_asked_for(
    auto: Callable[..., SearchRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For real, in a process of its own; where there is no card, by its processor."""
    monkeypatch.setattr(fusing, "gpu_count", lambda: 1)
    tiny = ("hidden_size=8", "layers=1", "frames=8", "crop_min_frames=4", "queue_size=32", "topk=8")
    request, line = with_fuse(auto(*tiny, concurrent=2), None, lambda: auto().open_data()[0])
    assert not request.fuse_auto
    assert request.resources.fuse in (1, 2)
    if request.resources.fuse == 2:
        found = re.fullmatch(r"fuse auto: 2 trials a worker, ([\d.]+) times as fast as one by one", line)
        assert found
        assert float(found[1]) >= 1.1
    else:
        assert line.startswith("fuse auto: 1, since more trials side by side have no room")


@pytest.mark.long
def test_a_failure_of_the_process_that_measures_keeps_its_line(
    auto: Callable[..., SearchRequest], tmp_path: Path
) -> None:
    source = DataSource(tmp_path / "none.arrow", "xview")
    with pytest.raises(DataError, match=r"none\.arrow: no such file"):
        timed_apart(auto().settings, source, 2, 1.0, torch.device("cpu"))
