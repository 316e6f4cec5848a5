"""`python -m benchmarks soak`: kill processes of a search at random moments, resume it, and count what was lost.

Each search is drawn at random, so that its trials are known beforehand: what the killed search ends with is compared
with what an undisturbed one of the same seed ended with. Every kill is a SIGKILL.
"""

import csv
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer
import yaml

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
# What is killed → how a process of that kind is told by its command line.
KINDS: dict[str, Callable[[Sequence[str]], bool]] = {
    "worker": lambda words: words[0].startswith(("ray::_be_host", "ray::RayTrainWorker")),
    "trial's client": lambda words: words[0].startswith(("ray::TrialClient", "ray::ResourceTrainable")),
    "Train's controller": lambda words: words[0].startswith("ray::TrainController"),
    "desk": lambda words: words[0].startswith("ray::Desk"),
    "raylet": lambda words: words[0].endswith("/raylet"),
}
SEARCH = "search"  # the searching process itself
WEIGHTS = {"worker": 12, "trial's client": 8, "Train's controller": 3, "desk": 2, "raylet": 1, SEARCH: 1}
_PAUSE_S = (1.0, 6.0)  # between two kills
_PATIENCE_S = 900  # of a search that nothing disturbs


@dataclass
class Soak:
    """What was killed, and what became of the searches."""

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    trials: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0  # trials whose values or scores are not those of the undisturbed search
    again: int = 0  # epochs that were reported before a kill, and run once more after it
    seconds: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} of a {kind}" for kind, count in self.kills.most_common())
        return (
            f"{self.kills.total()} kills ({kinds}) in {self.sessions} sessions, {self.seconds / 60:.0f} min: "
            f"{self.trials} trials, {self.lost} lost, {self.doubled} doubled, {self.differing} differing, "
            f"{self.again} epochs run again"
        )


def main(
    kills: Annotated[int, typer.Option(min=1, help="Processes to kill, over as many searches as that takes.")] = 200,
    trials: Annotated[int, typer.Option(min=1, help="Trials of a search.")] = 24,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a trial.")] = 6,
    workers: Annotated[int, typer.Option(min=1, help="Workers of a trial.")] = 1,
    minutes: Annotated[float, typer.Option(help="Time after which nothing is killed any more.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the moments and victims.")] = 0,
) -> None:
    """Soak searches in kills. Exits with 1 if anything was lost, doubled, or came out differently."""
    soak = run_soak(Path(mkdtemp(prefix="soak-")), kills, trials, epochs, workers, 60 * minutes, seed)
    print(soak)
    sys.exit(int(bool(soak.lost or soak.doubled or soak.differing)))


def run_soak(
    folder: Path, kills: int, trials: int, epochs: int, workers: int = 1, seconds: float = 3600.0, seed: int = 0
) -> Soak:
    """Run searches in `folder` until there have been so many kills, or the time is up; each comes to its end."""
    chance, soak, began = random.Random(seed), Soak(), time.monotonic()  # noqa: S311
    words = ["--trials", str(trials), "--workers", str(workers), *_settings(epochs)]
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False), encoding="utf-8")
    _to_the_end(_start(folder, "undisturbed", *words))
    expected = _outcome(folder / "runs" / "undisturbed")
    number = 0
    while soak.kills.total() < kills and time.monotonic() - began < seconds:
        name = f"killed-{number}"
        number += 1
        ends = began + seconds
        _disturb(folder, name, words, soak, chance, most=kills, until=ends)
        _account(folder, name, expected, trials, soak)
    soak.seconds = time.monotonic() - began
    return soak


def _settings(epochs: int) -> list[str]:
    return [word for setting in (*TINY, f"epochs={epochs}") for word in ("--set", setting)]


