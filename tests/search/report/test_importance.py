"""Which parameters matter: re-derived by F tests of NumPy alone, by simulation, and where there is nothing to say."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from cmd_tune.search.report.importance import Impact, importance, seed_noise
from cmd_tune.search.report.verdicts import holm
from cmd_tune.search.spaces.parameter import Parameter

RATES = {
    "learning_rate": Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2),
    "shear_range": Parameter("shear_range", "uniform", 0.0, 2.0),
    "objective": Parameter("objective", "categorical", choices=("base", "cmd", "mcl")),
}
CHANCE_LEVEL = 0.05


def drawn(rng, trials, parameters=RATES):
    def value(p):
        if p.choices:
            return p.choices[rng.integers(len(p.choices))]
        return float(p.low * (p.high / p.low) ** rng.random()) if p.log else float(rng.uniform(p.low, p.high))

    return [{name: value(p) for name, p in parameters.items()} for _ in range(trials)]


def peaked(rng, rows, height=6.0, noise=1.5):
    """Best in the middle of the learning rates, by so many points."""
    middle = [np.log10(row["learning_rate"]) + 3 for row in rows]
    return [75 - height * m**2 + noise * rng.normal() for m in middle]


def by_name(found):
    return {effect.name: effect for effect in found.effects}


def test_p_values_effects_and_intervals_are_those_of_a_regression():
    """By hand: full and reduced models by lstsq, F by SciPy's distribution, the effect by the fitted values."""
    rng = np.random.default_rng(1)
    rows = drawn(rng, 40)
    score_T = np.array(peaked(rng, rows, 2.0))
    u, v = (np.array([row[name] for row in rows]) for name in ("learning_rate", "shear_range"))
    u, v = np.log10(u) + 3, v - 1
    levels = [np.array([row["objective"] == level for row in rows], float) for level in ("cmd", "mcl")]
    parts = {"learning_rate": [u, u**2], "shear_range": [v, v**2], "objective": levels}

    def left(names):
        design = np.stack([np.ones(40), *(column for name in names for column in parts[name])], 1)
        coefficients, *_ = np.linalg.lstsq(design, score_T, rcond=None)
        return ((score_T - design @ coefficients) ** 2).sum(), coefficients

    whole, coefficients = left(parts)
    reduced = [left([other for other in parts if other != name])[0] for name in parts]
    p_values = holm([stats.f.sf((rest - whole) / 2 / (whole / 33), 2, 33) for rest in reduced])
    found = importance(RATES, rows, list(score_T))
    effects = by_name(found)
    assert [effects[name].p for name in parts] == pytest.approx(p_values, rel=1e-6)
    assert found.noise == pytest.approx(sqrt(whole / 33))
    assert found.noise_from == "that the regression leaves"
    part = coefficients[1] * u + coefficients[2] * u**2
    assert effects["learning_rate"].effect == pytest.approx(np.ptp(part), rel=0.02)  # over 24 of its 40 values
    assert effects["learning_rate"].best == pytest.approx(rows[int(part.argmax())]["learning_rate"])
    levels_fitted = [0, *coefficients[5:]]
    assert effects["objective"].effect == pytest.approx(np.ptp(levels_fitted))
    low, high = effects["objective"].interval
    a, b = int(np.argmax(levels_fitted)), int(np.argmin(levels_fitted))
    design = np.stack([np.ones(40), *(column for name in parts for column in parts[name])], 1)
    contrast = np.zeros(7)
    contrast[4 + a] += a > 0
    contrast[4 + b] -= b > 0
    error = sqrt(whole / 33 * contrast @ np.linalg.inv(design.T @ design) @ contrast)
    half = sqrt(2 * stats.f.ppf(0.95, 2, 33)) * error
    assert high >= effects["objective"].effect + half - 1e-9
    assert low <= effects["objective"].effect <= high


def test_a_planted_effect_is_found_and_the_others_are_not():
    rng = np.random.default_rng(0)
    rows = drawn(rng, 60)
    found = importance(RATES, rows, peaked(rng, rows))
    assert [effect.name for effect in found.of(Impact.MATTERS)] == ["learning_rate"]
    (effect,) = found.of(Impact.MATTERS)
    assert effect.interval[0] < 6 < effect.interval[1]
    assert effect.best == pytest.approx(1e-3, rel=0.6)
    assert effect.needed is None


def test_pure_noise_is_rarely_called_an_effect():
    """At most 5 % of whole searches, with three standard errors; with many trials most parameters do not matter."""
    rng, wrong, searches = np.random.default_rng(0), 0, 300
    for _ in range(searches):
        rows = drawn(rng, 24)
        wrong += bool(importance(RATES, rows, list(rng.normal(size=24))).of(Impact.MATTERS))
    assert wrong / searches <= CHANCE_LEVEL + 3 * sqrt(CHANCE_LEVEL * (1 - CHANCE_LEVEL) / searches)
    rows = drawn(rng, 1000)
    assert len(importance(RATES, rows, list(rng.normal(size=1000))).of(Impact.DOES_NOT)) == 3


def test_the_unit_of_the_score_changes_the_effects_alone():
    rng = np.random.default_rng(3)
    rows = drawn(rng, 30)
    scores = peaked(rng, rows, 3.0)
    once = by_name(importance(RATES, rows, scores))
    again = by_name(importance(RATES, rows, [5 - 100 * score for score in scores], maximize=False))
    for name, effect in once.items():
        other = again[name]
        assert (other.impact, other.best, other.needed) == (effect.impact, effect.best, effect.needed)
        assert other.p == pytest.approx(effect.p)
        assert other.effect == pytest.approx(100 * effect.effect)
        assert other.interval == pytest.approx([100 * end for end in effect.interval])


