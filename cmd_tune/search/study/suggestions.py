"""The configuration of the next trial: given, queued in Optuna by others, the sampler's, or a random draw.

Each depends on the seed, the trial's number and what is known by then, and on nothing that a process remembers, so that
a kill changes none. The study on disk gets what runs, and nothing of what is drawn and dropped on the way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.prior_draws import draw_from_prior
from cmd_tune.search.spaces.region import MOST_DRAWS
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.earlier_trials import EarlierTrial
from cmd_tune.search.study.methods import Method
from cmd_tune.search.study.optuna_values import from_optuna, from_shown, to_optuna
from cmd_tune.search.study.sampler_view import KEPT, NOT_ALLOWED, SamplerView
from cmd_tune.settings import Settings

ATTEMPTS = 8  # suggestions in a row that may break a constraint or repeat a trial, before a draw takes their place
_REPEATED, _BROKEN = "repeated", "constraint"


@dataclass(frozen=True)
class Suggestion:
    """A configuration that may run, and what the study should keep with it."""

    values: dict[str, Any]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)


class Suggestions:
    """Suggests configurations of a space that are allowed and new. Writes nothing."""

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        base: Settings,
        method: Method,
        startup: int,
        tried: Callable[[Mapping[str, Any]], bool],
        earlier: Sequence[EarlierTrial] = (),
    ) -> None:
        """startup: trials with a score before the sampler learns. earlier: of another search."""
        self._study, self._space, self._seed, self._startup, self._tried = study, space, base.seed, startup, tried
        self._method, self._earlier = method, earlier
        self._settings = base.model_dump()
        self._made: dict[int, FrozenTrial] = {}  # by the views so far
        self.shortfall = ""  # why the last call found nothing

    def next(self, number: int, known: Sequence[FrozenTrial]) -> Suggestion | None:
        """A new configuration for the trial of this number; None, with the shortfall, if none is left or found.

        known: all trials of the study.
        """
        view = self._view(known)
        refused: list[dict[str, Any]] = []
        for attempt in range(ATTEMPTS):
            believed = self._believed(number, attempt)
            asked = view.ask(self._seed_of(number, str(attempt)), to_optuna(self._space, believed))
            values = {**self._space.fixed, **from_optuna(self._space, asked.params)}
            if not (why := self._forbids(values)):
                return self._suggestion(view, asked, values, refused)
            if why == _BROKEN and not believed and view.takes_infeasible:
                view.tell_infeasible(asked.params)
                refused.append(asked.params)
            # In the view it runs on, so that a sampler which knows what runs looks elsewhere.
        drawn = self.draw(number)
        if drawn is None:
            return None
        return Suggestion({**self._space.fixed, **drawn}, {NOT_ALLOWED: refused} if refused else {})

    def _believed(self, number: int, attempt: int) -> dict[str, Any]:
        """Values that priors put in place of the sampler's, while it draws at random."""
        if self._method.learns and number >= self._startup:
            return {}
        random = Random(f"{self._seed}/{number}/{attempt}/prior")  # noqa: S311
        return {
            name: draw_from_prior(parameter, random)
            for name, parameter in self._space.parameters.items()
            if parameter.prior and random.random() < parameter.prior.confidence
        }

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

    def complete(self, number: int, point: Mapping[str, Any], *, sampled: bool) -> Suggestion:
        """A point of the queue that others have put in, with what it leaves out suggested by the sampler.

        sampled: whether it is written as Optuna samples it, as in studies of earlier releases. Raises ValueError, with
        the reason, if it may not run.
        """
        given = from_optuna(self._space, point) if sampled else from_shown(self._space, point)
        view = self._view(self._study.get_trials(deepcopy=False))
        asked = view.ask(self._seed_of(number, "waiting"), to_optuna(self._space, given))
        values = {**self._space.fixed, **from_optuna(self._space, asked.params)}
        if idle := next((name for name in given if name not in values), None):
            when = self._space.parameters[idle].when
            raise ValueError(f"{idle} does not count in it, since {when.text if when else ''} does not hold")
        if why := self._forbids(values):
            raise ValueError(why)
        return self._suggestion(view, asked, values, [])

    def _view(self, known: Sequence[FrozenTrial]) -> SamplerView:
        return SamplerView(self._space, self._settings, self._method, self._startup, known, self._made, self._earlier)

    def _suggestion(
        self, view: SamplerView, asked: Trial, values: dict[str, Any], refused: list[dict[str, Any]]
    ) -> Suggestion:
        kept = {NOT_ALLOWED: refused, KEPT: view.kept()}
        return Suggestion(values, {name: value for name, value in kept.items() if value}, view.noted(asked))

    def _seed_of(self, number: int, key: str) -> int:
        """The sampler's seed, which depends on nothing but that of the search, the trial's number and `key`."""
        of = str(self._seed) if self._method.sequence else f"{self._seed}/{number}/{key}"
        return int.from_bytes(blake2b(of.encode(), digest_size=4).digest())

    def _forbids(self, values: Mapping[str, Any]) -> str:
        """Why a configuration may not run, in a word; empty if it may."""
        if self._tried(values):
            return _REPEATED
        return "" if self._space.allows(values, self._settings) else _BROKEN


def waiting(known: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The points that other programs have put into Optuna's queue, in their order. known: all trials of the study."""
    return [frozen for frozen in known if frozen.state is OptunaState.WAITING]
