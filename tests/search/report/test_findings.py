"""What all parts of a report read: baselines by metric, what is reported, what is computed once."""

from dataclasses import replace

from cmd_tune.evaluate.intervals import clustered_interval, wilson_interval
from cmd_tune.evaluate.tally import write_tally
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.importance import Impact
from cmd_tune.search.study.trial_record import Repeat
from tests.search.report.tables import METRICS, RAW, SUBJECTS, UNTRAINED, findings_of_table, reported_on


def test_a_search_has_no_comparison(findings_of):
    assert findings_of("search, one trial").comparison is None


def test_bare_skeletons_stand_beside_linear_accuracies_too(table_space, played):
    """They have no probe: the floor of both is their 1-NN accuracy. An encoder has its own."""
    table = findings_of_table(played(table_space([0]), {(4, 0): 61, (8, 0): 70})).comparison
    assert table.baselines == {
        "untrained": UNTRAINED,
        "raw 1-NN": {**RAW, "test/linear/joint": 55.0, "val/linear/joint": 1.0},
    }


def test_intervals_of_baselines_are_those_of_their_counts(table_space, played):
    study = played(table_space([0]), {(4, 0): 61, (8, 0): 70})
    table = findings_of_table(study).comparison
    assert table.baseline_intervals == {}
    only_knn = replace(SUBJECTS, right={"test/knn/joint": SUBJECTS.right["test/knn/joint"]})
    write_tally(study.folder / UNTRAINED_TALLY, SUBJECTS)
    write_tally(study.folder / RAW_TALLY, replace(only_knn, by_subject=False))
    knn, linear = (clustered_interval(SUBJECTS.right[metric], SUBJECTS.clips) for metric in METRICS)
    assert findings_of_table(study).comparison.baseline_intervals == {
        "untrained": {"test/knn/joint": knn, "test/linear/joint": linear},
        "raw 1-NN": dict.fromkeys(METRICS, wilson_interval(61.0, 200)),
    }
    assert table.baseline_intervals == {}  # each value is computed once


def test_only_what_is_comparable_is_reported(table_space, played):
    study = played(table_space([0], reported_on=reported_on(probes={"knn": "1-NN"})), {(4, 0): 61, (8, 0): 70})
    table = findings_of_table(study).comparison
    assert (table.settings, table.metrics, table.reported_metrics) == (["topk"], list(METRICS), ["test/knn/joint"])
    assert list(table.left_out) == ["test/linear/joint"]
    assert [(r.metric, r.cell.values["topk"], r.reported) for r in table.results] == [
        ("test/knn/joint", 4, 70.0), ("test/knn/joint", 8, 71.5),
        ("test/linear/joint", 4, None), ("test/linear/joint", 8, None),
    ]  # fmt: skip


def test_a_look_is_counted_where_it_was_recorded_alone(table_space, played):
    """Verdicts are of one look, however often they are read; the next look has more seeds and half the level."""
    knn = {(4, s): 60.0 for s in range(4)} | {(8, s): 60.0 + gain for s, gain in enumerate((1, 2, 3, 1))}
    table = findings_of_table(played(table_space([0, 1, 2]), knn)).comparison
    assert [str(v.verdict) for v in table.verdicts] == ["cannot tell", "cannot tell", "holds"]
    assert [claim.look for claim in table.claims] == [1, 1, 1]
    again = findings_of_table(played(table_space([0, 1, 2, 3]), knn)).comparison
    assert [claim.look for claim in again.claims] == [1, 1, 1]  # nobody wrote the first one down
    again.looks.keep(again.verdicts)
    assert [claim.look for claim in findings_of_table(table.study).comparison.claims] == [2, 2, 2]


def test_parameters_are_judged_at_an_early_epoch_where_too_few_trials_finished(make_space, open_study):
    """Of 24 trials two finish; after epoch 2 all have a score, which falls with the student's temperature."""
    space = make_space(method="random", early_terminate="none", budget={"trials": 24}, points_to_evaluate=None)
    study = open_study(space, 24, epochs=4)
    for number in range(24):
        trial = study.next()
        score = 60.0 - 20 * trial.values["student_temperature"] + number % 3
        study.record(trial, {"epoch": 2, "loss/total": 1.0, "val/knn/fused": score})
        if number < 2:
            study.record(trial, {"epoch": 4, "loss/total": 1.0, "val/knn/fused": score + 10})
            for seed in (1, 2, 3):
                record = trial.repeat(Repeat.CONFIRM, seed)
                record.folder.mkdir()
                record.take({"epoch": 2, "loss/total": 1.0, "val/knn/fused": score + seed})
                record.take({"epoch": 4, "loss/total": 1.0, "val/knn/fused": 70.0})
        study.end(trial)
    findings = StudyFindings(study, {}, {}, Conditions("synthetic", "xview", {}))
    found = findings.importance
    assert (found.epoch, found.trials) == (2, 24)
    assert found.basis == "the scores of 24 trials after epoch 2"
    assert found.noise == 1.0  # of 1, 2, 3 points, after the same epoch
    assert findings.noise == 0.0  # of 70, 70, 70, after the last
    assert [effect.name for effect in found.of(Impact.MATTERS)] == ["student_temperature"]
    assert len(findings.judged.scores) == 24


def test_with_enough_finished_trials_their_ends_are_judged(make_space, open_study):
    study = open_study(make_space(method="random", budget={"trials": 24}), 24, epochs=4)
    for number in range(24):
        trial = study.next()
        for epoch in (2, 4) if number < 12 else (2,):
            study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 50.0 + number})
        study.end(trial)
    found = StudyFindings(study, {}, {}, Conditions("synthetic", "xview", {})).importance
    assert (found.epoch, found.trials, found.basis) == (None, 12, "12 finished trials")
