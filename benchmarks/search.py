"""`python -m benchmarks search`: what a search takes beside the training of its trials, and how busy its places are.

Ray, the study and MLflow are the real ones. A sleeping trial sleeps in place of pretraining, which leaves the
processors to the search: CPU times say what that takes from trials that compute.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.timed_trials import BUSY
from cmd_tune.yaml_files import dump_yaml

PLACES = 2
_SPACE: dict[str, Any] = {
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {
        "teacher_temperature": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.2},
        "student_temperature": {"distribution": "log_uniform_values", "min": 0.05, "max": 1.0},
        "key_momentum": {"min": 0.9, "max": 0.9999},
        "learning_rate": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
    },
    "early_terminate": "none",  # equal trials
    "confirm": "none",
    "refit": "none",
}
_STUDY = "SELECT number, datetime_start, datetime_complete FROM trials WHERE state = 'COMPLETE' ORDER BY number"


@dataclass(frozen=True)
class Trial:
    """start, end: seconds since 1970. busy: seconds of its epochs, with validation."""

    start: float
    end: float
    busy: float


@dataclass(frozen=True)
class Watched:
    """One search. command: seconds from the command to its end. cpu: samples, as of watched_search.py."""

    trials: Sequence[Trial]
    command: float
    cpu: Sequence[tuple[float, Mapping[str, float]]]

    @property
    def span(self) -> float:
        """Seconds from the first trial's start to the last one's end."""
        return max(trial.end for trial in self.trials) - min(trial.start for trial in self.trials)

    @property
    def ideal(self) -> float:
        return sum(trial.busy for trial in self.trials) / PLACES

    @property
    def used(self) -> float:
        """The share of the places' time in which an epoch runs."""
        return self.ideal / self.span

    def used_by_part(self, parts: int = 10) -> list[float]:
        """The same of the first trials, the next ones, and so on, by when they end."""
        ordered = sorted(self.trials, key=lambda trial: trial.end)
        since, found = min(trial.start for trial in ordered), []
        for part in range(parts):
            some = ordered[part * len(ordered) // parts : (part + 1) * len(ordered) // parts]
            if some:
                found.append(sum(trial.busy for trial in some) / PLACES / (some[-1].end - since))
                since = some[-1].end
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds from the first trial's start to the last one's end, by what took them."""
        first, last = min(trial.start for trial in self.trials), max(trial.end for trial in self.trials)
        (_, before), *_ = [sample for sample in self.cpu if sample[0] >= first] or [self.cpu[-1]]
        *_, (_, after) = [sample for sample in self.cpu if sample[0] <= last] or [self.cpu[0]]
        return {name: after[name] - before.get(name, 0.0) for name in sorted(after)}


def main(
    trials: Annotated[int, typer.Option(help="Sleeping trials of one epoch of a second.", min=2)] = 1000,
    long: Annotated[int, typer.Option(help="Sleeping trials of many epochs; 0: none.", min=0)] = 6,
    epochs: Annotated[int, typer.Option(help="Epochs of each of these.", min=1)] = 60,
    real: Annotated[int, typer.Option(help="Trials that pretrain; 0: none.", min=0)] = 12,
    real_epochs: Annotated[int, typer.Option(help="Epochs of each of these.", min=1)] = 20,
) -> None:
    """Run searches of equal trials, two at once, and print their time beside that of their epochs."""
    kinds = (
        (f"{trials} of 1 epoch, asleep", trials, 1, 1.0),
        (f"{long} of {epochs} epochs, asleep", long, epochs, 1.0),
        (f"{real} of {real_epochs} epochs, quick preset", real, real_epochs, 0.0),
    )
    table = Table(title=f"Searches, {PLACES} trials at once, one worker each", title_justify="left")
    for heading in (
        "trials",
        "ideal",
        "first start to last end",
        "whole command",
        "places used",
        "CPU seconds a trial",
    ):
        table.add_column(heading)
    with TemporaryDirectory() as made:
        for name, count, length, seconds in kinds:
            if not count:
                continue
            table.add_row(name, *_cells(run(Path(made), count, length, seconds)))
    Console(width=160).print(table)


def _cells(found: Watched) -> Iterator[str]:
    yield f"{found.ideal:.1f} s"
    for seconds in (found.span, found.command):
        yield f"{seconds:.1f} s (+{100 * (seconds / found.ideal - 1):.1f} %)"
    parts = found.used_by_part(min(10, len(found.trials) // PLACES))
    yield f"{100 * found.used:.1f} % ({100 * min(parts):.1f}–{100 * max(parts):.1f})"
    each = {name: seconds / len(found.trials) for name, seconds in found.cpu_seconds().items()}
    yield ", ".join(f"{name} {seconds:.3f}" for name, seconds in each.items())


def run(folder: Path, trials: int, epochs: int, seconds: float) -> Watched:
    """One search in a storage. seconds: of an epoch's sleep; 0: it pretrains."""
    space, cpu, name = folder / "space.yaml", folder / "cpu.json", f"of-{trials}-{epochs}-{seconds:g}"
    space.write_text(dump_yaml(_SPACE), encoding="utf-8")
    command = ["--space", str(space), "--name", name, "--trials", str(trials), "--set", f"epochs={epochs}"]
    command += ["--concurrent", str(PLACES), "--cpus", str(PLACES)]
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "benchmarks.watched_search", str(cpu), str(seconds), *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    command_s = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError("\n".join(done.stdout.splitlines()[-5:]))
    return Watched(_trials(folder / "runs" / name), command_s, json.loads(cpu.read_text(encoding="utf-8")))


def _trials(folder: Path) -> list[Trial]:
    with closing(connect(folder / "study.db")) as study:
        rows = study.execute(_STUDY).fetchall()
    return [Trial(_time(start), _time(end), _busy(folder / f"trials/{number:03d}")) for number, start, end in rows]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _busy(folder: Path) -> float:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(float(json.loads(line)[BUSY]) for line in lines)