def test_the_number_of_trials_it_names_is_enough():
    """An effect that looks large, but is not yet certain: repeated with so many trials, it is found 4 times in 5."""
    rng = np.random.default_rng(5)
    rows = drawn(rng, 16)
    scores = [70 + 1.4 * (row["objective"] == "cmd") + 2.5 * rng.normal() for row in rows]
    found = importance({"objective": RATES["objective"]}, rows, scores)
    (effect,) = found.effects
    assert effect.impact is Impact.CANNOT_TELL
    assert effect.effect > found.noise
    needed = effect.needed
    assert needed > 16
    levels = {level: np.mean([s for row, s in zip(rows, scores, strict=True) if row["objective"] == level])
              for level in ("base", "cmd", "mcl")}  # fmt: skip
    hits, times = 0, 300
    for _ in range(times):
        more = [rows[index] for index in rng.integers(16, size=needed)]
        drawn_scores = [levels[row["objective"]] + found.noise * rng.normal() for row in more]
        hits += bool(importance({"objective": RATES["objective"]}, more, drawn_scores).of(Impact.MATTERS))
    assert 0.7 < hits / times < 0.9


def test_few_trials_are_told_by_lines_and_fewer_by_nothing():
    rng = np.random.default_rng(2)
    rows = drawn(rng, 13)
    scores = peaked(rng, rows, 0.0)
    lines = importance(RATES, rows, scores)  # parabolas have six columns and the mean: twice that are 14
    assert not lines.curved
    assert importance(RATES, [*rows, rows[0]], [*scores, 1.0]).curved
    # Whether the middle of a range is best, a line cannot see.
    assert not {effect.name for effect in lines.of(Impact.DOES_NOT)} & {"learning_rate", "shear_range"}
    assert all(effect.needed >= 14 for effect in lines.of(Impact.CANNOT_TELL) if effect.name != "objective")
    few = importance(RATES, rows[:8], scores[:8])
    assert {(effect.impact, effect.effect, effect.needed) for effect in few.effects} == {(Impact.CANNOT_TELL, None, 9)}
    assert importance(RATES, rows[:9], scores[:9]).effects[0].effect is not None
    assert importance(RATES, [], []).trials == 0


def test_what_did_not_vary_by_itself_cannot_be_told():
    rng = np.random.default_rng(4)
    rows = [{**row, "shear_range": 1.0, "objective": "cmd"} for row in drawn(rng, 30)]
    effects = by_name(importance(RATES, rows, peaked(rng, rows)))
    assert effects["learning_rate"].impact is Impact.MATTERS
    assert {effects[name].impact for name in ("shear_range", "objective")} == {Impact.CANNOT_TELL}
    assert effects["shear_range"].effect is None


def test_what_rounding_leaves_is_no_effect():
    """Weights of a network follow from its layers alone; of the others nothing is left to tell."""
    rng = np.random.default_rng(4)
    rows = drawn(rng, 40)
    effects = by_name(
        importance(RATES, rows, [70000.0 + (10000.0 if row["objective"] == "cmd" else 0) for row in rows])
    )
    assert effects["objective"].effect == pytest.approx(10000.0)
    assert effects["objective"].impact is Impact.MATTERS
    rest = [effect for name, effect in effects.items() if name != "objective"]
    assert {(effect.effect, effect.interval, effect.impact) for effect in rest} == {(0.0, (0.0, 0.0), Impact.DOES_NOT)}
    same = importance(RATES, rows, [50.0] * 40)
    assert {effect.impact for effect in same.effects} == {Impact.DOES_NOT}


def test_numbers_to_choose_from_are_a_scale_and_absent_values_no_obstacle():
    sizes = {"queue_size": Parameter("queue_size", "categorical", choices=(1024, 64, 256))}
    rows = [{"queue_size": (64, 256, 1024)[n % 3]} for n in range(30)]
    rng = np.random.default_rng(6)
    scores = [50 + {64: 0, 256: 2, 1024: 4}[row["queue_size"]] + 0.5 * rng.normal() for row in rows]
    (effect,) = importance(sizes, rows, scores).effects
    assert effect.best == 1024
    assert effect.effect == pytest.approx(4, abs=0.6)
    (some,) = importance(sizes, [*rows, {}, {}], [*scores, 52.0, 52.0]).effects
    assert some.effect == pytest.approx(effect.effect, abs=0.1)


def test_noise_is_that_of_configurations_that_were_run_again():
    """Pooled: (3-1)·1 + (2-1)·0.5 over 3 degrees; two runs of one configuration are not enough by themselves."""
    assert seed_noise([[1, 2, 3], [5, 6]]) == pytest.approx(sqrt((2 + 0.5) / 3))
    assert seed_noise([[1, 2], [3, 4], [5]]) is None
    rng = np.random.default_rng(0)
    rows = drawn(rng, 400)
    scores = list(rng.normal(size=400))
    loud = importance(RATES, rows, scores, [[0, 10, 20]])
    assert (loud.noise, loud.noise_from) == (10, "over seeds")
    assert len(loud.of(Impact.DOES_NOT)) == 3
    assert not importance(RATES, rows, scores, [[0, 0.01, 0.02]]).of(Impact.DOES_NOT)
