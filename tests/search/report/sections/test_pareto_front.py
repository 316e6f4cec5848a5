"""The Pareto front in words: who is on it, and what less cost takes off."""

import pytest

from cmd_tune.search.report import FILES
from cmd_tune.search.report.sections.pareto_front import pareto_front, trades
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.spaces.space import MetricGoal
from cmd_tune.search.study.trial_record import TrialRecord
from tests.search.report.made_up import made_up
from tests.search.report.printed import lines_of

KNN, SECONDS, LINEAR = "val/knn/fused", "cost/seconds", "val/linear/fused"


def front_of(folder, *scores, other=SECONDS):
    return [
        TrialRecord(index, {}, folder, history=[{"epoch": 1, KNN: knn, other: more}])
        for index, (knn, more) in enumerate(scores)
    ]


COSTS = (MetricGoal(KNN, True), MetricGoal(SECONDS, False))
BOTH = (MetricGoal(KNN, True), MetricGoal(LINEAR, True))


@pytest.mark.parametrize(
    ("metrics", "scores", "line"),
    [
        # The best of those that cost half or less.
        (
            COSTS,
            [(80.0, 100.0), (79.5, 60.0), (78.8, 45.0), (70.0, 10.0)],
            "Against trial-000, trial-002 takes 45 % of its cost/seconds and is 1.2 points worse by val/knn/fused.",
        ),
        # None does: the one that costs least.
        (
            COSTS,
            [(80.0, 100.0), (79.0, 80.0), (77.0, 60.0)],
            "Against trial-000, trial-002 takes 60 % of its cost/seconds and is 3.0 points worse by val/knn/fused.",
        ),
        (COSTS, [(80.0, 100.0)], "trial-000 is best by cost/seconds, too."),
        # Half an accuracy is nothing to be had: the best by it.
        (
            BOTH,
            [(80.0, 70.0), (79.0, 71.0), (60.0, 73.0)],
            "Against trial-000, trial-002 is 3.0 points better by val/linear/fused and is 20.0 points worse by "
            "val/knn/fused.",
        ),
    ],
)
def test_what_the_best_gives_up_for_another_metric(tmp_path, metrics, scores, line):
    assert trades(front_of(tmp_path, *scores, other=metrics[1].name), metrics) == [line]


def test_the_report_lists_the_front_best_first_with_all_metrics_and_parameters(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, metrics=(KNN, SECONDS), stops=False, noise=0.5)
    section = pareto_front(findings)
    rows = [line for line in section.markdown.splitlines() if line.startswith("| trial-")]
    names = [row.split(" | ")[0].strip("| ") for row in rows]
    assert names == [trial.name for trial in findings.front]
    best = findings.best
    assert names[0] == best.name
    assert f"| {best.score(KNN):.1f} % | {best.score(SECONDS):.4g} | " in rows[0]
    finished = len(findings.study.ranked())
    assert f"{len(names)} of {finished} finished trials are beaten by no other; val/knn/fused ranks them." in (
        section.markdown
    )
    assert lines_of(*section.screen)[0].startswith(f"Pareto front by val/knn/fused, cost/seconds: {best.name} (")
    columns = trials_columns(findings.study)
    on_front = [trial for trial, on in zip(columns["trial"], columns["front"], strict=True) if on]
    assert sorted(on_front) == sorted(names)
    assert FILES["trials.json"](findings).count('"front": true') == len(names)


def test_a_winner_by_fresh_seeds_that_is_not_on_the_front_is_named(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, metrics=(KNN, SECONDS), stops=False, fresh=3)
    assert findings.best not in findings.front
    said = f"{findings.best.name}, which is first by fresh seeds, is not on the front, which is of"
    assert said in pareto_front(findings).markdown


def test_a_search_by_one_metric_has_none(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 12)
    assert pareto_front(findings) is None
    assert "front" not in trials_columns(findings.study)
    assert '"front"' not in FILES["trials.json"](findings)
