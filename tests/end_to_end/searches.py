"""Whole searches, as a person types them, and what they leave: Ray, Optuna, MLflow and the file system as they are."""

import csv
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import yaml
from mlflow import MlflowClient

REPOSITORY = Path(__file__).parents[2]

# Settings of runs that take a second or two on one core.
TINY = (
    "hidden_size=8", "embedding_size=8", "layers=2", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
    "epochs=4", "batch_size=8", "precision=float32",
)  # fmt: skip
VALIDATED = "evaluate_every=1"  # of a search; a table holds nothing out
GRID = {
    "method": "grid",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.2]}},
    "refit": "none",
}


def start(*words, cwd):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process, code=0):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def search(cwd, store, space, *more, epochs=4):
    """Starts a tiny search called 'it' in cwd/runs."""
    (cwd / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    validated = () if "cells" in space else (VALIDATED,)
    settings = [word for setting in (*TINY, *validated, f"epochs={epochs}") for word in ("--set", setting)]
    words = ["--space", "space.yaml", "--data", store.path, "--name", "it", *settings, *more]
    return start(REPOSITORY / "run_search.py", *words, cwd=cwd)


def trials(cwd):
    with open(cwd / "runs" / "it" / "trials.csv") as file:
        return list(csv.DictReader(file))


def mlflow_runs(cwd):
    client = MlflowClient(f"sqlite:///{cwd / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("synthetic-xview")
    return client, {run_name(run): run for run in client.search_runs([experiment.experiment_id])}


def run_name(run):
    """The name of a run, that of a trial without its values."""
    trial = run.data.tags.get("cmd_tune.trial")
    return run.info.run_name if trial is None else run.info.run_name.partition(" ")[0]


def wait_for(condition, process, seconds=400):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def in_the_way(path):
    """A folder where a running search writes a file."""
    while not path.is_dir():
        path.unlink(missing_ok=True)
        with suppress(FileExistsError):
            path.mkdir()


def epochs_done(cwd, trial):
    history = cwd / "runs" / "it" / "trials" / f"{trial:03d}" / "history.jsonl"
    return history.read_text().count("\n") if history.exists() else 0
