"""The best trial of a search beside the baselines, with intervals over the clips of the test set."""

import io

from rich.console import Console

from cmd_tune.evaluate.intervals import clustered_interval, difference_interval
from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report import StudyFindings, write_report

HERE = Conditions("synthetic", "xview", {})

CLIPS = [50, 50, 60, 40]
OURS, UNTRAINED, RAW = [45, 40, 54, 34], [30, 20, 30, 20], [40, 42, 50, 30]
METRIC = "test/knn/fused"


def tally(right, *, by_subject=True, clips=CLIPS):
    return Tally(clips, {METRIC: right}, by_subject)


def test_the_best_trial_stands_beside_the_baselines_with_intervals(make_space, open_study):
    study = open_study(make_space())
    for value in (10.0, 70.0):
        trial = study.next()
        study.record(trial, {"epoch": study.epochs_of(trial), "loss/total": 1.0, "val/knn/fused": value})
        study.end(trial)
        study.record_test(trial, {METRIC: 86.5})
        write_tally(trial.folder / TEST_TALLY, tally(OURS))
    write_tally(study.folder / UNTRAINED_TALLY, tally(UNTRAINED))
    write_tally(study.folder / RAW_TALLY, tally(RAW))
    write_report(StudyFindings(study, {METRIC: 81.0}, {METRIC: 50.0}, HERE))
    (low, high), (least, most) = clustered_interval(OURS, CLIPS), difference_interval(OURS, UNTRAINED, CLIPS)
    words = (study.folder / "report.md").read_text(encoding="utf-8")
    assert f"{METRIC}: trial-001 86.5 ({low:.1f}–{high:.1f}); less untrained, 50.0 (" in words
    assert f"): +36.5 ({least:+.1f} to {most:+.1f}); less raw 1-NN, 81.0 (" in words
    assert "+5.5 (" in words
    assert (
        "95 % intervals over 200 clips, those of each of 4 subjects taken together; they do not cover what other"
        in words
    )


def test_a_count_that_cannot_be_read_costs_the_intervals_alone(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    study.record(trial, {"epoch": study.epochs_of(trial), "loss/total": 1.0, "val/knn/fused": 70.0})
    study.end(trial)
    study.record_test(trial, {METRIC: 86.5})
    write_tally(trial.folder / TEST_TALLY, tally(OURS))
    (study.folder / RAW_TALLY).mkdir()
    ending, printed = Ending(study.folder), io.StringIO()
    report = write_report(StudyFindings(study, {METRIC: 81.0}, {METRIC: 50.0}, HERE), attempt=ending.attempt)
    Console(file=printed, width=200).print(report.closing)
    assert all(text in printed.getvalue() for text in ("trial-000", "86.5", "untrained", "50.0"))
    assert [trouble.partition(":")[0] for trouble in ending.troubles] == ["intervals"]
