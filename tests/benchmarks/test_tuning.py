"""Searches over runs that are known."""

from dataclasses import replace
from itertools import product

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.tuning import Known, Trial, Way, _asha, _Search, read, worth
from benchmarks.tuning_runs import EVERY, GRID

LEVELS = tuple(product(*(range(len(values)) for values in GRID.values())))
POINTS = 10


@pytest.fixture(autouse=True)
def silent():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def known(of_setting, noise_S=(0.0, 0.0, 0.0)):
    """Runs that reach their score evenly over the epochs."""
    last_GS = np.array([[of_setting(levels) + noise for noise in noise_S] for levels in LEVELS])
    return Known(LEVELS, last_GS[:, :, None] * np.arange(1, POINTS + 1) / POINTS)


def slope(levels):
    return 50.0 + 10 * levels[0] + levels[2]


def search(runs, way, seed=0, budget=12):
    return _Search(runs, way, seed).run(budget * runs.epochs)


def test_a_search_as_long_as_the_table_runs_each_setting_once_and_finds_the_best():
    runs, way = known(slope), Way("", "random", start=2)
    trials = search(runs, way, budget=len(LEVELS))
    assert sorted(trial.setting for trial in trials) == list(range(len(LEVELS)))
    assert slope(LEVELS[trials[0].setting]) == 82.0  # of six settings alike the third, in any order
    assert trials[-1].total == len(LEVELS) * runs.epochs
    assert worth(runs, way, trials, trials[-1].total) == 82.0  # 50 + 10 · 3 + 2


def made(setting, score, total, spare=(), spent=40):
    return Trial(setting, (0,), spare, spent, score, score, total)


def test_what_is_returned_is_worth_the_mean_of_all_its_seeds():
    """The best of single runs is a lucky one: here a seed adds 30 points to each setting."""
    runs, way = known(lambda levels: 50.0 + levels[0], noise_S=(30.0, 0.0, 3.0)), Way("", "random")
    trials = [made(0, 80.0, 40), made(len(LEVELS) - 1, 53.0, 80)]
    assert worth(runs, way, trials, 80) == pytest.approx(61.0)
    assert worth(runs, way, trials[1:], 80) == pytest.approx(64.0)
    assert np.isnan(worth(runs, way, trials, 39))


def test_runs_that_confirm_count_in_the_budget_and_decide():
    score = np.array([[80.0, 50.0, 50.0, 50.0], [70.0, 68.0, 70.0, 75.0], [60.0, 72.0, 72.0, 72.0]])
    runs = Known(LEVELS[:3], score[:, :, None] * np.ones(POINTS))
    trials = [made(2, 60.0, 40, spare=(1, 2)), made(0, 80.0, 80, spare=(1, 2)), made(1, 70.0, 120, spare=(0, 3))]
    single, confirmed = Way("", "random"), Way("", "random", top=2, share=0.7, start=0)
    assert worth(runs, single, trials, 360) == pytest.approx(57.5)
    assert worth(runs, confirmed, trials, 320) == pytest.approx(57.5)  # 5 of 8 runs are fewer than two seeds of three
    assert worth(runs, confirmed, trials, 360) == pytest.approx(70.75)  # fresh seeds: 50, 72.5 and the start's 72
    both = replace(confirmed, fresh=False)
    assert worth(runs, both, trials, 360) == pytest.approx(70.75)  # 60, 71.7 and 68
    assert worth(runs, replace(confirmed, top=1, share=0.5), trials, 360) == pytest.approx(69.0)  # not the second


def test_ray_returns_the_best_last_report_even_of_a_trial_that_was_stopped():
    runs = known(slope)
    trials = [made(0, 60.0, 40), Trial(1, (0,), (), 8, float("nan"), 65.0, 48)]
    assert worth(runs, Way("", "ray"), trials, 48) == slope(LEVELS[1])
    assert worth(runs, Way("", "random"), trials, 48) == slope(LEVELS[0])


@pytest.mark.parametrize("method", ["tpe", "ray"])
def test_trials_that_lag_behind_are_stopped_at_a_rung(method):
    runs, way = known(slope), Way("", method, stopping=_asha(8, 4))
    trials = search(runs, way)
    stopped = [trial for trial in trials if np.isnan(trial.score)]
    assert stopped
    assert {trial.spent for trial in stopped} <= {8, 32}
    assert all(trial.spent == 40 for trial in trials if not np.isnan(trial.score))
    assert [trial.total for trial in trials] == np.cumsum([trial.spent for trial in trials]).tolist()


def test_a_trial_of_several_seeds_has_their_mean_and_costs_them_all():
    runs, way = known(lambda levels: 50.0, noise_S=(0.0, 3.0, 9.0)), Way("", "random", seeds=2)
    for trial in search(runs, way, budget=6):
        assert trial.spent == 2 * runs.epochs
        assert trial.score == pytest.approx(50 + sum((0.0, 3.0, 9.0)[seed] for seed in trial.seeds) / 2)


def test_the_same_seed_searches_alike():
    runs, way = known(slope, noise_S=(0.0, 1.0, 2.0)), Way("", "tpe", startup=4)
    assert search(runs, way) == search(runs, way)
    assert search(runs, way) != search(runs, way, seed=1)


def test_a_table_is_read_as_it_is_written_but_for_seeds_that_lack_settings(tmp_path):
    one = {name: values[0] for name, values in GRID.items()}
    two = {**one, "key_momentum": GRID["key_momentum"][1]}
    ends = [
        (two, 0, 2),
        (one, 0, 2),
        (one, 1, 2),
        (two, 1, 1),
        (one, 2, 2),
    ]  # the fourth diverged, the sixth is not done
    rows = [
        {**values, "seed": seed, "epoch": EVERY * point, "val/knn/fused": 10.0 * seed + point}
        for values, seed, end in ends
        for point in range(1, end + 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "it.parquet")
    runs = read(tmp_path / "it.parquet")
    assert runs.levels == ((0, 0, 0, 0), (0, 0, 0, 1))
    assert runs.epochs == 2 * EVERY
    assert runs.last_GS.tolist() == [[2.0, 12.0], [2.0, 0.0]]
    assert runs.score_GSP[1, 1, 0] == 11.0
