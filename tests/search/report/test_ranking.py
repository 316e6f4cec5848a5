"""The end of a search: what is ranked, what stands apart, and what the files say of both."""

import csv

import pytest
from rich.console import Console

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.report.live import Display
from cmd_tune.settings import read_settings

HERE = Conditions("synthetic", "xview", {})


@pytest.fixture
def ended(make_space, open_study):
    """Plays trials of three epochs to the values given; the last may fail, or still run."""

    def play(*scores, failed=(), running=()):
        study = open_study(make_space(), trials=len(scores))
        for index, values in enumerate(scores):
            trial = study.next()
            for epoch, value in enumerate(values, 1):
                study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": value})
            if index not in running:
                study.end(trial, failure="out of memory" if index in failed else "")
        return study

    return play


def text_of(renderable):
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


def test_what_was_stopped_early_is_no_result(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [97, 98], [99, 99], failed=[4])
    report = write_report(StudyFindings(study, {}, {}, HERE))
    rows = list(csv.DictReader((study.folder / "trials.csv").open(encoding="utf-8")))
    assert [(row["trial"], row["state"], row["epoch"], row["rank"]) for row in rows] == [
        ("trial-000", "finished", "3", "2"),
        ("trial-001", "stopped early", "1", ""),
        ("trial-002", "finished", "3", "1"),
        ("trial-003", "stopped early", "2", ""),
        ("trial-004", "failed", "2", ""),
    ]
    assert (
        (study.folder / "best.yaml")
        .read_text(encoding="utf-8")
        .startswith("# trial-002 of search: val/knn/fused 50.00\n")
    )
    best = read_settings(study.folder / "best.yaml")
    assert best["teacher_temperature"] == study.trials[2].values["teacher_temperature"]
    assert report.metrics["best/trial"] == 2
    assert report.metrics["best/val/knn/fused"] == 50
    lines = text_of(report.closing).splitlines()
    assert [line[:9] for line in lines if line.startswith("trial-")] == ["trial-002", "trial-000"]
    stopped = "trial-001 after epoch 1 of 3 (99.0); trial-003 after epoch 2 of 3 (98.0)"
    assert f"Stopped early, without a rank (val/knn/fused then): {stopped}." in lines
    assert Display(study, Console()).summary().startswith("best 50.00 (trial-002), 5/5 trials")


def test_the_live_table_has_what_runs_then_what_finished_by_rank_then_the_others(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [98], [99, 99], failed=[3], running=[4])
    lines = text_of(Display(study, Console())._render()).splitlines()
    rows = [line.split() for line in lines if line.startswith("00")]
    assert [row[0] for row in rows] == ["004", "002", "000", "001", "003"]


def test_where_nothing_finished_there_is_no_best(ended):
    study = ended([99], [98], [97], running=[2])
    report = write_report(StudyFindings(study, {}, {}, HERE))
    assert not (study.folder / "best.yaml").exists()
    assert not any(name.startswith("best/") for name in report.metrics)
    assert Display(study, Console()).summary().startswith("best –, 2/3 trials")
