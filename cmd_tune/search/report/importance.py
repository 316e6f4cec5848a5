"""Which parameters of a search matter: the effect of each on the score, judged against chance.

An additive regression explains the scores of the finished trials: of each parameter on a scale, a line and a parabola
in its position in the range (on a log scale where the parameter is); of each other one, a level per choice. With few
trials the parabolas are left out. The effect of a parameter is the highest less the lowest of its fitted part over the
values that were tried, other parameters being equal, in points. Its 95 % interval holds for all differences between
values together (Scheffé, Biometrika 1953).

- *matters*: the partial F test says so at 5 %, after Holm's correction over all parameters.
- *does not matter*: the interval ends below one standard deviation of what the seed alone changes.
- *cannot tell*: neither. The number of trials that would tell supposes that the effect is as large as it looks: with
  80 % probability the F test finds it (noncentral F), or the interval shrinks below the noise; the fewer of the two.

The noise is the spread over seeds of configurations that were run again, if there are such; else what the regression
leaves unexplained, which is larger, since it contains what parameters do together. Trials that were stopped early or
failed have no score at the end, so that effects look smaller than they are; if too few are left, the scores after an
earlier epoch are explained, one that most trials have come to. A method that learns chooses its trials by the scores
before; the tests take them as given.

T trial, K column, Q column of one parameter, G value of one parameter.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, fdtri, ncfdtr

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.formatting import count
from cmd_tune.search.report.positions import is_scale, place
from cmd_tune.search.report.power import CHANCE
from cmd_tune.search.report.verdicts import ALPHA, holm
from cmd_tune.search.spaces.parameter import Parameter

OVER_SEEDS = "over seeds"
MOST_TRIALS = 10_000  # a number of trials above this one is not named
_SPARE = 4  # trials beyond the columns that a regression has at least
_VALUES = 24  # of one parameter that are compared with each other
_ALIKE = 1e-9  # columns that differ by less are one
_TINY = 1e-9  # of the scores, or their sum of squares: what rounding leaves of 0

Floats = NDArray[np.float64]


class Impact(StrEnum):
    MATTERS = "matters"
    DOES_NOT = "does not matter"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter. effect: in points; None if there are too few trials, or the parameter did not vary by itself.

    p: corrected by Holm. best: the tried value with the best fitted score. needed: trials in all that would tell;
    None if there is a verdict, if they are more than MOST_TRIALS, or if no number helps.
    """

    name: str
    impact: Impact
    effect: float | None = None
    interval: Interval | None = None
    p: float = 1.0
    best: Any = None
    needed: int | None = None


@dataclass(frozen=True)
class Importance:
    """The parameters, what matters most first. trials: that have a score. epoch: after which; None: after the last.

    noise: one standard deviation of a run from seed to seed, in points, and where it is from; None if it is not known.
    """

    effects: tuple[ParameterEffect, ...]
    trials: int
    noise: float | None
    noise_from: str
    curved: bool = False
    epoch: int | None = None

    @property
    def told(self) -> bool:
        """Whether there are trials enough for any effect."""
        return any(effect.effect is not None for effect in self.effects)

    @property
    def basis(self) -> str:
        """In words: 12 finished trials; the scores of 40 trials after epoch 8."""
        if self.epoch is None:
            return count(self.trials, "finished trial")
        return f"the scores of {count(self.trials, 'trial')} after epoch {self.epoch}"

    def of(self, impact: Impact) -> list[ParameterEffect]:
        return [effect for effect in self.effects if effect.impact is impact]


