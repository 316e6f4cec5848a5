"""Refits on the screen: what stands in a file, and that bars leave nothing behind on a terminal."""

import io

import pytest
from rich.console import Console

from cmd_tune.search.report.live_repeats import SearchDisplay
from cmd_tune.search.study.trial_record import Repeat

METRIC = "test/knn/fused"


@pytest.fixture
def refits(make_space, open_study):
    """Two refits of a trial that scored 69 on the test set."""
    study = open_study(make_space(), epochs=2)
    trial = study.next()
    study.record(trial, {"epoch": 2, "loss/total": 1.0, "val/knn/fused": 70.0})
    study.end(trial)
    study.record_test(trial, {METRIC: 69.0})
    return study, [trial.repeat(Repeat.REFIT, seed) for seed in (3, 4)]


def shown(study, refits, **options):
    file = io.StringIO()
    display = SearchDisplay(study, Console(file=file, width=100, **options))
    display.repeats_opened(refits)
    for refit in refits:
        display.repeat_started(refit)
        refit.folder.mkdir()
        refit.take({"epoch": 1, "loss/total": 2.0})
        display.repeat_reported(refit)
    refits[0].take({"epoch": 2, "loss/total": 1.0, METRIC: 71.5})
    refits[1].reason = "the loss is nan in epoch 2"
    display.repeat_started(refits[1])  # its process died and began anew
    for refit in refits:
        display.repeat_ended(refit)
    display.repeats_closed()
    return file.getvalue()


def test_each_refit_has_a_line_at_its_start_and_its_end(refits):
    assert shown(*refits).splitlines() == [
        "refit: pretraining the finalists again on the whole training set, 2 runs",
        "refit of trial-000, seed 3 starts",
        "refit of trial-000, seed 4 starts",
        "refit of trial-000, seed 4 resumes after epoch 1",
        "refit of trial-000, seed 3: test/knn/fused 71.5, 69.0 before it",
        "refit of trial-000, seed 4 failed: the loss is nan in epoch 2",
    ]


def test_the_runs_of_a_path_are_told_with_their_step_and_their_score(refits):
    study, _ = refits
    trial = study.trials[0]
    runs = [trial.ablation(number, {**trial.values, "student_temperature": 0.2 * number}, 7) for number in (1, 2)]
    file = io.StringIO()
    display = SearchDisplay(study, Console(file=file, width=100))
    display.repeats_opened(runs)
    for run, score in zip(runs, (71.0, 72.5), strict=True):
        display.repeat_started(run)
        run.keep()
        run.take({"epoch": 2, "loss/total": 1.0, "val/knn/fused": score})
        display.repeat_ended(run)
    display.repeats_closed()
    assert file.getvalue().splitlines() == [
        "ablation: running the path from the start point to the best trial with fresh seeds, 2 runs",
        "ablation step 1 to trial-000, seed 7 starts",
        "ablation step 1 to trial-000, seed 7: val/knn/fused 71.0",
        "ablation step 2 to trial-000, seed 7 starts",
        "ablation step 2 to trial-000, seed 7: val/knn/fused 72.5",
    ]


def test_a_terminal_has_bars_while_they_run(refits):
    text = shown(*refits, force_terminal=True)
    assert "1/2" in text
    assert "epochs" in text
