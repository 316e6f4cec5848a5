"""Parameters as Optuna samples them; values and states of trials on the way to Optuna and back.

Of a stepped range, Optuna sees k of the multiple k·q, so that what it suggests is exactly what runs. Its categories
hold no lists, which become JSON.
"""

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.trial_record import TrialState

END_STATES = {
    TrialState.FINISHED: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
TRIAL_STATES = {end: state for state, end in END_STATES.items()} | {OptunaState.RUNNING: TrialState.UNFINISHED}


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


def to_optuna(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the parameters (a start point, a cell) as Optuna has them: the inverse of `from_optuna`."""
    return {name: encode(space.parameters[name], value) for name, value in point.items()}


def from_optuna(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's values of the parameters as settings. Parameters that Optuna has no value of are left out."""
    return {name: decode(p, params[name]) for name, p in space.parameters.items() if name in params}


def encode(parameter: Parameter, value: Any) -> Any:
    """A setting's value as Optuna has it."""
    return _category(value) if parameter.choices else parameter.position(value)


def decode(parameter: Parameter, value: Any) -> Any:
    """A value that Optuna sampled, as the setting has it."""
    if parameter.choices:
        return next(choice for choice in parameter.choices if _category(choice) == value)
    return parameter.at(value)


def _category(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value
