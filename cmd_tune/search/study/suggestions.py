"""The configuration of the next trial: given, queued in Optuna by others, the sampler's, or a random draw.

Each depends on the seed, the trial's number and what is known by then, and on nothing that a process remembers, so that
a kill changes none.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.region import MOST_DRAWS
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.methods import Method
from cmd_tune.search.study.optuna_values import distributions, from_optuna, to_optuna
from cmd_tune.settings import Settings

ATTEMPTS = 8  # suggestions in a row that may break a constraint or repeat a trial, before a draw takes their place
# User attributes of a rejected trial: why, and for which number it was suggested.
REJECTED, SUGGESTED = "rejected", "suggested_for"
_REPEATED, _BROKEN = "repeated", "constraint"
_ALLOWED = "allowed"  # Optuna's constraint

Suggested = tuple[Trial, dict[str, Any]]  # Optuna's trial, and its values as settings


class Suggestions:
    """Suggests configurations of a space, and tells Optuna of those that may not run."""

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        base: Settings,
        method: Method,
        startup: int,
        tried: Callable[[Mapping[str, Any]], bool],
        known: Sequence[FrozenTrial],
    ) -> None:
        """startup: trials with a score before the sampler learns. known: Optuna's trials of earlier sessions."""
        self._study, self._space, self._seed, self._startup, self._tried = study, space, base.seed, startup, tried
        self._method = method
        self._settings = base.model_dump()
        self.shortfall = ""  # why the last call found nothing
        rejected = [frozen for frozen in known if REJECTED in frozen.user_attrs]
        self._infeasible = sum(map(infeasible, rejected))  # suggestions that Optuna was told not to be allowed
        self._attempts = Counter(frozen.user_attrs.get(SUGGESTED) for frozen in rejected)  # by the trial's number

    def given(self, number: int, values: dict[str, Any]) -> Suggested:
        """These values, after what other programs may have put into Optuna's queue. number: of the next trial."""
        if self._space.comparison:
            # Optuna keeps the trial's state. Its categories cannot grow, so that the values are an attribute alone.
            return self._study.ask(), values
        point = {name: value for name, value in values.items() if name in self._space.parameters}
        self._study.enqueue_trial(to_optuna(self._space, point))
        if waiting := self._waiting(number):
            return waiting
        raise AssertionError(f"Optuna did not take {values}")

    def next(self, number: int, scored: int) -> Suggested | None:
        """A new configuration; None, with the reason as the shortfall, if none is left or found.

        scored: trials that have a score.
        """
        if waiting := self._waiting(number):
            return waiting
        while self._attempts[number] < ATTEMPTS:
            if suggested := self._suggest(number, scored):
                return suggested
        drawn = self.draw(number)
        return None if drawn is None else self.given(number, {**self._space.fixed, **drawn})

    def draw(self, number: int) -> dict[str, Any] | None:
        """Random values of the parameters that are allowed and new; None, with the shortfall, if none are."""
        region = self._space.region(self._settings, f"{self._seed}/{number}")
        drawn = region.draw(lambda point: self._tried({**self._space.fixed, **point}))
        self.shortfall = ""
        if drawn is None:
            self.shortfall = (
                f"all {number} configurations that the space allows have been run"
                if region.exhausted
                else f"of {MOST_DRAWS} configurations drawn, none that the space allows is new"
            )
        return drawn

    def _waiting(self, number: int) -> Suggested | None:
        """The first point of Optuna's queue that is allowed and new; None if there is none."""
        for _ in self._study.get_trials(deepcopy=False, states=(OptunaState.WAITING,)):
            optuna_trial, values = self._ask(number, "waiting")  # which completes a point that gives some values
            if not (why := self._forbids(values)):
                return optuna_trial, values
            optuna_trial.set_user_attr(REJECTED, why)
            self._study.tell(optuna_trial, state=OptunaState.FAIL)
        return None

    def _suggest(self, number: int, scored: int) -> Suggested | None:
        """The sampler's next suggestion; None if it is not allowed or has been tried, which Optuna is then told."""
        optuna_trial, values = self._ask(number, str(self._attempts[number]))
        why = self._forbids(values)
        if not why:
            return optuna_trial, values
        # TPE learns what is not allowed from pruned trials, but counts them among the results: it needs true ones
        # first, and what it takes for good, the best tenth of all, should not become every one that was allowed.
        learns = why == _BROKEN and scored >= self._startup and scored > self._infeasible
        if learns:
            optuna_trial.set_constraint(_ALLOWED, 1.0)
        optuna_trial.set_user_attr(SUGGESTED, number)
        optuna_trial.set_user_attr(REJECTED, why)  # last: a suggestion without it is made again after a kill
        self._study.tell(optuna_trial, state=OptunaState.PRUNED if learns else OptunaState.FAIL)
        self._attempts[number] += 1
        self._infeasible += learns
        return None

    def _ask(self, number: int, key: str) -> Suggested:
        """Optuna's next trial, by a sampler that depends on nothing but the seed, the trial's number and `key`."""
        of = str(self._seed) if self._method.sequence else f"{self._seed}/{number}/{key}"
        seed = int.from_bytes(blake2b(of.encode(), digest_size=4).digest())
        self._study.sampler = self._method.sampler(seed, self._startup)
        optuna_trial = self._study.ask(distributions(self._space))
        return optuna_trial, {**self._space.fixed, **from_optuna(self._space, optuna_trial.params)}

    def _forbids(self, values: Mapping[str, Any]) -> str:
        """Why a configuration may not run, in a word; empty if it may."""
        if self._tried(values):
            return _REPEATED
        return "" if self._space.allows(values, self._settings) else _BROKEN


def infeasible(frozen: FrozenTrial) -> bool:
    """Whether a rejected trial tells Optuna what is not allowed."""
    return _ALLOWED in frozen.constraints
