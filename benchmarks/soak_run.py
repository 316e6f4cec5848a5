"""Searches whose processes are killed at random moments, and which are resumed until they come to their ends.

The trials of each are drawn at random, so that they are known beforehand: what a killed search ends with is compared
with what an undisturbed one of the same seed ended with. Every kill is a SIGKILL.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.soak_nodes import Cluster, cluster
from benchmarks.soak_results import Rows, count_again, count_differing, count_lost_and_doubled, failed, outcome
from benchmarks.soak_victims import RAYLET, SEARCH, kill_one

ROOT = Path(__file__).resolve().parent.parent
SPACE = {
    "method": "random",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {
        "teacher_temperature": {"min": 0.01, "max": 0.2, "distribution": "log_uniform_values"},
        "student_temperature": {"min": 0.05, "max": 0.5, "distribution": "log_uniform_values"},
    },
    "refit": "none",
}
TINY = (
    "hidden_size=8", "embedding_size=8", "layers=2", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
    "batch_size=16", "precision=float32", "evaluate_every=1", "seed=3",
)  # fmt: skip
# Most kills come in the second or so after an epoch, so that what is killed is at work; the others come at any time
# after the last one, so that they meet starts and ends as well.
_AT_WORK, _AFTER_EPOCH_S, _ANY_TIME_S = 0.75, 1.0, 8.0
_PATIENCE_S = 300  # for the next epoch of a search, or its end
_MOST_IDLE = 5  # sessions in a row that were not killed and had no epoch


@dataclass
class Soak:
    """What was killed, and what became of the searches.

    differing: trials whose values or scores are not those of the undisturbed search. again: epochs that had been
    reported, and were run once more. failed: trials that were killed too often for one session and went on in the next.
    gave_up: last words of sessions that ended otherwise than by being killed.
    """

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    trials: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    again: int = 0
    failed: int = 0
    gave_up: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.differing or self.again)


def run_soak(
    folder: Path,
    kills: int,
    trials: int,
    epochs: int,
    *,
    workers: int = 1,
    nodes: int = 1,
    seconds: float = 3600.0,
    seed: int = 0,
) -> Soak:
    """Run searches in a new `folder` until there have been so many kills, or the time is up; each comes to its end.

    workers: of a trial. nodes: of one CPU, of a cluster that they join; 1: they have a Ray of their own. seed: of the
    moments and victims.
    """
    settings = [word for setting in (*TINY, f"epochs={epochs}") for word in ("--set", setting)]
    words = ["--trials", str(trials), "--workers", str(workers), *settings]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False), encoding="utf-8")
    soak, chance, began = Soak(), random.Random(seed), time.monotonic()  # noqa: S311
    with cluster(nodes) if nodes > 1 else nullcontext() as joined:
        undisturbed = _Search(folder, "undisturbed", words, joined)
        process = undisturbed.start()
        while process.poll() is None:
            _await_epoch(process, undisturbed)
        if process.returncode:
            raise RuntimeError(f"an undisturbed search ended with {process.returncode}; see {undisturbed.log}")
        expected = outcome(undisturbed.run)
        while soak.kills.total() < kills and time.monotonic() - began < seconds:
            search = _Search(folder, f"killed-{soak.trials // trials}", words, joined)
            _disturb(search, soak, chance, most=kills, until=began + seconds)
            _account(search.run, trials, expected, soak)
        soak.seconds = time.monotonic() - began
    return soak


@dataclass
class _Search:
    """A search that is started, and resumed as often as need be."""

    folder: Path
    name: str
    words: list[str]
    cluster: Cluster | None

    @property
    def run(self) -> Path:
        return self.folder / "runs" / self.name

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> "subprocess.Popen[str]":
        what = ["--space", "space.yaml", "--name", self.name, *self.words]
        if (self.run / "search.yaml").exists():
            what = ["--resume", self.name]
        environment: Mapping[str, str] = os.environ
        if self.cluster:
            what += ["--address", self.cluster.address]
            environment = self.cluster.environment
        with self.log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, ROOT / "run_search.py", *what],
                cwd=self.folder,
                env={**environment, "PYTHONPATH": str(ROOT)},
                text=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def epochs_shown(self) -> int:
        """Over all sessions."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return len(re.findall(r"^trial-\d+ epoch ", text, re.M))

    def last_words(self) -> str:
        return self.log.read_text(encoding="utf-8").strip().rpartition("\n")[2]


def _disturb(search: _Search, soak: Soak, chance: random.Random, *, most: int, until: float) -> None:
    """Run a search to its end, killing what belongs to it."""
    idle = 0  # sessions in a row without an epoch
    while True:
        process, shown, killed = search.start(), search.epochs_shown(), set()
        soak.sessions += 1
        try:
            while process.poll() is None:
                if soak.kills.total() >= most or time.monotonic() > until:
                    _await_epoch(process, search)
                    continue
                _await_moment(process, search, chance)
                nodes = search.cluster.pids() if search.cluster else []
                if process.poll() is None and (kind := kill_one(process.pid, nodes, chance)):
                    killed.add(kind)
                    soak.kills[kind] += 1
                    with (search.folder / "kills.log").open("a", encoding="utf-8") as log:
                        log.write(f"{time.strftime('%H:%M:%S')} {search.name}: {kind}\n")
        finally:
            process.kill()
        unfinished = 0 if process.returncode else failed(search.run)
        soak.failed += unfinished
        if process.returncode == 0 and not unfinished:
            return
        if not killed & ({SEARCH} if search.cluster else {SEARCH, RAYLET}):
            soak.gave_up += [search.last_words()] if process.returncode else []
            idle = 0 if search.epochs_shown() > shown else idle + 1
        if idle > _MOST_IDLE:
            raise RuntimeError(f"{search.name} does not go on; see {search.log}")


def _await_moment(process: "subprocess.Popen[str]", search: _Search, chance: random.Random) -> None:
    """Wait for a moment at which to kill, or the end of the session."""
    pause = chance.uniform(0, _ANY_TIME_S)
    if chance.random() < _AT_WORK:
        pause = chance.uniform(0, _AFTER_EPOCH_S)
        _await_epoch(process, search)
    with suppress(subprocess.TimeoutExpired):
        process.wait(pause)


def _await_epoch(process: "subprocess.Popen[str]", search: _Search) -> None:
    """Wait for the end of the next epoch, or of the session. Raises RuntimeError if neither comes."""
    shown, until = search.epochs_shown(), time.monotonic() + _PATIENCE_S
    while process.poll() is None and search.epochs_shown() == shown:
        if time.monotonic() > until:
            process.kill()
            raise RuntimeError(f"{search.name} has stood still for {_PATIENCE_S} s; see {search.log}")
        time.sleep(0.1)


def _account(run: Path, trials: int, expected: Rows, soak: Soak) -> None:
    """Add a search that has come to its end."""
    lost, doubled = count_lost_and_doubled(run, trials)
    soak.trials += trials
    soak.lost += lost
    soak.doubled += doubled
    soak.differing += count_differing(run, expected)
    soak.again += count_again(run)
