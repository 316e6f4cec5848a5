"""Parameters and values on the way to Optuna and back, in two forms, and states of trials.

As shown: what runs, which the study on disk holds: 192 of 64 to 2048 in steps of 64. As sampled: of a stepped range, k
of the multiple k·q, since Optuna has no steps on a log scale. In both, Optuna's categories hold no lists, which become
JSON.
"""

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.parameter import Parameter, is_whole
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.trial_record import TrialState

END_STATES = {
    TrialState.FINISHED: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
TRIAL_STATES = {end: state for state, end in END_STATES.items()} | {OptunaState.RUNNING: TrialState.UNFINISHED}


def directions(space: Space) -> list[str]:
    """The direction of each metric, in their order."""
    return ["maximize" if metric.maximize else "minimize" for metric in space.metrics]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """What Optuna samples: a distribution per parameter of the space."""
    return {name: distribution(parameter) for name, parameter in space.parameters.items()}


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter as Optuna samples it."""
    if parameter.choices:
        return CategoricalDistribution([_category(choice) for choice in parameter.choices])
    if not parameter.q:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(*parameter.multiples(), log=parameter.log)


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    """Have a trial's sampler give it a value of this parameter."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(name, low, high, log=log, step=step)
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(name, low, high, log=log, step=step)


def shown(parameter: Parameter) -> BaseDistribution:
    """A parameter as the study on disk shows it. Optuna has a log scale for steps of 1 alone."""
    if parameter.choices or not parameter.q:
        return distribution(parameter)
    first, last = (parameter.at(k) for k in parameter.multiples())
    if is_whole(parameter.name) and parameter.q == int(parameter.q):
        return IntDistribution(int(first), int(last), step=int(parameter.q), log=parameter.log and parameter.q == 1)
    return FloatDistribution(first, last, step=parameter.q)


def to_optuna(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the parameters (a start point, a cell) as Optuna samples them: the inverse of `from_optuna`."""
    return {name: encode(space.parameters[name], value) for name, value in point.items()}


def from_optuna(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's values of the parameters as settings. Parameters that Optuna has no value of are left out."""
    return {name: decode(p, params[name]) for name, p in space.parameters.items() if name in params}


def to_shown(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the parameters as the study on disk shows them: the inverse of `from_shown`."""
    return {name: _category(value) for name, value in point.items()}


def from_shown(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values that the study shows, or that others put in its queue, as settings. Raises ValueError for others."""
    point = {}
    for name, value in params.items():
        if name not in space.parameters:
            raise ValueError(f"{name} is no parameter of the space")
        parameter = space.parameters[name]
        if parameter.choices:
            value = next((choice for choice in parameter.choices if _category(choice) == value), value)
        elif is_whole(name) and value == int(value):
            value = int(value)
        if problem := parameter.why_invalid(value):
            raise ValueError(f"{name} {value} {problem}")
        point[name] = value
    return point


def encode(parameter: Parameter, value: Any) -> Any:
    """A setting's value as Optuna samples it."""
    return _category(value) if parameter.choices else parameter.position(value)


def decode(parameter: Parameter, value: Any) -> Any:
    """A value that Optuna sampled, as the setting has it."""
    if parameter.choices:
        return next(choice for choice in parameter.choices if _category(choice) == value)
    return parameter.at(value)


def _category(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value
