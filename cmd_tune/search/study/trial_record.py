"""One trial of a search: its values, its state, its scores, and the files of its folder that hold them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import mean
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.runs.pretrain_and_score import TEST_SCORES
from cmd_tune.search.spaces.comparison import SEED

BEFORE_REFIT = "before_refit/"  # begins the names of a finalist's own test scores, if it has refits
HISTORY = "history.jsonl"  # in a trial's folder
_REFIT = "refit-"  # begins the name of a refit's folder, which ends with its seed


class TrialState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"


@dataclass
class TrialRecord:
    """One trial as the study has it.

    history: its metrics, a mapping per epoch. test_scores: of its own checkpoint; only finalists, and the trials of a
    comparison, have some. refits: of a finalist: what was pretrained again on the whole training set, by seed.
    """

    index: int
    values: dict[str, Any]
    folder: Path
    state: TrialState = TrialState.RUNNING
    reason: str = ""  # why it stopped or failed
    history: list[dict[str, float]] = field(default_factory=list)
    test_scores: dict[str, float] = field(default_factory=dict)
    refits: dict[int, "RefitRecord"] = field(default_factory=dict)

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

    @property
    def tests(self) -> dict[str, float]:
        """Its scores on the test set: the means over its refits, with its own under BEFORE_REFIT; else its own."""
        refits = [refit.test_scores for refit in self.refits.values() if refit.test_scores]
        if not refits:
            return self.test_scores
        means = {name: mean(scores[name] for scores in refits) for name in refits[0]}
        return means | {BEFORE_REFIT + name: score for name, score in self.test_scores.items()}

    def score(self, metric: str) -> float | None:
        """One of its `tests`, or the latest recorded value of the metric."""
        return self.tests.get(metric, self.last(metric))

    def take(self, record: Mapping[str, float]) -> bool:
        """Add an epoch's metrics, and the scores on the test set if it has some. False if the epoch is there already.

        Raises CmdTuneError if a file cannot be written.
        """
        if record["epoch"] <= self.epoch:
            return False
        tested = {name: score for name, score in record.items() if name.startswith("test/")}
        if tested:  # first: a process that is killed between the two repeats this epoch's report
            self.record_test(tested)
        self.append({name: value for name, value in record.items() if name not in tested})
        return True

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
        for folder in self.folder.glob(f"{_REFIT}*"):
            if (seed := folder.name.removeprefix(_REFIT)).isdecimal():
                self.refit(int(seed)).read_files()

    def refit(self, seed: int) -> "RefitRecord":
        """Its refit with a seed, made if there is none."""
        if seed not in self.refits:
            values = {**self.values, SEED: seed, "holdout": "none"}
            made = RefitRecord(self.index, values, self.folder / f"{_REFIT}{seed}")
            self.refits = dict(sorted({**self.refits, seed: made}.items()))
        return self.refits[seed]


class RefitRecord(TrialRecord):
    """A finalist pretrained again: its values but for the seed and what is held out, in a folder in the trial's."""

    @property
    def seed(self) -> int:
        return int(self.values[SEED])

    @property
    def name(self) -> str:
        return f"refit of {super().name}, seed {self.seed}"


def _read_history(path: Path) -> list[dict[str, float]]:
    """Whole lines of a history. A last line that a kill cut short is left out, and cut from the file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        write_text(path, "".join(lines))
    return [json.loads(line) for line in lines]
