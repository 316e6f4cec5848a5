"""The metrics that the tracker has beside those of trials."""

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.metrics import best_metrics, known_baselines
from tests.search.report.tables import findings_of_table

HERE = Conditions("synthetic", "xview", {})


def test_the_best_is_the_best_of_what_finished(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [97, 98], [99, 99], failed=[4])
    found = best_metrics(StudyFindings(study, {}, {}, HERE))
    assert found == {"best/trial": 2, "best/val/knn/fused": 50}


def test_where_nothing_finished_there_is_no_best(ended):
    assert best_metrics(StudyFindings(ended([99], [98], [97], running=[2]), {}, {}, HERE)) == {}


def test_a_table_has_no_best(table_space, played):
    assert best_metrics(findings_of_table(played(table_space([0]), {(4, 0): 40, (8, 0): 90}))) == {}


def test_test_scores_of_the_best_are_among_them_and_those_of_another_are_not(ended):
    """Of the streams that have a column: joint and fused."""
    study = ended([10, 20, 30], [40, 45, 50])
    study.record_test(study.trials[0], {"test/knn/fused": 90.0, "test/linear/fused": 91.0})
    study.record_test(study.trials[1], {"test/knn/fused": 70.0, "test/knn/joint": 60.0, "test/knn/motion": 50.0})
    assert best_metrics(StudyFindings(study, {}, {}, HERE)) == {
        "best/val/knn/fused": 50, "best/test/knn/fused": 70.0, "best/test/knn/joint": 60.0, "best/trial": 1,
    }  # fmt: skip


def test_baselines_have_the_names_of_trials_metrics_and_one_without_scores_is_left_out(ended):
    raw = {"test/knn/joint": 55.0, "val/knn/fused": 39.4, "test/knn/bone": 50.0}
    findings = StudyFindings(ended([10, 20, 30]), raw, {}, HERE)
    assert known_baselines(findings) == {"raw": raw}
