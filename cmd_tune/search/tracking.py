"""MLflow beside the search: one parent run a search, one child run a trial.

A thread brings MLflow up to what the book says, run by run: what is missing is written, what is there is left. So the
search never waits for the server nor fails with it, an outage is made up for afterwards, and a resumed search goes on
in the same runs, which it finds by their tags.
"""

import fcntl
import json
import os
import shlex
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEARCH, TRIAL = "cmd_tune.search", "cmd_tune.trial"  # tags by which runs are found again
TABLE = "trials.json"
LEFT_AS_IT_IS = ""  # a status
EPOCH = "epoch"  # its last step in MLflow says how far a run's metrics go
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on prompts and traces
_BATCH, _TEXT = 1000, 6000  # MLflow's limits: metrics a call, characters of a value
_PAUSE_S, _PATIENCE_S = 2.0, 30.0  # between tries; at the end, for a server that does not answer


def default_uri(storage: Path) -> str:
    """SQLite under the storage folder; absolute, since Ray changes the working directory."""
    return f"sqlite:///{storage.absolute() / 'mlflow.db'}"


def ui_line(uri: str) -> str:
    """What opens the MLflow UI: a server's own address, or the command that serves a database on this machine."""
    if uri.startswith("http"):
        return uri
    return shlex.join(
        [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", "5000"]
    )


@dataclass(frozen=True)
class Run:
    """What MLflow should show of a run. `epochs` are stepped metrics, `scores` stand alone, `files` go up once."""

    key: int | None  # index of the trial; None for the search itself
    name: str
    params: dict[str, Any]
    documents: dict[str, dict[str, Any]]  # YAML artifacts: name → content
    tags: dict[str, str] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    table: dict[str, list[Any]] = field(default_factory=dict)  # columns of the table of trials
    status: str = "RUNNING"
    reason: str = ""


@dataclass
class _Written:
    """What is known to be in MLflow of a run."""

    run_id: str
    epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)
    table: dict[str, list[Any]] = field(default_factory=dict)
    status: str = ""
    reason: str = ""


class Tracker:
    """Writes runs of one search. `show` returns at once."""

    def __init__(self, uri: str, experiment: str, search: str, artifacts: Path) -> None:
        """experiment: data set and protocol. artifacts: where files go beside a database (a server has a place)."""
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self.uri, self.experiment, self.search, self.artifacts = uri, experiment, search, artifacts
        self.trouble = ""  # what went wrong last, while it lasts
        self._wanted: dict[int | None, Run] = {}
        self._written: dict[int | None, _Written] = {}
        self._experiment_id = ""
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def show(self, run: Run) -> None:
        """Bring a run in MLflow to this, soon. The parent (key None) comes before its children."""
        with self._changed:
            self._wanted[run.key] = run
            self._changed.notify()

    def close(self) -> str:
        """Write what is left. Returns what is wrong where that could not be done, else an empty text."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        return self.trouble

    def _work(self) -> None:
        given_up_at = None
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if not self._wanted:
                    return
                key = min(self._wanted, key=lambda key: -1 if key is None else key)
                run = self._wanted.pop(key)
            try:
                self._write(run)
                self.trouble = ""
            except Exception as error:  # whatever a server, a database or the network may raise
                self.trouble = textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" …")
                with self._changed:
                    self._wanted.setdefault(key, run)
                    if self._closed:
                        given_up_at = given_up_at or time.monotonic() + _PATIENCE_S
                        if time.monotonic() > given_up_at:
                            return
                time.sleep(_PAUSE_S)

    def _write(self, run: Run) -> None:
        from mlflow.entities import Metric

        there = self._written.get(run.key) or self._find_or_create(run)
        self._written[run.key] = there
        now = int(time.time() * 1000)
        new = [record for record in run.epochs if record[EPOCH] > there.epoch]
        metrics = [Metric(name, value, now, int(record[EPOCH])) for record in new for name, value in record.items()]
        metrics += [
            Metric(name, value, now, 0) for name, value in run.scores.items() if there.scores.get(name) != value
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(there.run_id, metrics=metrics[start : start + _BATCH])
        there.epoch = int(new[-1][EPOCH]) if new else there.epoch
        there.scores = dict(run.scores)
        for path in [path for path in run.files if path not in there.files]:
            self._client.log_artifact(there.run_id, str(path))
            there.files.add(path)
        if run.table != there.table:
            # In the form of log_table, which itself would append to the rows of an earlier sitting.
            rows = [list(row) for row in zip(*run.table.values(), strict=True)]
            self._client.log_dict(there.run_id, {"columns": list(run.table), "data": rows}, TABLE)
            self._client.set_tag(there.run_id, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
            there.table = dict(run.table)
        if run.reason != there.reason:
            self._client.set_tag(there.run_id, "cmd_tune.reason", run.reason[:_TEXT])
            there.reason = run.reason
        if run.status not in (LEFT_AS_IT_IS, there.status):
            if run.status == "RUNNING":
                self._client.update_run(there.run_id, status="RUNNING")
            else:
                self._client.set_terminated(there.run_id, run.status)
            there.status = run.status

    def _find_or_create(self, run: Run) -> _Written:
        from mlflow.entities import Param

        if not self._experiment_id:
            self._experiment_id = self._open_experiment()
        experiment = self._experiment_id
        name = "" if run.key is None else str(run.key)
        query = f"tags.`{SEARCH}` = '{self.search}' and tags.`{TRIAL}` = '{name}'"
        found = self._client.search_runs([experiment], filter_string=query, max_results=1)
        if found:
            last = found[0].data.metrics.get(EPOCH, 0)
            return _Written(found[0].info.run_id, epoch=int(last), status=found[0].info.status)
        tags = {SEARCH: self.search, TRIAL: name, **run.tags}
        if run.key is not None and None in self._written:
            tags["mlflow.parentRunId"] = self._written[None].run_id
        run_id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        params = [Param(key, str(value)[:_TEXT]) for key, value in run.params.items()]
        self._client.log_batch(run_id, params=params)
        for document, content in run.documents.items():
            self._client.log_dict(run_id, content, document)
        return _Written(run_id, status="RUNNING")

    def _open_experiment(self) -> str:
        """The experiment's id; of all runs that start in a storage at once, one makes its database and then this."""
        from mlflow import MlflowClient

        with self.artifacts.with_name("mlflow.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._client = MlflowClient(tracking_uri=self.uri)
            experiment = self._client.get_experiment_by_name(self.experiment)
            if experiment is not None:
                return str(experiment.experiment_id)
            place = self.artifacts.absolute().as_uri() if self.uri.startswith("sqlite:") else None
            return str(self._client.create_experiment(self.experiment, artifact_location=place, tags=_TRAINING))