def importance(
    parameters: Mapping[str, Parameter],
    values: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    repeats: Sequence[Sequence[float]] = (),
    *,
    maximize: bool = True,
    epoch: int | None = None,
) -> Importance:
    """values, scores: of trials. repeats: scores of equal configurations with several seeds. epoch: of the scores."""
    score_T = np.asarray(scores, float)
    seeds = seed_noise(repeats)
    curved = {name: _columns(parameter, values, curved=True) for name, parameter in parameters.items()}
    straight = {name: _columns(parameter, values, curved=False) for name, parameter in parameters.items()}
    bends = 2 * (1 + _width(curved))  # trials for parabolas
    use_curves = len(scores) >= bends
    columns = curved if use_curves else straight
    if len(scores) < (least := 1 + _width(columns) + _SPARE):
        untold = tuple(ParameterEffect(name, Impact.CANNOT_TELL, needed=least) for name in parameters)
        return Importance(untold, len(scores), seeds, OVER_SEEDS if seeds is not None else "", epoch=epoch)
    fit = _Fit(columns, score_T)
    noise, origin = (seeds, OVER_SEEDS) if seeds is not None else (fit.spread, "that the regression leaves")
    tests = {name: fit.test(name) for name in parameters}
    corrected = dict(zip(parameters, holm([test.p for test in tests.values()]), strict=True))
    effects = [
        _judge(fit, tests[name], corrected[name], noise, values, parameters[name], maximize, 0 if use_curves else bends)
        for name in parameters
    ]
    effects.sort(key=lambda effect: (effect.p, -(effect.effect or 0.0)))
    return Importance(tuple(effects), len(scores), noise, origin, use_curves, epoch)