def _start(folder: Path, name: str, *words: str) -> subprocess.Popen[str]:
    """Start a search, or resume it if its plan is there."""
    there = (folder / "runs" / name / "search.yaml").exists()
    what = ["--resume", name] if there else ["--space", "space.yaml", "--name", name, *words]
    log = (folder / f"{name}.log").open("a", encoding="utf-8")
    return subprocess.Popen(  # noqa: S603
        [sys.executable, ROOT / "run_search.py", *what],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def _to_the_end(process: subprocess.Popen[str]) -> None:
    if code := process.wait(_PATIENCE_S):
        raise RuntimeError(f"an undisturbed search ended with {code}")


def _disturb(
    folder: Path, name: str, words: Sequence[str], soak: Soak, chance: random.Random, *, most: int, until: float
) -> None:
    """Run a search to its end, killing what belongs to it."""
    process, began = _start(folder, name, *words), time.monotonic()
    soak.sessions += 1
    failures = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(chance.uniform(*_PAUSE_S))
            if code == 0:
                return
            failures = failures + 1 if time.monotonic() - began < 1 else 0
            if failures > 5:
                raise RuntimeError(f"{name} does not go on; see {folder / name}.log")
            process, began = _start(folder, name, *words), time.monotonic()
            soak.sessions += 1
            continue
        if soak.kills.total() < most and time.monotonic() < until:
            if kind := _kill_one(process, chance):
                soak.kills[kind] += 1
        elif time.monotonic() > until + _PATIENCE_S:
            process.kill()
            raise RuntimeError(f"{name} has not come to its end; see {folder / name}.log")


def _kill_one(process: subprocess.Popen[str], chance: random.Random) -> str:
    """Kill a process of the search, of a kind drawn by weight. Returns the kind; empty if there is none now."""
    found: dict[str, list[int]] = {SEARCH: [process.pid]}
    for pid, words in descendants(process.pid).items():
        for kind in (kind for kind, tells in KINDS.items() if words and tells(words)):
            found.setdefault(kind, []).append(pid)
    kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if kind not in found:
        return ""
    try:
        os.kill(chance.choice(found[kind]), signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return kind


def descendants(pid: int) -> dict[int, list[str]]:
    """The command lines of the processes below one, by their numbers."""
    parents: dict[int, int] = {}
    commands: dict[int, list[str]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(place.name)] = (place / "cmdline").read_text(errors="replace").split("\0")
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: commands[child] for child in below - {pid} if child in commands}


def _outcome(folder: Path) -> dict[str, dict[str, str]]:
    """What each trial was and scored, but for the time it took."""
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    timed = ("seconds", "cost/seconds")
    return {row["trial"]: {name: value for name, value in row.items() if name not in timed} for row in rows}


def _account(folder: Path, name: str, expected: dict[str, Any], trials: int, soak: Soak) -> None:
    """Add a search that has come to its end."""
    run = folder / "runs" / name
    found = _outcome(run)
    with sqlite3.connect(run / "study.db") as study:
        query = "select value_json from trial_user_attributes a join trials t using (trial_id) where key = 'index'"
        complete = Counter(int(json.loads(value)) for (value,) in study.execute(f"{query} and state = 'COMPLETE'"))
    shown, steps = _in_mlflow(folder / "runs" / "mlflow.db", name)
    everywhere = [set(complete), set(shown), {int(row.rpartition("-")[2]) for row in found}]
    soak.trials += trials
    soak.lost += sum(trials - len(there & set(range(trials))) for there in everywhere)
    soak.doubled += sum(count - 1 for count in (*complete.values(), *shown.values(), *steps.values()))
    soak.differing += sum(found.get(trial) != row for trial, row in expected.items())
    soak.again += _epochs_again((folder / f"{name}.log").read_text(encoding="utf-8"))


def _in_mlflow(database: Path, name: str) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """How often each trial of a search is in MLflow, and each epoch of it."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`cmd_tune.search` = '{name}'", max_results=50_000)
    trials = {
        run.info.run_id: int(run.data.tags["cmd_tune.trial"]) for run in runs if "cmd_tune.trial" in run.data.tags
    }
    steps: Counter[tuple[int, int]] = Counter()
    for run_id, trial in trials.items():
        steps.update((trial, point.step) for point in client.get_metric_history(run_id, "loss/total"))
    return Counter(trials.values()), steps


def _epochs_again(log: str) -> int:
    """Epochs that the screen had shown when a trial went on from an earlier one."""
    reached: dict[str, int] = {}
    again = 0
    for trial, what, epoch in re.findall(r"^(trial-\d+) (starts|resumes after epoch|epoch)(?: (\d+))?", log, re.M):
        if what == "epoch":
            reached[trial] = int(epoch)
        else:
            again += max(0, reached.get(trial, 0) - int(epoch or 0))
            reached[trial] = int(epoch or 0)
    return again
