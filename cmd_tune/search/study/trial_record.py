"""One trial of a search: its values, its state, its scores, and the files of its folder that hold them."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import mean
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.full_disk import cannot_write
from cmd_tune.runs.pretrain_and_score import TEST_SCORES
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.train.loop import CHECKPOINT

BEFORE_REFIT = "before_refit/"  # begins the names of a finalist's own test scores, if it has refits
HISTORY = "history.jsonl"  # in a trial's folder
STEP = "step.json"  # in the folder of an ablation's run


class Repeat(StrEnum):
    """What a configuration is run again for. Begins the name of the run's folder, which ends with its seed."""

    SEED = "seed"  # a trial of several seeds: all but its first
    CONFIRM = "confirm"  # a finalist, or the start point, with a fresh seed
    REFIT = "refit"  # a finalist, on the whole training set
    ABLATION = "ablation"  # a configuration on the path from the start point to the best trial, with a fresh seed


class TrialState(StrEnum):
    RUNNING = "running"
    UNFINISHED = "unfinished"  # it has begun and goes on in a later session
    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"


NO_RESULT = (TrialState.FAILED, TrialState.STOPPED, TrialState.UNFINISHED)


@dataclass
class TrialRecord:
    """One trial as the study has it.

    history: its metrics, a mapping per epoch. test_scores: of its own checkpoint; only finalists, and the trials of a
    comparison, have some. repeats: runs of its configuration, by what they are for, their number and their seed; of
    an ablation, whose best trial it is, runs of others.
    """

    index: int
    values: dict[str, Any]
    folder: Path
    state: TrialState = TrialState.RUNNING
    reason: str = ""  # why it stopped or failed, or why it is unfinished if that was the time
    failure: FailureTag | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    test_scores: dict[str, float] = field(default_factory=dict)
    repeats: dict[tuple[Repeat, int, int], "RepeatRecord"] = field(default_factory=dict)
    _cut: bool = field(default=False, repr=False)  # whether the last line of its file is not whole

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

    def final(self, metric: str, epochs: int) -> float | None:
        """The value of a metric at the last epoch; None if the run has not come to it."""
        return self.history[-1].get(metric) if self.epoch >= epochs else None

    @property
    def refits(self) -> dict[int, "RepeatRecord"]:
        """What of it was pretrained again on the whole training set, by seed."""
        return self.repeats_for(Repeat.REFIT)

    @property
    def confirmations(self) -> dict[int, "RepeatRecord"]:
        """What of it was run again with fresh seeds, by seed."""
        return self.repeats_for(Repeat.CONFIRM)

    def repeats_for(self, purpose: Repeat) -> dict[int, "RepeatRecord"]:
        return {seed: record for (what, _, seed), record in self.repeats.items() if what is purpose}

    @property
    def ablations(self) -> list["RepeatRecord"]:
        """The runs on the path from the start point to it."""
        return [record for (what, *_), record in self.repeats.items() if what is Repeat.ABLATION]

    @property
    def testable(self) -> bool:
        """Whether its checkpoint is there, to be scored on the test set."""
        return (self.folder / CHECKPOINT).exists()

    @property
    def tests(self) -> dict[str, float]:
        """Its scores on the test set: the means over its refits, with its own under BEFORE_REFIT; else its own."""
        refits = [refit.test_scores for refit in self.refits.values() if refit.test_scores]
        if not refits:
            return self.test_scores
        means = {name: mean(scores[name] for scores in refits) for name in refits[0]}
        return means | {BEFORE_REFIT + name: score for name, score in self.test_scores.items()}

    def score(self, metric: str) -> float | None:
        """One of its `tests`, or the latest recorded value of the metric, the mean over those of its seeds."""
        values = [value for run in self.runs if (value := run.last(metric)) is not None]
        return self.tests.get(metric, mean(values) if values else None)

    @property
    def runs(self) -> list["TrialRecord"]:
        """The runs that make up the trial: its first seed's, which it is itself, and those of other seeds."""
        return [self, *self.repeats_for(Repeat.SEED).values()]

    @property
    def every_run(self) -> list["TrialRecord"]:
        """It and all that was run again of it, for whatever purpose."""
        return [self, *self.repeats.values()]

    @property
    def epochs_run(self) -> int:
        """Epochs that are recorded, of all its seeds."""
        return sum(run.epoch for run in self.runs)

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
        if self._cut:
            write_text(path, "".join(json.dumps(known) + "\n" for known in self.history))
            self._cut = False
        try:
            with path.open("a", encoding="utf-8") as file:
                size = file.tell()
                try:
                    file.write(json.dumps(dict(record)) + "\n")
                    file.flush()
                except OSError:
                    with suppress(OSError):
                        os.truncate(path, size)  # a part of the line may have been written
                    raise
        except OSError as error:
            raise cannot_write(path, error) from error
        self.history.append(dict(record))

    def record_test(self, scores: Mapping[str, float]) -> None:
        """Set the test scores, and write them to the folder."""
        self.test_scores = dict(scores)
        write_text(self.folder / TEST_SCORES, json.dumps(self.test_scores))

    def read_files(self) -> list[str]:
        """Read history and test scores from the folder, as an earlier session left them. Writes nothing.

        Returns a line for what is missing that a later epoch makes up for. Raises CmdTuneError for a damaged file.
        """
        self.history, self._cut = _read_history(self.folder / HISTORY)
        if (self.folder / TEST_SCORES).exists():
            self.test_scores = _read_scores(self.folder / TEST_SCORES)
        remarks = [f"{self.folder / HISTORY}: its last line was cut short; that epoch is recorded again"] * self._cut
        for folder in sorted(self.folder.glob("*-*")):
            purpose, _, seed = folder.name.rpartition("-")
            if purpose in set(Repeat) - {Repeat.ABLATION} and seed.isdecimal() and folder.is_dir():
                remarks += self.repeat(Repeat(purpose), int(seed)).read_files()
        for path in sorted(self.folder.glob(f"{Repeat.ABLATION}-*-*/{STEP}")):  # without it, nothing of it has run
            remarks += self._read_ablation(path)
        return remarks

    def repeat(self, purpose: Repeat, seed: int) -> "RepeatRecord":
        """Its run for a purpose with a seed, made if there is none."""
        if (purpose, 0, seed) not in self.repeats:
            held_out = {"holdout": "none"} if purpose is Repeat.REFIT else {}
            folder = self.folder / f"{purpose}-{seed}"
            self._add(RepeatRecord(self.index, {**self.values, SEED: seed, **held_out}, folder, purpose=purpose))
        return self.repeats[purpose, 0, seed]

    def ablation(self, number: int, values: Mapping[str, Any], seed: int) -> "RepeatRecord":
        """The run of a configuration on the path to it with a seed, made if there is none.

        number: of the configuration on the path. It has another one if an earlier path has given that one away.
        """
        known = {record.number: {**record.values, SEED: seed} for record in self.ablations}
        wanted = {**values, SEED: seed}
        free = number if number not in known else 1 + max(known)
        number = next((number for number, has in known.items() if has == wanted), free)
        key = (Repeat.ABLATION, number, seed)
        if key not in self.repeats:
            folder = self.folder / f"{Repeat.ABLATION}-{number}-{seed}"
            self._add(RepeatRecord(self.index, wanted, folder, purpose=Repeat.ABLATION, number=number))
        return self.repeats[key]

    def _read_ablation(self, path: Path) -> list[str]:
        number, _, seed = path.parent.name.removeprefix(f"{Repeat.ABLATION}-").partition("-")
        if not (number.isdecimal() and seed.isdecimal()):
            return []
        try:
            kept = json.loads(_read(path))
            values, failure = dict(kept["values"]), str(kept["failure"])
        except (ValueError, TypeError, KeyError, RecursionError):
            cure = "remove its folder to have it run again"
            raise CmdTuneError(f"{path}: has no values of a run; {cure}") from None
        values[SEED] = int(seed)
        record = RepeatRecord(self.index, values, path.parent, purpose=Repeat.ABLATION, number=int(number))
        record.reason, record.failure = failure, FailureTag.VALUES if failure else None
        self._add(record)
        return record.read_files()

    def _add(self, made: "RepeatRecord") -> None:
        self.repeats = dict(sorted({**self.repeats, (made.purpose, made.number, made.seed): made}.items()))


