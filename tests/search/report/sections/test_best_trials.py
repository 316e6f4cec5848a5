"""The best trials of a search: who is among them, with which numbers, on screens of any width."""

import pytest

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.sections.best_trials import BEST, best_trials
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import CONDITIONAL, made_up
from tests.search.report.printed import lines_of
from tests.search.report.tables import findings_of_table

HERE = Conditions("synthetic", "xview", {})


def shown(study, raw=None, untrained=None):
    section = best_trials(StudyFindings(study, raw or {}, untrained or {}, HERE))
    return lines_of(*section.screen, width=200)


def report(study):
    return best_trials(StudyFindings(study, {}, {}, HERE)).markdown


def test_the_report_has_eight_of_many_parameters(wide_study):
    lines = report(wide_study).splitlines()
    head = lines[2].strip("|").split("|")
    assert len([name for name in head if name.strip() in SIXTEEN]) == 8
    assert "Shown are the parameters that differ most; trials.csv has 8 more." in lines


def test_what_does_not_count_is_a_dash(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 30, CONDITIONAL)
    best = findings.study.ranked()[:BEST]
    best[0].values = {name: best[0].values[name] for name in ("shear_range", "layers")}
    assert "topk" in best[1].values
    section = best_trials(findings)
    for trial in best:
        row = next(line for line in section.markdown.splitlines() if line.startswith(f"| {trial.name}"))
        line = next(line for line in lines_of(*section.screen, width=200) if line.startswith(trial.name))
        for text in (row.replace("|", " "), line):
            assert str(trial.values.get("topk", "–")) in text.split()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_closing_table_has_a_line_a_trial_and_says_where_the_rest_is(wide_study, width):
    section = best_trials(StudyFindings(wide_study, {"val/knn/joint": 45.0}, {}, HERE))
    lines = lines_of(*section.screen, width=width)
    assert len([line for line in lines[:10] if line.startswith("trial-")]) == 5
    more = [line for line in lines if line.startswith("Shown are the parameters that differ most")]
    assert bool(more) == (width < 200)
    assert all(len(line) <= width for line in lines)


def test_what_was_stopped_early_is_no_result(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [97, 98], [99, 99], failed=[4])
    lines = shown(study)
    assert [line[:9] for line in lines if line.startswith("trial-")] == ["trial-002", "trial-000"]
    stopped = "trial-001 after epoch 1 of 3 (99.0); trial-003 after epoch 2 of 3 (98.0)"
    assert f"Stopped early, without a rank (val/knn/fused then): {stopped}." in report(study).splitlines()


def test_a_long_list_of_what_was_stopped_is_cut(ended):
    said = report(ended([1, 2, 3], *[[9]] * 7))
    assert said.count("after epoch 1 of 3") == BEST
    assert "; trial-005 after epoch 1 of 3 (9.0) and 2 more.\n" in said


def numbers(lines, name):
    (row,) = (line for line in lines if line.startswith(name))
    return row.removeprefix(name).split()


def test_test_scores_stand_in_their_columns_and_baselines_below(ended):
    study = ended([10, 20, 30], [40, 45, 50])
    study.record_test(study.trials[1], {"test/knn/fused": 71.23, "test/linear/fused": 80.0})
    lines = shown(study, {"test/knn/joint": 55.0}, {"val/knn/fused": 39.44})
    # After the two temperatures: val/knn joint, fused, val/linear fused; the same of test.
    assert numbers(lines, "trial-001")[2:] == ["–", "50.0", "–", "–", "71.2", "80.0"]
    assert numbers(lines, "trial-000")[2:] == ["–", "30.0", "–", "–", "–", "–"]
    assert numbers(lines, "untrained")[-6:] == ["–", "39.4", "–", "–", "–", "–"]
    assert numbers(lines, "raw 1-NN")[-6:] == ["–", "–", "–", "55.0", "–", "–"]


def test_another_metric_that_is_searched_by_has_a_column_before_the_others(make_space, open_study):
    study = open_study(make_space(metric={"name": "loss/total", "goal": "minimize"}))
    for loss in (3.0, 1.0):
        trial = study.next()
        study.record(trial, {"epoch": 3, "loss/total": loss})
        study.end(trial)
    lines = shown(study)
    assert [line[:9] for line in lines if line.startswith("trial-")] == ["trial-001", "trial-000"]
    assert numbers(lines, "trial-001")[2] == "1.000"


def test_a_table_has_none(table_space, played):
    assert best_trials(findings_of_table(played(table_space([0]), {(4, 0): 61, (8, 0): 70}))) is None
