"""Finished trials of an earlier search that a study takes in: the method learns of them, and none runs again.

They are kept in a file of the search's own folder, since the earlier search may be removed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text

WARM_START = "warm_start.json"  # in a search's folder


@dataclass(frozen=True)
class EarlierTrial:
    """A trial's configuration as values of this search's parameters, and its score. trial: as in trial-003.

    more_scores: by the metrics beside the first, in their order.
    """

    search: str
    trial: str
    values: dict[str, Any]
    score: float
    more_scores: list[float] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        return [self.score, *self.more_scores]


def write_earlier(folder: Path, trials: Sequence[EarlierTrial]) -> None:
    write_text(folder / WARM_START, json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")


def read_earlier(folder: Path) -> list[EarlierTrial]:
    """Those of a search's folder; none if it takes in none. Raises CmdTuneError for a file that is damaged."""
    path = folder / WARM_START
    if not path.exists():
        return []
    try:
        trials = [EarlierTrial(**kept) for kept in json.loads(path.read_text(encoding="utf-8"))]
        for trial in trials:
            _ = list(map(float, trial.scores)), trial.values.items()
    except (OSError, ValueError, TypeError, AttributeError):
        raise CmdTuneError(f"{path}: holds no trials; restore it, or remove it to go on without them") from None
    return trials


def best_of(trials: Sequence[EarlierTrial], *, maximize: bool) -> EarlierTrial:
    """By the first metric."""
    return (max if maximize else min)(trials, key=lambda trial: trial.score)