@dataclass
class RepeatRecord(TrialRecord):
    """A run of a trial's configuration: its values but for the seed (and what a refit holds out), in a folder in the
    trial's. An ablation's has values of its own. number: of these on the path; of any other run 0.
    """

    purpose: Repeat = Repeat.REFIT
    number: int = 0

    @property
    def seed(self) -> int:
        return int(self.values[SEED])

    @property
    def name(self) -> str:
        what = {
            Repeat.SEED: "",
            Repeat.CONFIRM: "confirmation of ",
            Repeat.REFIT: "refit of ",
            Repeat.ABLATION: f"ablation step {self.number} to ",
        }[self.purpose]
        return f"{what}{super().name}, seed {self.seed}"

    @property
    def failed_by_values(self) -> bool:
        """Whether it has failed for its values, which another try does not change."""
        return self.failure is not None and not self.failure.passing

    def keep(self) -> None:
        """Make its folder, and keep there what a later session cannot know of it otherwise: an ablation's values."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.purpose is Repeat.ABLATION:
            content = {"values": self.values, "failure": self.reason if self.failed_by_values else ""}
            write_text(self.folder / STEP, json.dumps(content) + "\n")


def _read_history(path: Path) -> tuple[list[dict[str, float]], bool]:
    """Whole lines of a history, and whether a kill cut the last one short, which is then left out."""
    if not path.exists():
        return [], False
    records: list[dict[str, float]] = []
    *lines, last = _read(path).split("\n")
    for number, line in enumerate(lines, 1):
        record = _numbers(line)
        if record is None or record.get("epoch", 0) <= (records[-1]["epoch"] if records else 0):
            cure = "restore it, or remove it: what the study and the checkpoint hold of the trial is kept"
            raise CmdTuneError(f"{path}: line {number} is no record of an epoch; {cure}")
        records.append(record)
    return records, bool(last)


def _read_scores(path: Path) -> dict[str, float]:
    scores = _numbers(_read(path))
    if scores is None:
        raise CmdTuneError(f"{path}: holds no scores; restore it, or remove it to have the trial scored again")
    return scores


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CmdTuneError(f"{path}: cannot be read: {error.strerror}") from error


def _numbers(text: str) -> dict[str, float] | None:
    """A mapping of names to finite numbers; None if the text is anything else."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    numbers = isinstance(values, dict) and all(type(value) in (int, float) for value in values.values())
    return values if numbers else None
