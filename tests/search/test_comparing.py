"""Searches side by side: what differs, and what seeds tell, against SciPy's own tests."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cmd_tune.search.comparing import PAIRED, WELCH, difference, rows, show_comparison, unlike, verdicts, welch
from cmd_tune.search.kept_search import open_kept
from tests.conftest import write_tiny_store
from tests.search.played import confirm, new_search, play, study_of


@pytest.fixture
def kept(tmp_path, tiny_store):
    """A kept search whose best trial has this score, and these with fresh seeds."""

    def make(name, best, fresh=None, *overrides, store=tiny_store, **changes):
        plan = new_search(tmp_path / "runs", name, store, *overrides, **changes)
        study = study_of(plan)
        trial, _ = play(study, [best, best - 10])
        study.record_test(trial, {"test/knn/fused": best + 0.5})
        confirm(study, trial, fresh or {})
        return open_kept(plan.folder)

    return make


def test_the_seeds_that_both_have_are_paired(kept):
    a = kept("a", 70.0, {1: 60.0, 2: 62.0, 3: 64.0, 4: 61.0})
    b = kept("b", 75.0, {2: 64.5, 3: 65.5, 4: 63.0, 5: 90.0})
    found = difference(b, a)
    expected = stats.ttest_rel([64.5, 65.5, 63.0], [62.0, 64.0, 61.0])
    assert (found.test, found.mean, found.p) == (PAIRED, pytest.approx(2.0), pytest.approx(expected.pvalue))
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    (line,) = verdicts([a, b])
    assert line == f"b less a: +2.00 (+0.76 to +3.24), p {expected.pvalue:.3f}: they differ ({PAIRED})"


def test_other_seeds_are_compared_by_welchs_test(kept):
    a, b = kept("a", 70.0, {1: 60.0, 2: 62.0, 3: 70.0}), kept("b", 75.0, {3: 64.5, 4: 65.0})
    found = difference(b, a)
    expected = stats.ttest_ind([64.5, 65.0], [60.0, 62.0, 70.0], equal_var=False)
    assert (found.test, found.p) == (WELCH, pytest.approx(expected.pvalue))
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    (line,) = verdicts([a, b])
    assert line.endswith(f"the seeds do not tell them apart ({WELCH})")


def test_welchs_test_has_its_level():
    """Of pairs of samples that do not differ, 5 % seem to, whatever the variances."""
    random = np.random.default_rng(0)
    p = [welch(list(random.normal(0, 1, 4)), list(random.normal(0, 3, 7))).p for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("gap", "p"), [(0.0, 1.0), (1.0, 0.0)])
def test_scores_without_spread_are_the_limit(gap, p):
    found = welch([5.0, 5.0], [5.0 - gap] * 3)
    assert (found.mean, found.interval, found.p) == (gap, (gap, gap), p)


def test_single_runs_cannot_tell(kept):
    a, b = kept("a", 70.0, {1: 60.0, 2: 62.0}), kept("b", 75.0)
    assert difference(b, a) is None
    (line,) = verdicts([a, b])
    assert line.startswith("b less a: +14.00, of which single runs cannot tell")  # 75 less the mean, 61


def test_the_own_score_of_a_trial_is_the_mean_over_its_seeds(tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "seeds", tiny_store, seeds=3, budget={"trials": 1})
    study = study_of(plan)
    trial = study.next()
    for score in (90.0, 60.0, 60.0):
        run = study.next_run(trial)
        run.folder.mkdir(exist_ok=True)
        for epoch in (1, 2):
            study.record(run, {"epoch": epoch, "loss/total": 1.0, study.space.metric: score})
    study.end(trial)
    search = open_kept(plan.folder)
    assert dict(rows([search, search]))["its own score"] == ["70.0", "70.0"]


def test_what_differs_is_shown_and_what_does_not_is_not(kept):
    a = kept("a", 70.0, {1: 60.0, 2: 62.0})
    b = kept("b", 75.0, None, "topk=8", parameters={"teacher_temperature": {"values": [0.02, 0.05]}},
             points_to_evaluate=[{"teacher_temperature": 0.02}], budget={"trials": 2})  # fmt: skip
    shown = dict(rows([a, b]))
    assert shown["its own score"] == ["70.0", "75.0"]
    assert shown["test score"] == ["70.5", "75.5"]
    assert shown["confirmed"] == ["61.0 (48.3 to 73.7)", "–"]
    assert (shown["epochs run"], shown["trials ended"]) == (["8", "4"], ["2", "2"])
    assert (shown["trials"], shown["student_temperature"]) == (["4", "2"], ["searched", "0.1"])
    assert (shown["topk"][1], shown["best: teacher_temperature"]) == ("8", ["0.05", "0.02"])
    assert not {"frames", "preset", "method"} & shown.keys()


def test_searches_of_other_data_or_metrics_are_shown_without_a_verdict(kept, tmp_path):
    a = kept("a", 70.0, {1: 60.0, 2: 62.0})
    other = write_tiny_store(tmp_path / "other.arrow", seed=1)
    b = kept("b", 75.0, {1: 60.0, 2: 62.0}, store=other, metric={"name": "val/knn/joint", "goal": "maximize"})
    assert list(unlike([a, b])) == ["data", "metric"]
    file = io.StringIO()
    show_comparison([a, b], Console(file=file, width=100))
    first, head, *_ = file.getvalue().splitlines()
    assert first == "not comparable by their scores, since these differ: data, metric"
    assert head.split() == ["a", "b"]
    assert "less" not in file.getvalue()