def seed_noise(repeats: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation over seeds, pooled over configurations; None if none was run three times."""
    groups = [np.asarray(group, float) for group in repeats if len(group) > 1]
    if not any(len(group) > 2 for group in groups):
        return None
    freedom = sum(len(group) - 1 for group in groups)
    return sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom)


def _columns(parameter: Parameter, values: Sequence[Mapping[str, Any]], *, curved: bool) -> Floats:
    """(T, Q): the columns of one parameter, centred; 0 where a trial does not have it."""
    name = parameter.name
    has_T = np.array([name in row for row in values], bool)
    given = [row[name] for row in values if name in row]
    if is_scale(parameter):
        spread = 2 * np.array([place(parameter, value) for value in given]) - 1
        degree = min(2 if curved else 1, len(set(spread.tolist())) - 1)
        known = np.stack([spread**power for power in range(1, degree + 1)], 1) if degree > 0 else np.empty((0, 0))
    else:
        levels = [level for level in parameter.choices if level in given][1:]
        known = np.array([[float(value == level) for level in levels] for value in given])
    column_TQ = np.zeros((len(values), known.shape[1] if known.ndim == 2 else 0))
    if column_TQ.shape[1]:
        column_TQ[has_T] = known - known.mean(0)
    return column_TQ


def _width(columns: Mapping[str, Floats]) -> int:
    return sum(column_TQ.shape[1] for column_TQ in columns.values())


@dataclass(frozen=True)
class _Test:
    """Of one parameter: its coefficients and their covariance (for a spread of 1), and its partial F test."""

    column_TQ: Floats
    coefficient_Q: Floats
    covariance_QQ: Floats
    freedom: int  # of the numerator; 0 if the others explain its columns
    squares: float  # the sum of squares that it explains beside the others
    p: float


class _Fit:
    """Least squares on all columns, which are centred, as the scores are, so that the mean is a column of its own."""

    def __init__(self, columns: Mapping[str, Floats], score_T: Floats) -> None:
        self.columns, self.trials = columns, len(score_T)
        design_TK = np.concatenate(list(columns.values()), axis=1)
        centred_T = score_T - score_T.mean()
        self._gram_KK, self._product_K = design_TK.T @ design_TK, design_TK.T @ centred_T
        self.total = float(centred_T @ centred_T)
        self._all = np.arange(design_TK.shape[1])
        self.covariance_KK, self.coefficient_K, self.left, self.rank = self._solve(self._all)
        self.freedom = len(score_T) - self.rank
        self.spread = sqrt(self.left / self.freedom)

    def test(self, name: str) -> _Test:
        ends = np.cumsum([column_TQ.shape[1] for column_TQ in self.columns.values()])
        end = int(ends[list(self.columns).index(name)])
        own = slice(end - self.columns[name].shape[1], end)
        _, _, left, rank = self._solve(np.delete(self._all, own))
        freedom = self.rank - rank
        squares = max(0.0, left - self.left)
        p = 1.0
        if freedom and squares > _TINY * self.total:
            p = float(fdtrc(freedom, self.freedom, squares / freedom / self.spread**2)) if self.left else 0.0
        return _Test(self.columns[name], self.coefficient_K[own], self.covariance_KK[own, own], freedom, squares, p)

    def _solve(self, of: NDArray[np.intp]) -> tuple[Floats, Floats, float, int]:
        """By some columns: (covariance for a spread of 1, coefficients, sum of squares left, rank with the mean)."""
        gram = self._gram_KK[np.ix_(of, of)]
        if not len(of):
            return gram, np.empty(0), self.total, 1
        inverse = np.linalg.pinv(gram, rcond=_ALIKE, hermitian=True)
        coefficient = inverse @ self._product_K[of]
        left = self.total - float(coefficient @ self._product_K[of])
        rank = 1 + int(np.linalg.matrix_rank(gram, tol=_ALIKE * float(np.abs(gram).sum(0).max()), hermitian=True))
        return inverse, coefficient, left if left > _TINY * self.total else 0.0, rank


def _judge(
    fit: _Fit,
    test: _Test,
    p: float,
    noise: float,
    values: Sequence[Mapping[str, Any]],
    parameter: Parameter,
    maximize: bool,
    bends: int,
) -> ParameterEffect:
    """bends: how many trials parabolas need; 0 if they are in the fit."""
    name = parameter.name
    if not test.freedom:
        return ParameterEffect(name, Impact.CANNOT_TELL)
    tried = [index for index, row in enumerate(values) if name in row]
    part_T = test.column_TQ @ test.coefficient_Q
    best = values[max(tried, key=lambda index: part_T[index] if maximize else -part_T[index])][name]
    effect, interval = _effect(test, fit)
    # A line cannot see that the middle of a range is best.
    if not is_scale(parameter) or len({values[index][name] for index in tried}) < 3:
        bends = 0
    if p < ALPHA:
        impact = Impact.MATTERS
    else:
        impact = Impact.DOES_NOT if not bends and interval[1] <= noise else Impact.CANNOT_TELL
    needed = _needed(fit, test, effect, interval, noise, bends) if impact is Impact.CANNOT_TELL else None
    return ParameterEffect(name, impact, effect, interval, p, best, needed)


def _effect(test: _Test, fit: _Fit) -> tuple[float, Interval]:
    """The largest difference between two values that were tried, with its interval."""
    value_GQ = np.unique(test.column_TQ, axis=0)
    if len(value_GQ) > _VALUES:
        value_GQ = value_GQ[np.linspace(0, len(value_GQ) - 1, _VALUES).round().astype(int)]
    difference_GGQ = value_GQ[:, None] - value_GQ[None]
    size_GG = np.abs(difference_GGQ @ test.coefficient_Q)
    size_GG[size_GG < _TINY * sqrt(fit.total)] = 0
    variance_GG = np.einsum("ghq,qr,ghr->gh", difference_GGQ, test.covariance_QQ, difference_GGQ)
    scheffe = sqrt(test.freedom * float(fdtri(test.freedom, fit.freedom, 1 - ALPHA)))
    half_GG = scheffe * fit.spread * np.sqrt(np.maximum(variance_GG, 0))
    return float(size_GG.max()), (float(np.maximum(size_GG - half_GG, 0).max()), float((size_GG + half_GG).max()))


def _needed(fit: _Fit, test: _Test, effect: float, interval: Interval, noise: float, bends: int) -> int | None:
    """Trials in all that would tell, one way or the other, if the effect is as large as it looks."""
    numbers = [_to_be_found(fit, test)]
    if effect < noise:
        numbers.append(max(bends, ceil(fit.trials * ((interval[1] - effect) / (noise - effect)) ** 2)))
    return min((number for number in numbers if number and number <= MOST_TRIALS), default=None)


def _to_be_found(fit: _Fit, test: _Test) -> int | None:
    """Trials with which the F test would find the effect; at the level of the first step of Holm's correction."""
    if not fit.spread:
        return None
    level, per_trial = ALPHA / len(fit.columns), test.squares / fit.spread**2 / fit.trials
    counts = range(fit.trials + 1, MOST_TRIALS + 1)

    def found(count: int) -> bool:
        left = count - fit.rank
        missed = float(ncfdtr(test.freedom, left, count * per_trial, fdtri(test.freedom, left, 1 - level)))
        return not missed > 1 - CHANCE  # SciPy has nan far out in the tail, where nothing is missed

    index = bisect_left(counts, True, key=found)
    return counts[index] if index < len(counts) else None
