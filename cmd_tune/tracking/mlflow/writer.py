"""Runs of one search in MLflow, each write of which may be made again.

A call that failed may have been carried out: its answer was lost. So no call is repeated blindly. What MLflow has of a
run is read first; a tag says that a run's description is whole, and another up to which epoch its metrics are; and a
metric has the same time whenever it is written, so that a database knows it again.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking.mlflow.page import Page

SEARCH, TRIAL = "cmd_tune.search", "cmd_tune.trial"  # tags by which runs are found again; a search's own has no trial
REASON = "cmd_tune.reason"  # tag: why a trial failed or was stopped, why a search has fewer trials than asked for
DESCRIBED, REACHED = "cmd_tune.described", "cmd_tune.epoch"
NOTE = "mlflow.note.content"  # shown as the description
TABLE = "trials.json"
LEFT_AS_IT_IS = ""  # a status
_STEPPED = ("loss/", "val/")  # metrics of an epoch that MLflow gets; the run's folder has all of them
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on prompts and traces
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_BATCH, _PARAMS, _TEXT = 1000, 100, 6000  # MLflow's limits: metrics and parameters a call, characters of a value


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
    page: Page | None = None  # how the UI shows the search
    time: int = field(default_factory=lambda: int(time.time() * 1000))  # of its scores, in ms


@dataclass
class _Written:
    """What is known to be in MLflow of a run."""

    run_id: str
    start: int  # ms
    end: int | None
    status: str
    tags: dict[str, str]
    params: set[str]
    scores: dict[str, float]
    read: bool  # whether steps beyond the tag may be there: of a run that others wrote to, or a call that failed
    changed: bool = False  # has got metrics in this sitting
    table: dict[str, list[Any]] = field(default_factory=dict)


class Writer:
    """Not for several threads. After a call that failed, `forget` the run and write it again."""

    def __init__(self, uri: str, experiment: str, search: str, artifacts: Path) -> None:
        self.uri, self.experiment, self.search, self.artifacts = uri, experiment, search, artifacts
        self.experiment_id = ""
        self._written: dict[int | None, _Written] = {}
        self._files: set[tuple[int | None, Path]] = set()
        self._parent_id = ""
        self._doubtful: set[int | None] = set()  # runs whose creation failed, and may come about yet

    def open(self) -> None:
        """Find or make the experiment; of all runs that start in a storage at once, one makes its database first."""
        if self.experiment_id:
            return
        if self.uri.startswith(_DATABASES):
            _knock(self.uri)
        from mlflow import MlflowClient

        with self.artifacts.with_name("mlflow.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            beside, place = self.uri.startswith("sqlite"), self.artifacts.absolute().as_uri()
            if beside:  # where a new database's own first experiment goes: else the working directory, quotes and all
                os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", place)
            self._client = MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                tags = {**_TRAINING, NOTE: _EXPERIMENT_NOTE}
                made = self._client.create_experiment(self.experiment, place if beside else None, tags)
                self.experiment_id = str(made)
                return
        identity = str(found.experiment_id)
        if found.lifecycle_stage == "deleted":
            restore = f"mlflow experiments restore --experiment-id {identity}"
            raise CmdTuneError(f"its experiment '{self.experiment}' is deleted; bring it back with '{restore}'")
        for name, value in {**_TRAINING, NOTE: _EXPERIMENT_NOTE}.items():
            if name not in found.tags:
                self._client.set_experiment_tag(identity, name, value)
        self.experiment_id = identity

    def look(self) -> None:
        """Ask for something small: raises where nobody answers."""
        self._client.get_experiment(self.experiment_id)

    def write(self, run: Run) -> None:
        """Write what is missing of a run."""
        there = self._written.get(run.key) or self._find(run.key) or self._create(run)
        self._written[run.key] = there
        if run.key is None:
            self._parent_id = there.run_id
        if DESCRIBED not in there.tags:
            self._describe(run, there)
        self._write_epochs(run, there)
        self._write_scores(run, there)
        for path in [path for path in run.files if (run.key, path) not in self._files]:
            self._client.log_artifact(there.run_id, str(path))
            self._files.add((run.key, path))
        if run.table != there.table:
            # In the form of log_table, which itself would append to the rows of an earlier sitting.
            rows = [list(row) for row in zip(*run.table.values(), strict=True)]
            self._client.log_dict(there.run_id, {"columns": list(run.table), "data": rows}, TABLE)
            there.table = dict(run.table)
        self._write_tags(there, self._tags(run))
        if not run.reason and REASON in there.tags:
            self._client.delete_tag(there.run_id, REASON)
            del there.tags[REASON]
        if run.page is not None:
            key, view = run.page.tag(self.search, there.run_id)
            self._client.set_experiment_tag(self.experiment_id, key, view)
        if run.status not in (LEFT_AS_IT_IS, there.status):
            if run.status == "RUNNING":
                self._client.update_run(there.run_id, status="RUNNING")
            else:  # a sitting that added nothing leaves the run's duration as it was
                self._client.set_terminated(there.run_id, run.status, None if there.changed else there.end)
            there.status = run.status

    def forget(self, key: int | None) -> None:
        """After a call that failed: read anew what MLflow has of a run."""
        self._written.pop(key, None)

    def settle(self) -> None:
        """At the end: remove the second run that a creation made which had seemed to fail."""
        while self._doubtful:
            self._find(min(self._doubtful, key=str))
            self._doubtful.discard(min(self._doubtful, key=str))

    def _find(self, key: int | None) -> _Written | None:
        """A run as MLflow has it; a second one, which nothing was written to, is removed."""
        query = f"tags.`{SEARCH}` = '{self.search}'" + ("" if key is None else f" and tags.`{TRIAL}` = '{key}'")
        found = self._client.search_runs([self.experiment_id], query, order_by=["attributes.start_time ASC"])
        found = [run for run in found if key is not None or not run.data.tags.get(TRIAL)]
        first, *others = sorted(found, key=lambda run: DESCRIBED not in run.data.tags) or [None]
        for other in others:
            if DESCRIBED not in other.data.tags and not other.data.metrics:
                self._client.delete_run(other.info.run_id)
        return None if first is None else _as_read(first)

    def _create(self, run: Run) -> _Written:
        tags = {SEARCH: self.search, **({} if run.key is None else {TRIAL: str(run.key)}), **self._tags(run)}
        try:
            made = self._client.create_run(self.experiment_id, run_name=run.name, tags=tags)
        except Exception:
            self._doubtful.add(run.key)
            raise
        there = _as_read(made)
        there.read = False
        return there

    def _describe(self, run: Run, there: _Written) -> None:
        """What does not change: parameters and documents; then the tag that says they are whole."""
        from mlflow.entities import Param

        params = [Param(key, str(value)[:_TEXT]) for key, value in run.params.items() if key not in there.params]
        for start in range(0, len(params), _PARAMS):
            self._client.log_batch(there.run_id, params=params[start : start + _PARAMS])
        for document, content in run.documents.items():
            self._client.log_dict(there.run_id, content, document)
        self._write_tags(there, {DESCRIBED: "yes"})

    def _write_epochs(self, run: Run, there: _Written) -> None:
        reached = int(there.tags.get(REACHED, 0))
        if not run.epochs or run.epochs[-1]["epoch"] <= reached:
            return
        metrics = [metric for metric in _metrics(run.epochs, there.start) if metric.step > reached]
        if there.read:
            known = {name: self._steps(there.run_id, name) for name in {metric.key for metric in metrics}}
            metrics = [metric for metric in metrics if metric.step not in known[metric.key]]
        self._log(there, metrics)
        there.read = False
        self._write_tags(there, {REACHED: str(int(run.epochs[-1]["epoch"]))})

    def _steps(self, run_id: str, metric: str) -> set[int]:
        return {point.step for point in self._client.get_metric_history(run_id, metric)}

    def _write_scores(self, run: Run, there: _Written) -> None:
        from mlflow.entities import Metric

        new = {name: value for name, value in run.scores.items() if there.scores.get(name) != value}
        self._log(there, [Metric(name, value, run.time, 0) for name, value in new.items()])
        there.scores |= new

    def _log(self, there: _Written, metrics: list[Any]) -> None:
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(there.run_id, metrics=metrics[start : start + _BATCH])
        there.changed = there.changed or bool(metrics)

    def _tags(self, run: Run) -> dict[str, str]:
        tags = dict(run.tags)
        if run.reason:
            tags[REASON] = run.reason[:_TEXT]
        if run.table:
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE, "type": "table"}])
        if run.key is not None and self._parent_id:
            tags["mlflow.parentRunId"] = self._parent_id
        return tags

    def _write_tags(self, there: _Written, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        new = {name: value for name, value in tags.items() if there.tags.get(name) != value}
        if new:
            self._client.log_batch(there.run_id, tags=[RunTag(name, value) for name, value in new.items()])
            there.tags |= new


def _metrics(epochs: list[dict[str, float]], start: int) -> Iterator[Any]:
    """Metrics of whole records. Their time is the run's start and the seconds of its epochs: always the same."""
    from mlflow.entities import Metric

    seconds = 0.0
    for record in epochs:
        seconds += record.get("seconds", 0.0)
        for name, value in record.items():
            if name.startswith(_STEPPED):
                yield Metric(name, value, start + round(1000 * seconds), int(record["epoch"]))


def _as_read(run: Any) -> _Written:
    info, data = run.info, run.data
    tags, params = dict(data.tags), set(data.params)
    return _Written(info.run_id, info.start_time, info.end_time, info.status, tags, params, dict(data.metrics), True)


def _knock(uri: str) -> None:
    """Raise where a database cannot be opened; MLflow itself would go on trying for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    engine.connect().close()
    engine.dispose()


_EXPERIMENT_NOTE = """\
Pretraining runs of cmd_tune on one data set under one protocol. A search is a run; its trials are the runs inside it.

* `val/…` and `test/…`: percent right, by k-nearest neighbours or a linear probe, of each modality and of all fused.
  Trials are chosen by `val`; `test` is scored for finalists, once, at the last epoch.
* `loss/…`: means over an epoch's steps, in all and by modality.
* `cost/…`: training time over all epochs, and CPUs and GPUs held for as long.

Every other number is in the folder of the run, which its description names."""
