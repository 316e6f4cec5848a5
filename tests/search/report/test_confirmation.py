"""What fresh seeds say of finalists: means, paired differences and their tests, held against SciPy and by hand."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.report.confirmation import find_confirmation
from cmd_tune.search.study.trial_record import Repeat

METRIC = "val/knn/fused"
SEEDS = (1, 2, 3, 4, 5)
START, BETTER, ALIKE = [70.1, 71.4, 69.5, 70.9, 70.2], [74.0, 74.9, 73.2, 74.6, 74.1], [73.1, 75.4, 74.5, 72.9, 74.2]


@pytest.fixture
def confirmed(make_space, open_study):
    """A study of finished trials, each confirmed with scores by seed; trial-000 is the start point."""

    def make(*fresh, own=None, **space):
        study = open_study(make_space(**space), trials=len(fresh), epochs=1)
        for index, scores in enumerate(fresh):
            trial = study.next()
            study.record(trial, {"epoch": 1, "loss/total": 1.0, METRIC: own[index] if own else scores[0]})
            study.end(trial)
            for seed, score in zip(SEEDS, scores, strict=False):
                record = trial.repeat(Repeat.CONFIRM, seed)
                if score is None:
                    record.reason = "the loss is nan"
                    continue
                record.folder.mkdir()
                record.take({"epoch": 1, "loss/total": 1.0, METRIC: score})
        return study

    return make


def test_the_winner_its_interval_and_what_is_tied_with_it(confirmed):
    found = find_confirmation(confirmed(START, BETTER, ALIKE))
    assert [result.trial.index for result in found.results] == [1, 2, 0]
    assert found.winner.mean == pytest.approx(np.mean(BETTER))
    half = stats.t.ppf(0.975, 4) * np.std(BETTER, ddof=1) / np.sqrt(5)
    assert found.winner.interval == pytest.approx((np.mean(BETTER) - half, np.mean(BETTER) + half))
    assert found.start.trial.index == 0
    assert [result.trial.index for result in found.tied] == [2]
    assert (found.winner.to_winner, found.start.to_start) == (None, None)


def test_differences_are_paired_and_their_p_values_corrected(confirmed):
    found = find_confirmation(confirmed(START, BETTER, ALIKE))
    by_index = {result.trial.index: result for result in found.results}
    raw = {index: stats.ttest_rel(scores, START).pvalue for index, scores in ((1, BETTER), (2, ALIKE))}
    low, high = sorted(raw, key=raw.get)
    assert by_index[low].to_start.p == pytest.approx(2 * raw[low])
    assert by_index[high].to_start.p == pytest.approx(max(2 * raw[low], raw[high]))
    gain = np.subtract(BETTER, START)
    assert by_index[1].to_start.mean == pytest.approx(gain.mean())
    half = stats.t.ppf(0.975, 4) * gain.std(ddof=1) / np.sqrt(5)
    assert by_index[1].to_start.interval == pytest.approx((gain.mean() - half, gain.mean() + half))
    assert by_index[1].to_start.is_clear


def test_seeds_that_only_one_has_are_left_out_of_a_difference(confirmed):
    found = find_confirmation(confirmed(START, [74.0, None, 73.2, 74.6, 74.1]))
    assert found.winner.to_start.seeds == 4
    assert found.winner.to_start.mean == pytest.approx(np.mean([3.9, 3.7, 3.7, 3.9]))
    assert found.winner.failed == [2]


def test_one_fresh_seed_confirms_nothing(confirmed):
    study = confirmed([70.0], [71.0, 72.0])
    assert [result.trial.index for result in find_confirmation(study).results] == [1]
    study.trials[1].repeats.clear()
    assert find_confirmation(study) is None


def test_the_lowest_mean_wins_where_the_metric_is_minimised(confirmed):
    found = find_confirmation(confirmed(START, BETTER, metric={"name": METRIC, "goal": "minimize"}))
    assert found.winner is found.start


def closing(study, width=200):
    printed = io.StringIO()
    report = write_report(StudyFindings(study, {}, {}, Conditions("synthetic", "xview", {})))
    Console(file=printed, width=width).print(report.closing)
    return printed.getvalue()


@pytest.mark.parametrize(
    ("fresh", "said"),
    [
        ((START, BETTER),
         "trial-001 has the best mean over 5 fresh seeds: 74.2 (73.4 to 75.0); it differs from the start "
         "point, +3.7 (+3.5 to +3.9) points, p < 0.001. The seeds tell it from all others."),
        ((BETTER, ALIKE),
         "trial-000 has the best mean over 5 fresh seeds: 74.2 (73.4 to 75.0), and is the start point. "
         "The seeds do not tell it from trial-001."),
        ((ALIKE, BETTER),
         "it cannot be told from the start point, +0.1 (-1.3 to +1.6) points, p 0.804. The seeds do not "
         "tell it from trial-000 (start point)."),
        ((START, [74.0, None, 73.2, 74.6, 74.1]), "trial-001 failed with seed 2, which its mean leaves out."),
    ],
)  # fmt: skip
def test_the_answer_in_words(confirmed, fresh, said):
    study = confirmed(*fresh)
    assert said in " ".join(closing(study).split())
    assert said in " ".join((study.folder / "report.md").read_text().split())


def test_the_table_fits_a_narrow_screen(confirmed):
    lines = closing(confirmed(START, BETTER, ALIKE), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if line.startswith("trial-000, start"))
    assert row.split() == ["trial-000,", "start", "point", "70.1", "70.4", "(69.5", "to", "71.3)"]
