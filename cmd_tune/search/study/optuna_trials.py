"""What is written to Optuna's study on disk: a trial begins in one step, and goes on under its own number.

A trial's number is Optuna's. Studies that a release before 0.2 began have numbers of trials that never ran, or ran
again under another one; in these a trial's own number stays its attribute `index`, and stepped values are shown as k of
k·q.
"""

import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, create_trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.optuna_values import distribution, shown, to_optuna, to_shown
from cmd_tune.search.study.sampler_view import REJECTED, VALUES
from cmd_tune.search.study.suggestions import Suggestion

INDEX = "index"  # a user attribute of trials in studies of earlier releases
_PATIENCE_S = 30  # for another program that has locked the file


class OptunaTrials:
    """Begins trials in a study on disk."""

    def __init__(self, study: optuna.Study, space: Space, known: Sequence[FrozenTrial]) -> None:
        """known: the trials that it has."""
        self._study = study
        self._space = space
        self.earlier = any(INDEX in frozen.user_attrs for frozen in known)  # an earlier release began it
        parameters = {} if space.comparison else space.parameters  # whose categories could not grow with its table
        form = distribution if self.earlier else shown
        self._distributions = {name: form(parameter) for name, parameter in parameters.items()}

    def begin(self, suggestion: Suggestion, index: int) -> tuple[int, Trial]:
        """Enter a trial that runs. Returns its number, and Optuna's trial.

        index: the number in a study of an earlier release.
        """
        made = create_trial(
            state=OptunaState.RUNNING,
            params=(params := self._params(suggestion.values)),
            distributions={name: self._distributions[name] for name in params},
            user_attrs={**suggestion.user_attrs, VALUES: suggestion.values, **({INDEX: index} if self.earlier else {})},
            system_attrs=suggestion.system_attrs,
        )
        trial_id = self._study._storage.create_new_trial(self._study._study_id, template_trial=made)
        trial = Trial(self._study, trial_id)
        return index if self.earlier else trial.number, trial

    def begin_waiting(self, queued: FrozenTrial, suggestion: Suggestion, index: int) -> tuple[int, Trial]:
        """As `begin`, under the number that a point of the queue has. It starts last: a kill leaves it there."""
        storage, trial_id = self._study._storage, queued._trial_id
        for name, value in self._params(suggestion.values).items():
            if name not in queued.params:
                form = self._distributions[name]
                storage.set_trial_param(trial_id, name, form.to_internal_repr(value), form)
        attributes = {**suggestion.user_attrs, VALUES: suggestion.values, **({INDEX: index} if self.earlier else {})}
        for name, value in attributes.items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, value in suggestion.system_attrs.items():
            storage.set_trial_system_attr(trial_id, name, value)
        storage.set_trial_state_values(trial_id, OptunaState.RUNNING)
        return index if self.earlier else queued.number, Trial(self._study, trial_id)

    def refuse_waiting(self, queued: FrozenTrial, why: str) -> None:
        """End a point of the queue that may not run as failed, with the reason. Its number is no trial's."""
        self._study._storage.set_trial_user_attr(queued._trial_id, REJECTED, why)
        self._study._storage.set_trial_state_values(queued._trial_id, OptunaState.FAIL)

    def _params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        point = {name: values[name] for name in self._distributions if name in values}
        return to_optuna(self._space, point) if self.earlier else to_shown(self._space, point)


def describe(study: optuna.Study, metrics: list[str], attributes: Mapping[str, str]) -> None:
    """Write the metrics' names and attributes for other programs that open the study, unless they are there."""
    if study.metric_names != metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(metrics)
    kept = study.user_attrs
    for name, value in attributes.items():
        if kept.get(name) != value:
            study.set_user_attr(name, value)


def in_memory(storage: optuna.storages.RDBStorage) -> optuna.storages.InMemoryStorage:
    """A copy of all that a file has of the study, which does not need the file any more."""
    memory = optuna.storages.InMemoryStorage()
    for name in optuna.get_all_study_names(storage):
        optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=memory)
    storage.engine.dispose()
    return memory


def number_of(frozen: FrozenTrial) -> int | None:
    """A trial's number; None of what is not a trial of a search, or waits to become one."""
    if VALUES not in frozen.user_attrs or frozen.state is OptunaState.WAITING:
        return None
    return int(frozen.user_attrs.get(INDEX, frozen.number))


def reopen(path: Path, trials: Sequence[FrozenTrial]) -> None:
    """Have trials that ended, or whose files are gone, run again under their numbers, with nothing reported yet.

    Optuna has no call for this; the tables are those of its storage. Studies that are open do not see it.
    """
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as database, database:
        for trial in trials:
            of = (trial._trial_id,)
            database.execute("DELETE FROM trial_values WHERE trial_id = ?", of)
            database.execute("DELETE FROM trial_intermediate_values WHERE trial_id = ?", of)
            database.execute(  # what early stopping has seen of it
                "DELETE FROM trial_system_attributes WHERE trial_id = ? AND key LIKE 'completed_rung_%'", of
            )
            database.execute(
                "DELETE FROM trial_user_attributes WHERE trial_id = ? AND key IN ('reason', 'failure', 'again')", of
            )
            database.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = ?", of)
