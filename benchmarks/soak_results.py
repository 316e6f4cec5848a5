"""What a search has left behind: its trials on disk, in Optuna and in MLflow, and what they scored."""

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from cmd_tune.train.checkpoint import load_checkpoint

Rows = Mapping[str, Mapping[str, str]]
_TIMED = ("seconds", "cost/seconds")


def outcome(run: Path) -> Rows:
    """What each trial of a search was and scored, but for the time it took."""
    with (run / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["trial"]: {name: value for name, value in row.items() if name not in _TIMED} for row in rows}


def failed(run: Path) -> int:
    """Trials that failed: all of them because a process was killed more often than a session starts it again."""
    return sum(row["state"] == "failed" for row in outcome(run).values())


def count_differing(run: Path, expected: Rows) -> int:
    """Trials whose values, state or scores are not as expected.

    What is expected to be empty may be there: a search that ends while a trial has yet to go on tests its finalists, of
    which one may be none in the end.
    """
    found = outcome(run)
    return sum(
        any(value and found.get(trial, {}).get(name) != value for name, value in row.items())
        for trial, row in expected.items()
    )


def count_lost_and_doubled(run: Path, trials: int) -> tuple[int, int]:
    """Trials that Optuna, MLflow or the table of trials does not have; trials and epochs that one of them has twice."""
    with sqlite3.connect(run / "study.db") as study:
        complete = Counter(number for (number,) in study.execute("select number from trials where state = 'COMPLETE'"))
    shown, steps = _in_mlflow(run.parent / "mlflow.db", run.name)
    everywhere = (set(complete), set(shown), {int(row.rpartition("-")[2]) for row in outcome(run)})
    lost = sum(trials - len(there & set(range(trials))) for there in everywhere)
    return lost, sum(count - 1 for count in (*complete.values(), *shown.values(), *steps.values()))


def count_again(run: Path) -> int:
    """Epochs that were run again after they had been reported.

    An epoch that is run twice has taken another time: the study keeps that of the first, the checkpoint that of the
    last.
    """
    again = 0
    for folder in sorted((run / "trials").iterdir()):
        reported = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
        kept = load_checkpoint(folder / "checkpoint.pt")["history"]
        again += sum(first["seconds"] != last["seconds"] for first, last in zip(reported, kept, strict=True))
    return again


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
