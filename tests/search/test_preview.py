"""What a search would do: counted in closed form, checked as at its start, and nothing written."""

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cmd_tune.cli import app
from cmd_tune.errors import UsageError
from cmd_tune.search import fusing
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.preview import Work, show_preview
from cmd_tune.search.request import SearchRequest


def shown(request: SearchRequest, address: str | None = None, *, probed: bool = False) -> list[str]:
    console = Console(width=500, file=StringIO())
    show_preview(request, address, console, probed=probed)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_trials_epochs_and_refits_are_counted(request_of: Callable[..., SearchRequest], tmp_path: Path) -> None:
    lines = shown(request_of("epochs=5", refit={"seeds": [1, 2]}))
    assert "runs: 4 trials and 6 refits, of 5 epochs each: 50 in all" in lines  # (4 + 3 × 2) × 5
    assert "settings: preset quick, epochs 5, batch_size 8" in lines
    assert "  teacher_temperature: 0.01 to 0.2, on a log scale" in lines
    (layout,) = (line for line in lines if line.startswith("layout: "))
    assert layout.startswith("layout: 1 trial at a time, 1 worker a trial, 4 CPUs and ")  # a quarter of four trials
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"parameters": {"epochs": {"min": 3, "max": 9}}, "points_to_evaluate": None, "refit": "none"},
            "runs: 4 trials, of 9 epochs each: 36 in all",
        ),
        (
            {"budget": {"time": "1h30m"}},
            "runs: trials until the time is up and 20 confirmations and 3 refits and 5 ablation runs, "
            "of 40 epochs each",
        ),
        ({"budget": {"time": "1h30m"}}, "  no longer than 1h30m, what follows the trials not counted"),
        (
            {"early_terminate": {"type": "asha", "grace_period": 18}},  # looked at as it validates, every 8 epochs
            "early_terminate (asha): the first trial runs to the end, others 24 epochs of 40 at least; "
            "it saves 30 % of the epochs at most",  # 3/4 of the trials, 16/40 of each
        ),
        (
            {"early_terminate": {"type": "predicted"}, "budget": {"trials": 16}},
            "early_terminate (predicted): 4 run to the end, others 8 epochs of 40 at least; "
            "it saves 60 % of the epochs at most",  # 12/16 of the trials, 32/40 of each
        ),
        (
            {"early_terminate": {"type": "predicted"}, "budget": {"trials": 4}},
            "early_terminate (predicted): 4 run to the end; of 4, it saves nothing",
        ),
        (
            {"early_terminate": {"type": "predicted"}, "budget": {"trials": 16}, "seeds": 3},
            "early_terminate (predicted): 4 run to the end, others 8 epochs of 120 at least; "
            "it saves 70 % of the epochs at most",  # 12/16 of the trials, 112/120 of each
        ),
        (
            {"early_terminate": {"type": "predicted"}, "budget": {"trials": 16}, "settings": {"evaluate_every": 100}},
            "early_terminate (predicted): 4 run to the end, others 40 epochs of 40 at least; it saves nothing",
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 5, "max_iter": 45}, "budget": {"trials": 12}},
            "early_terminate (hyperband): the first trial of each of 3 brackets runs to the end, others 8 epochs of 40 "
            "at least; it saves 60 % of the epochs at most",  # 9/12 of the trials, 32/40 of each
        ),
        (
            {"early_terminate": {"type": "asha", "grace_period": 10}, "budget": {"time": "1h"}},
            "early_terminate (asha): the first trial runs to the end, others 16 epochs of 40 at least; "
            "it saves 60 % of a trial at most",
        ),
        (
            {"early_terminate": {"type": "wilcoxon"}, "seeds": 5, "budget": {"trials": 10}},
            "early_terminate (wilcoxon): the first trial runs to the end, others 4 seeds of 5 at least; "
            "it saves 18 % of the epochs at most",
        ),
        (
            {"early_terminate": {"type": "asha"}, "parameters": {"epochs": {"min": 20, "max": 40}},
             "points_to_evaluate": None},
            "early_terminate (asha): some trials end before their last epoch",
        ),
        (
            {
                "method": "cells", "parameters": None, "points_to_evaluate": None, "budget": None, "metric": None,
                "cells": [{"topk": 8}, {"topk": 16}], "seeds": [0, 1, 2],
            },
            "  2 cells × 3 seeds",
        ),
        ({"method": "bayes"}, "method: bayes runs as tpe"),
    ],
)  # fmt: skip
def test_what_limits_it_is_said(
    request_of: Callable[..., SearchRequest], changes: dict[str, object], line: str
) -> None:
    assert line in shown(request_of(**changes))


