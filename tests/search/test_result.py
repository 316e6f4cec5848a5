"""What Python and notebooks get of a kept search: the numbers of its trials, its best settings, its report."""

import pytest

from cmd_tune.search.result import SearchResult, ShownReport
from cmd_tune.search.study.failure_tags import FailureTag
from tests.search.played import confirm, give_test_scores, new_search, play, study_of


@pytest.fixture
def result(tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "it", tiny_store, confirm={"top": 1, "seeds": 2})
    study = study_of(plan)
    first, _, best, _ = play(study, [50.0, FailureTag.VALUES, 70.0, 40.0])
    confirm(study, first, {1: 50.0, 2: 52.0})
    confirm(study, best, {1: 66.0, 2: 67.0})
    give_test_scores(study)
    return SearchResult(plan.folder)


def test_the_trials_are_a_frame_with_the_numbers_as_its_index(result):
    frame = result.trials
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(frame["state"]) == ["finished", "failed", "finished", "finished"]
    assert frame.loc[2, "val/knn/fused"] == 70.0
    assert frame["val/knn/fused"].mean() == pytest.approx(160 / 3)  # of those that have one
    assert frame.sort_values("rank").index[0] == 2


def test_the_best_is_by_the_fresh_seeds(result):
    assert (result.name, result.state, result.metric) == ("it", "finished", "val/knn/fused")
    assert result.best.student_temperature == result.trials.loc[2, "student_temperature"]
    assert result.best.batch_size == 8
    assert (result.best_score, result.confirmation.winner.mean) == (66.5, 66.5)
    assert result.confirmation.winner.to_start.mean == 15.5
    assert repr(result) == "<search it: finished, 4 of 4 trials have ended, val/knn/fused 66.50>"


def test_the_path_has_what_has_run_of_it(tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "it", tiny_store, confirm={"top": 1, "seeds": 2}, ablation="auto")
    study = study_of(plan)
    first, _, best, _ = play(study, [50.0, FailureTag.VALUES, 70.0, 40.0])
    confirm(study, first, {1: 50.0, 2: 52.0})
    confirm(study, best, {1: 66.0, 2: 67.0})
    result = SearchResult(plan.folder)
    assert (result.ablation.start.index, result.ablation.best.index, result.ablation.missing) == (0, 2, 2)
    assert [step.mean for step in result.ablation.steps] == [51.0, None, 66.5]
    assert result.state == "interrupted"


def test_a_notebook_shows_the_trials_and_the_report(result):
    shown = result._repr_html_()
    assert "&lt;search it: finished" in shown
    assert shown.count("<tr") == 5
    report = result.report
    assert (result.folder / "best.yaml").exists()
    assert "trial-002" in str(report)


def test_a_report_is_shown_from_the_files_that_there_are(tmp_path):
    report = ShownReport(tmp_path, "the text")
    assert (report._repr_html_(), report._repr_markdown_(), str(report)) == (None, None, "the text")
    (tmp_path / "report.md").write_text("# words")
    (tmp_path / "report.html").write_text("<p>words")
    assert (report._repr_html_(), report._repr_markdown_(), str(report)) == ("<p>words", "# words", "# words")


def test_a_search_without_a_result_has_no_best(tmp_path, tiny_store):
    result = SearchResult(new_search(tmp_path / "runs", "it", tiny_store).folder)
    assert (result.best, result.best_score, result.confirmation, len(result.trials)) == (None, None, None, 0)
    assert result.ablation is None
    assert repr(result) == "<search it: interrupted, 0 of 4 trials have ended>"
