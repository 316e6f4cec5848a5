"""What to know of a search before trusting its winner: each line where it holds, by numbers of the study."""

from dataclasses import replace

import pytest

from cmd_tune.search.report.health import edge, health_lines
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.trial_record import TrialState
from tests.search.report.made_up import METRIC, made_up


def said(findings, begins):
    """The line that begins so: what, and what to do; None if there is none."""
    found = [(line.what, line.do) for line in health_lines(findings) if line.what.startswith(begins)]
    assert len(found) < 2
    return found[0] if found else None


def shift(trial, by):
    trial.history[-1][METRIC] += by


@pytest.fixture
def study_of(tmp_path, tiny):
    return lambda trials=30, **changes: made_up(tmp_path / "search", tiny, trials, **changes)


def test_a_winner_within_the_noise_of_the_start_point(study_of):
    """Two runs of equal settings differ by up to 1.96 · √2 times the noise of one."""
    findings = study_of(60, noise=2.0)
    noise, start = findings.importance.noise, findings.study.start
    gain = findings.best_score - start.last(METRIC)
    assert 0 < gain < 2.77 * noise
    what, do = said(findings, "The best trial is")
    assert f"{gain:.1f} points better than the start point" in what
    assert f"differ by up to {1.96 * 2**0.5 * noise:.1f} points" in what
    assert do.startswith("keep the start point, or run both with more seeds: about ")
    findings = study_of(60, noise=0.05)
    assert said(findings, "The best trial is") is None
    shift(findings.study.start, 20)
    assert said(replace(findings), "No trial is better than the start point")[1] == "keep the start point"


def test_too_few_trials_to_know_the_noise(study_of):
    findings = study_of(6, stops=False)
    assert findings.importance.noise is None
    assert findings.best is not findings.study.start
    assert said(findings, "Nothing tells what another seed")[1].startswith("search again with confirm: {top: 1")


def test_fresh_seeds_decide_what_single_runs_cannot(study_of):
    clear = study_of(40, noise=0.3, fresh=4)
    assert clear.confirmation.winner.to_start.is_clear
    assert said(clear, "By 4 fresh seeds") is None
    assert said(clear, "The best trial is 5") is None
    alike = study_of(40, noise=6.0, fresh=3, seed=3)
    assert alike.best is not alike.study.start
    what, do = said(alike, "By 3 fresh seeds")
    assert what == "By 3 fresh seeds the best trial cannot be told from the start point"
    assert do.startswith("keep the start point")


@pytest.mark.parametrize(
    ("parameter", "value", "end"),
    [
        (Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2), 1.05e-4, "lowest"),
        (Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2), 9.5e-3, "highest"),
        (Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2), 2e-4, ""),
        (Parameter("learning_rate", "uniform", 1e-4, 1e-2), 2e-4, "lowest"),
        (Parameter("key_momentum", "uniform", 0.0, 1.0), 1.0, ""),  # there is nothing above 1
        (Parameter("key_momentum", "uniform", 0.5, 0.99), 0.99, "highest"),
        (Parameter("topk", "q_uniform", 10, 100, 16), 16, "lowest"),  # the first multiple in the range
        (Parameter("topk", "q_uniform", 10, 100, 16), 96, "highest"),
        (Parameter("topk", "q_uniform", 10, 100, 16), 32, ""),
        (Parameter("queue_size", "categorical", choices=(256, 64, 128)), 256, "highest"),
        (Parameter("queue_size", "categorical", choices=(64, 128)), 128, ""),  # one of two is always at an end
        (Parameter("objective", "categorical", choices=("base", "cmd", "mcl")), "base", ""),
    ],
)
def test_the_edge_of_a_range(parameter, value, end):
    assert edge(parameter, value) == end


def test_a_winner_on_the_edge_says_which_way(study_of):
    findings = study_of()
    findings.best.values["student_temperature"] = 0.99
    what, do = said(findings, "The best trial is on the edge")
    assert what.endswith("of the range of student_temperature (0.99, highest)")
    assert do == "widen student_temperature upward"


def test_failures_are_counted_by_kind_and_what_may_pass_is_tried_again(study_of):
    findings = study_of(30)
    assert said(findings, "2 of 30 trials failed") == (
        "2 of 30 trials failed (2 diverged)",
        "narrow the ranges where trials fail",
    )
    findings.study.trials[11].failure = FailureTag.KILLED
    assert said(findings, "2 of 30")[1] == "try them again with --resume"


def test_early_stopping_that_ended_what_was_ahead(study_of):
    findings = study_of()
    stopped = findings.study.stopped()
    assert said(findings, "Early") == (
        f"Early stopping ended {len(stopped)} trials, none of which was ahead of {findings.best.name} at that epoch", ""
    )  # fmt: skip
    shift(stopped[2], 40)
    what, do = said(findings, "Early")
    assert what.endswith(f"of which 1 had been ahead of {findings.best.name} at that epoch: {stopped[2].name}")
    assert "grace_period" in do


def test_the_order_by_a_cost_is_none_of_the_test_scores(study_of):
    findings = study_of(metrics=("cost/seconds", METRIC))
    for trial, score in zip(findings.study.finalists(3), (78.0, 80.0, 79.0), strict=True):
        trial.test_scores = {"test/knn/fused": score}
    assert said(findings, "cost/seconds orders") is None


def test_validation_and_test_that_disagree(study_of):
    findings = study_of()
    first, second, third = findings.study.finalists(3)
    for trial, score in ((first, 80.0), (second, 79.0), (third, 78.0)):
        trial.test_scores = {"test/knn/fused": score}
    assert said(findings, METRIC + " orders") is None
    first.test_scores = {"test/knn/fused": 78.5}
    what, _ = said(findings, METRIC + " orders")
    assert f"{first.name}, {second.name}, {third.name}, but test/knn/fused {second.name}, " in what
    assert what.endswith(f"{second.name}, {first.name}, {third.name}: the differences between them may be chance")


def test_what_other_clips_would_change(study_of):
    """Wilson, 287 clips, 77.4 %: 72.2 to 81.9 by hand."""
    findings = study_of()
    shift(findings.best, 77.4 - findings.best.last(METRIC))
    assert said(findings, METRIC + " is over")[0].endswith(
        "287 clips: with other ones, 77.4 would be 72.2 to 81.9 (95 %)"
    )
    many = replace(findings, conditions=replace(findings.conditions, queries={"val": 100_000}))
    assert said(many, METRIC + " is over") is None


def test_a_budget_that_was_not_used_up_and_baselines_that_are_not_beaten(study_of):
    findings = study_of()
    findings.study.budget, findings.study.shortfall = 40, "the time is up"
    findings.study.trials[1].state = TrialState.UNFINISHED
    assert said(findings, "30 of 40")[0] == "30 of 40 trials were started: the time is up"
    assert said(findings, "1 trial not finished")[1] == "go on with --resume, and more --time"
    assert said(findings, "The best trial, ") is None
    worse = replace(findings, raw={METRIC: 99.0})
    assert said(worse, "The best trial, ")[0].endswith("no better than the baseline raw 1-NN, 99.0 %")