def test_a_cluster_is_not_asked(request_of: Callable[..., SearchRequest]) -> None:
    assert "layout: known once the cluster at 10.0.0.1:6379 is joined" in shown(request_of(), "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("gpus", "lines"),
    [
        (
            0,
            ["fuse auto: 1, since there is no GPU", "layout: 4 trials at once, 1 worker a trial, 1 CPU and no GPU a w"],
        ),
        (1, ["fuse auto: measured at the start", "layout: known once that is measured"]),
    ],
)
def test_how_many_trials_are_fused_is_said_before_the_layout(
    request_of: Callable[..., SearchRequest], monkeypatch: pytest.MonkeyPatch, gpus: int, lines: list[str]
) -> None:
    monkeypatch.setattr(fusing, "gpu_count", lambda: gpus)
    found = shown(replace(request_of(trials=40), fuse_auto=True))
    first = next(index for index, line in enumerate(found) if line.startswith("fuse auto"))
    assert [line[: len(told)] for line, told in zip(found[first : first + 2], lines, strict=True)] == lines


@pytest.mark.long
def test_a_plan_measures_how_many_and_predicts_with_them(
    request_of: Callable[..., SearchRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a card its processor stands in for one: what is said, laid out and probed goes together."""
    monkeypatch.setattr(fusing, "gpu_count", lambda: 1)
    request = request_of("hidden_size=8", "layers=1", "frames=8", "crop_min_frames=4", "queue_size=32", "topk=8",
                         trials=40)  # fmt: skip
    request = replace(request, fuse_auto=True, resources=ResourceRequest(workers=1, cpus=1, concurrent=3))
    found = "\n".join(shown(request, probed=True))
    told = re.search(r"fuse auto: (\d) trials a worker, [\d.]+ times as fast as one by one", found)
    fused = int(told[1]) if told else 1
    workers = f"{fused} fused in a worker" if told else "1 worker a trial"
    assert f"layout: 3 trials at once, {workers}, " in found
    assert re.search(r"cost: [\d.e-]+ CPU-hours, [\d.e-]+ GPU-hours", found)


def test_work_without_a_number_of_trials() -> None:
    assert Work(None, 1, 0, 0, 0, 3).runs is None
    assert (Work(5, 1, 2, 3, 4, 10).runs, str(Work(1, 1, 0, 0, 0, 1))) == (14, "1 trial, of 1 epoch each: 1 in all")


def test_what_would_keep_it_from_starting_is_a_usage_error(request_of: Callable[..., SearchRequest]) -> None:
    with pytest.raises(UsageError, match=r"^batch_size 99: there are only 36 clips"):
        request_of("batch_size=99")
    request = request_of()
    request = replace(request, resources=ResourceRequest(concurrent=99, workers=1, cpus=4))
    with pytest.raises(UsageError, match=r"^--concurrent 99: 99 workers do not fit on 4 CPUs"):
        shown(request)


@pytest.mark.long
@pytest.mark.parametrize(("words", "code"), [([], 0), (["--concurrent", "99"], 2)])
def test_a_dry_run_writes_nothing_also_of_made_up_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["search", "--space", "temps", "--cpus", "2", "--dry-run", *words])
    assert getattr(done.exception, "exit_code", done.exit_code) == code
    assert ("runs: 12 trials and 3 refits, of 40 epochs each: 600 in all" in done.stdout) == (code == 0)
    assert list(tmp_path.iterdir()) == []
