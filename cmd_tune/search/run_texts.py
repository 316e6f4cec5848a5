"""Names, parameters and checkpoints of the runs of a search, as the tracking server gets them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmd_tune.formatting import format_value
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.trial_record import TrialRecord
from cmd_tune.settings import Settings
from cmd_tune.train.loop import CHECKPOINT

_NAMED = 4  # parameters in the name of a run, and with a column in the UI; the others are behind its button *Columns*
_SYMBOLS = {
    "teacher_temperature": "τt",
    "student_temperature": "τs",
    "contrast_temperature": "τc",
    "distill_weight": "λ",
    "queue_size": "K",
    "key_momentum": "m",
    "learning_rate": "lr",
}


def named_parameters(space: Space) -> tuple[str, ...]:
    """The parameters that names and columns show: the first ones of the space file, of a table also the seed."""
    names = tuple(space.parameters)
    if SEED in names[_NAMED:]:
        return (*names[: _NAMED - 1], SEED)
    return names[:_NAMED]


def beside(space: Space) -> str:
    """The metrics that a search is judged by beside the first, which ranks, in words; empty if there is one."""
    others = (f"the {'highest' if metric.maximize else 'lowest'} {metric.name}" for metric in space.more_metrics)
    return f", on a front with {' and '.join(others)}" if space.more_metrics else ""


def trial_title(trial: TrialRecord, names: Sequence[str]) -> str:
    """The name of a trial's run, with the values of some parameters: trial-007 τt 0.05 τs 0.1."""
    values = (
        f"{_SYMBOLS.get(name, name)} {format_value(trial.values[name])}" for name in names if name in trial.values
    )
    return " ".join((trial.name, *values))


def lasting_checkpoint(trial: TrialRecord) -> Path:
    """The checkpoint that a person takes away: of the trial's first refit, if it has one that was tested."""
    tested = (refit.folder for refit in trial.refits.values() if refit.test_scores)
    return next(tested, trial.folder) / CHECKPOINT


def trial_params(trial: TrialRecord, settings: Settings) -> dict[str, Any]:
    """All settings of a trial, as a person writes them: four digits. Its settings.yaml has all digits.

    settings: with or without the trial's own values.
    """
    return written_params({**settings.model_dump(mode="json"), **trial.values})


def written_params(values: dict[str, Any]) -> dict[str, Any]:
    return {name: format_value(value) for name, value in values.items()}
