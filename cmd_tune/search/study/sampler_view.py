"""What a sampler sees: the trials of the study as it samples them, in memory, so that what it tries takes no number.

It is made anew for each suggestion from the study on disk and from nothing else, so that a kill changes none.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, create_trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.earlier_trials import EarlierTrial
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.methods import Method
from cmd_tune.search.study.optuna_values import directions, distributions, from_optuna, suggest, to_optuna

# User attributes of a trial on disk: its values as settings; of a failed one, why; what was drawn on the way to it and
# is not allowed, as sampled; what its sampler keeps in the study.
VALUES, FAILURE, NOT_ALLOWED, KEPT = "values", "failure", "not_allowed", "sampler"
REJECTED = "rejected"  # of a point of the queue that may not run: why; in earlier releases, of a suggestion
_ALLOWED = "allowed"  # Optuna's constraint


class SamplerView:
    """A study in memory, whose trials are those on disk and what they were drawn beside."""

    def __init__(
        self,
        space: Space,
        settings: Mapping[str, Any],
        method: Method,
        startup: int,
        known: Iterable[FrozenTrial],
        made: dict[int, FrozenTrial] | None = None,
        earlier: Sequence[EarlierTrial] = (),
    ) -> None:
        """settings: of every trial. startup: trials with a score before the sampler learns. known: those on disk.

        earlier: of another search.

        made: ended trials as sampled, by number, of earlier views; new ones are added, to be made once.
        """
        self._space, self._settings = space, {**settings, **space.fixed}
        self._method, self._startup = method, startup
        made = {} if made is None else made
        self.distributions = distributions(space)
        known = list(known)
        scores = [trial.scores for trial in earlier]
        scores += [frozen.values for frozen in known if frozen.state is OptunaState.COMPLETE]
        ended = (OptunaState.COMPLETE, OptunaState.PRUNED)
        self._scored = len(earlier) + sum(
            frozen.state in ended and REJECTED not in frozen.user_attrs for frozen in known
        )
        by_metric = zip(space.metrics, zip(*scores, strict=True), strict=True) if scores else ()
        self._worst = [min(values) if metric.maximize else max(values) for metric, values in by_metric]
        self._infeasible = 0  # configurations that the sampler is told not to take
        self.study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), directions=directions(space))
        for trial in earlier:
            params = to_optuna(space, {name: trial.values[name] for name in space.parameters if name in trial.values})
            self._add(self._make(OptunaState.COMPLETE, params, trial.scores))
        for frozen in known:
            for params in frozen.user_attrs.get(NOT_ALLOWED, ()):
                self.tell_infeasible(params)
            if ready := made.get(frozen.number):
                self._add(ready)
            elif (shown := self._show(frozen)) and frozen.state in ended:
                made[frozen.number] = shown
            for name, value in frozen.user_attrs.get(KEPT, {}).items():
                self.study._storage.set_study_system_attr(self.study._study_id, name, value)

    def ask(self, seed: int, given: Mapping[str, Any] | None = None) -> Trial:
        """The sampler's next suggestion. given: values, as sampled, that are not up to it."""
        self.study.sampler = self._method.sampler(seed, self._startup)
        if given:
            self.study.enqueue_trial(dict(given))
        conditions = self._space.conditions
        asked = self.study.ask(
            {name: d for name, d in self.distributions.items() if name not in conditions.conditional}
        )
        for name in conditions.conditional:  # those that they speak of come before
            if name in conditions.counting(from_optuna(self._space, asked.params), self._settings):
                suggest(asked, name, self.distributions[name])
        return asked

    def tell_infeasible(self, params: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> None:
        """Tell the sampler of values, as sampled, that it should not propose."""
        self._infeasible += 1
        if self._method.constrained:
            self._add(self._make(OptunaState.PRUNED, params, constraints={_ALLOWED: 1.0}))
        elif self._worst:
            self._add(self._make(OptunaState.COMPLETE, params, self._worst, system_attrs=attributes))

    @property
    def takes_infeasible(self) -> bool:
        """Whether the sampler should be told of one more configuration that may not run.

        It learns of them, but counts them among the results: it needs true ones first, and what it takes for good, the
        best tenth of all, should not become every one that was allowed.
        """
        return self._scored >= self._startup and self._scored > self._infeasible

    def noted(self, asked: Trial) -> dict[str, Any]:
        """What the sampler has written to a suggestion, such as its generation."""
        return _own(self.study.get_trials(deepcopy=False)[asked.number].system_attrs)

    def kept(self) -> dict[str, Any]:
        """What the sampler keeps in the study, such as its place in a sequence."""
        return dict(self.study._storage.get_study_system_attrs(self.study._study_id))

    def _show(self, frozen: FrozenTrial) -> FrozenTrial | None:
        """Add a trial on disk, unless it has no values of all parameters, or nothing is to be learnt of it.

        Returns it as sampled, if that depends on no other trial.
        """
        if REJECTED in frozen.user_attrs:  # by an earlier release
            if frozen.constraints and frozen.params.keys() == self.distributions.keys():
                self.tell_infeasible(frozen.params)
            return None
        params = self._params(frozen)
        if params is None or frozen.state is OptunaState.WAITING:
            return None
        if frozen.state is OptunaState.FAIL:
            passing = FailureTag(frozen.user_attrs.get(FAILURE, FailureTag.VALUES)).passing
            if not passing and self.takes_infeasible:
                self.tell_infeasible(params, frozen.system_attrs)
            return None
        made = self._make(frozen.state, params, frozen.values, frozen.intermediate_values, frozen.system_attrs)
        self._add(made)
        return made

    def _params(self, frozen: FrozenTrial) -> dict[str, Any] | None:
        """A trial's values as they are sampled; None if it lacks some, or has others than the space allows."""
        values = frozen.user_attrs.get(VALUES, frozen.params)
        names = self._space.conditions.counting(values, self._settings)
        if not values.keys() >= {*names}:
            return None
        params = {name: values[name] for name in self._space.parameters if name in names}
        if any(self._space.parameters[name].why_invalid(value) for name, value in params.items()):
            return None
        return to_optuna(self._space, params)

    def _add(self, made: FrozenTrial) -> None:
        self.study._storage.create_new_trial(self.study._study_id, template_trial=made)

    def _make(
        self,
        state: OptunaState,
        params: Mapping[str, Any],
        values: Sequence[float] | None = None,
        intermediate: Mapping[int, float] | None = None,
        system_attrs: Mapping[str, Any] | None = None,
        constraints: dict[str, float] | None = None,
    ) -> FrozenTrial:
        made = create_trial(
            state=state,
            params=dict(params),
            distributions={name: self.distributions[name] for name in params},
            values=values,
            intermediate_values=dict(intermediate or {}),
            system_attrs=_own(system_attrs or {}),
            constraints=constraints,
        )
        made.__class__ = _Shared
        return made


class _Shared(FrozenTrial):
    """A trial whose values nobody changes, so that a storage's own copy may share them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        copied = copy(self)
        copied.__class__ = FrozenTrial
        return copied


def _own(system_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """What a sampler wrote: not the values of a point of the queue, which are for the trial that takes them."""
    return {name: value for name, value in system_attrs.items() if name != "fixed_params"}
