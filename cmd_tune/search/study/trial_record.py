"""One trial of a search: its values, its state, its scores, and the files of its folder that hold them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.runs.pretrain_and_score import TEST_SCORES

HISTORY = "history.jsonl"  # in a trial's folder


class TrialState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"


@dataclass
class TrialRecord:
    """One trial as the study has it. `history`: its metrics, a mapping per epoch. Only finalists, and the trials of a
    comparison, have `test_scores`.
    """

    index: int
    values: dict[str, Any]
    folder: Path
    state: TrialState = TrialState.RUNNING
    reason: str = ""  # why it stopped or failed
    history: list[dict[str, float]] = field(default_factory=list)
    test_scores: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"trial-{self.index:03d}"

    @property
    def epoch(self) -> int:
        """Epochs that are recorded."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    def last(self, metric: str) -> float | None:
        """The latest recorded value of a metric."""
        return next((record[metric] for record in reversed(self.history) if metric in record), None)

    def score(self, metric: str) -> float | None:
        """Its test score, or the latest recorded value of the metric."""
        return self.test_scores.get(metric, self.last(metric))

    def append(self, record: Mapping[str, float]) -> None:
        """Add an epoch's metrics to the history, and to its file. Raises CmdTuneError if that cannot be written."""
        path = self.folder / HISTORY
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(record)) + "\n")
        except OSError as error:
            raise CmdTuneError(f"{path}: cannot be written: {error.strerror}") from error
        self.history.append(dict(record))

    def record_test(self, scores: Mapping[str, float]) -> None:
        """Set the test scores, and write them to the folder."""
        self.test_scores = dict(scores)
        write_text(self.folder / TEST_SCORES, json.dumps(self.test_scores))

    def read_files(self) -> None:
        """Read history and test scores from the folder, as an earlier session left them."""
        self.history = _read_history(self.folder / HISTORY)
        if (self.folder / TEST_SCORES).exists():
            self.test_scores = json.loads((self.folder / TEST_SCORES).read_text(encoding="utf-8"))


def _read_history(path: Path) -> list[dict[str, float]]:
    """Whole lines of a history. A last line that a kill cut short is left out, and cut from the file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        write_text(path, "".join(lines))
    return [json.loads(line) for line in lines]
