"""Writes the runs of one search to MLflow so that every write can be repeated.

A call that failed may have been carried out: its answer was lost. So no call is repeated blindly. The state of a run in
MLflow is read first: one tag says that its description is complete, another how many epochs of metrics it has. A metric
has the same time whenever it is written, so a database recognises a repeated one.
"""

import json
import os
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.locks import lock_file
from cmd_tune.tracking.base import RunSnapshot, RunStatus, Tracker
from cmd_tune.tracking.mlflow.moved_files import follow_storage
from cmd_tune.tracking.mlflow.page import links, page_tag
from cmd_tune.tracking.mlflow.recorded_run import RecordedRun, epoch_metrics, recorded
from cmd_tune.tracking.mlflow.uris import is_database, is_server, variables_not_taken

SEARCH, TRIAL = "cmd_tune.search", "cmd_tune.trial"  # tags by which runs are found again; a search's own has no trial
REASON = "cmd_tune.reason"  # tag: why a trial failed or was stopped, why a search has fewer trials than asked for
DESCRIBED, REACHED = "cmd_tune.described", "cmd_tune.epoch"
NOTE = "mlflow.note.content"  # shown as the description
TABLE = "trials.json"
_STATUS = {
    RunStatus.RUNNING: "RUNNING",
    RunStatus.FINISHED: "FINISHED",
    RunStatus.STOPPED: "KILLED",
    RunStatus.FAILED: "FAILED",
}
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on prompts and traces
_BATCH, _PARAMS, _TEXT = 1000, 100, 6000  # MLflow's limits: metrics and parameters per call, characters of a value
_ENVIRONMENT = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowTracker(Tracker[RecordedRun]):
    """Runs of an experiment in MLflow: a search, and its trials inside it.

    Files go to `mlartifacts` in the storage if the URI is that of a SQLite database, else where the server keeps them.
    """

    title = "MLflow"

    def __init__(self, uri: str, experiment: str, search: str, storage: Path) -> None:
        super().__init__(uri, experiment, search, storage)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a blind repetition doubles what was carried out
        self.experiment_id = ""
        self._files: set[tuple[int | None, Path]] = set()  # uploaded, by the run's key
        self._parent_id = ""
        self._doubtful: set[int | None] = set()  # runs whose creation failed, and may come about yet

    def open(self) -> None:
        """Find or make the experiment; of all runs that start in a storage at once, one makes its database first."""
        if self.experiment_id:
            return
        if is_database(self.uri):
            _check_database(self.uri)
        from mlflow import MlflowClient

        with (self.storage / "mlflow.lock").open("w") as handle:
            lock_file(handle, wait=True)
            beside, place = self.uri.startswith("sqlite"), (self.storage / "mlartifacts").absolute().as_uri()
            if beside:  # where a new database's own first experiment goes: else the working directory, quotes and all
                os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = place
                follow_storage(self.uri, self.storage, place)
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

    def ping(self) -> None:
        self._client.get_experiment(self.experiment_id)

    def write(self, snapshot: RunSnapshot, written: RecordedRun | None) -> RecordedRun:
        there = written or self._find(snapshot.key) or self._create(snapshot)
        if snapshot.key is None:
            self._parent_id = there.run_id
        if DESCRIBED not in there.tags:
            self._describe(snapshot, there)
        self._write_epochs(snapshot, there)
        self._write_scores(snapshot, there)
        for path in [path for path in snapshot.files if (snapshot.key, path) not in self._files]:
            self._client.log_artifact(there.run_id, str(path))
            self._files.add((snapshot.key, path))
        if snapshot.table != there.table:
            # In the form of log_table, which itself would append to the rows of an earlier session.
            rows = [list(row) for row in zip(*snapshot.table.values(), strict=True)]
            self._client.log_dict(there.run_id, {"columns": list(snapshot.table), "data": rows}, TABLE)
            there.table = dict(snapshot.table)
        self._write_tags(there, self._tags(snapshot))
        if not snapshot.reason and REASON in there.tags:
            self._client.delete_tag(there.run_id, REASON)
            del there.tags[REASON]
        if snapshot.page is not None:
            key, view = page_tag(snapshot.page, self.search, there.run_id)
            self._client.set_experiment_tag(self.experiment_id, key, view)
        self._write_status(snapshot, there)
        return there

    def close(self) -> None:
        """Remove a second run that exists because a creation seemed to fail and was repeated."""
        while self._doubtful:
            self._find(min(self._doubtful, key=str))
            self._doubtful.discard(min(self._doubtful, key=str))

    def links(self) -> list[str]:
        return links(self.uri, self.experiment_id, self.search)

    def remarks(self) -> list[str]:
        return variables_not_taken(self.uri, self.experiment)

    def is_final(self, error: Exception) -> bool:
        """True of any failure of a database, and of a server's refusal."""
        if not is_server(self.uri):
            return True
        status = getattr(error, "get_http_status_code", lambda: 500)()
        return isinstance(error, CmdTuneError) or (400 <= status < 500 and status not in (408, 429))

    def _find(self, key: int | None) -> RecordedRun | None:
        """Find a run in MLflow. A second one, to which nothing was written, is removed."""
        query = f"tags.`{SEARCH}` = '{self.search}'" + ("" if key is None else f" and tags.`{TRIAL}` = '{key}'")
        found = self._client.search_runs([self.experiment_id], query, order_by=["attributes.start_time ASC"])
        found = [run for run in found if key is not None or not run.data.tags.get(TRIAL)]
        first, *others = sorted(found, key=lambda run: DESCRIBED not in run.data.tags) or [None]
        for other in others:
            if DESCRIBED not in other.data.tags and not other.data.metrics:
                self._client.delete_run(other.info.run_id)
        return None if first is None else recorded(first)

    def _create(self, snapshot: RunSnapshot) -> RecordedRun:
        tags = {
            SEARCH: self.search,
            **({} if snapshot.key is None else {TRIAL: str(snapshot.key)}),
            **self._tags(snapshot),
        }
        try:
            made = self._client.create_run(self.experiment_id, run_name=snapshot.name, tags=tags)
        except Exception:
            self._doubtful.add(snapshot.key)
            raise
        there = recorded(made)
        there.read = False
        return there

    def _describe(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        """Write what does not change: parameters and documents; then the tag that says they are complete."""
        from mlflow.entities import Param

        params = [Param(key, str(value)[:_TEXT]) for key, value in snapshot.params.items() if key not in there.params]
        for start in range(0, len(params), _PARAMS):
            self._client.log_batch(there.run_id, params=params[start : start + _PARAMS])
        for document, content in snapshot.documents.items():
            self._client.log_dict(there.run_id, content, document)
        self._write_tags(there, {DESCRIBED: "yes"})

    def _write_epochs(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        reached = int(there.tags.get(REACHED, 0))
        if not snapshot.epochs or snapshot.epochs[-1]["epoch"] <= reached:
            return
        metrics = [metric for metric in epoch_metrics(snapshot.epochs, there.start) if metric.step > reached]
        if there.read:
            known = {name: self._steps(there.run_id, name) for name in {metric.key for metric in metrics}}
            metrics = [metric for metric in metrics if metric.step not in known[metric.key]]
        self._log(there, metrics)
        there.read = False
        self._write_tags(there, {REACHED: str(int(snapshot.epochs[-1]["epoch"]))})

    def _steps(self, run_id: str, metric: str) -> set[int]:
        return {point.step for point in self._client.get_metric_history(run_id, metric)}

    def _write_scores(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        from mlflow.entities import Metric

        new = {name: value for name, value in snapshot.scores.items() if there.scores.get(name) != value}
        self._log(there, [Metric(name, value, snapshot.time, 0) for name, value in new.items()])
        there.scores |= new

    def _log(self, there: RecordedRun, metrics: list[Any]) -> None:
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(there.run_id, metrics=metrics[start : start + _BATCH])
        there.changed = there.changed or bool(metrics)

    def _write_status(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        if snapshot.status is None or there.status == (status := _STATUS[snapshot.status]):
            return
        if snapshot.status is RunStatus.RUNNING:
            self._client.update_run(there.run_id, status=status)
        else:  # a session that added nothing leaves the run's duration as it was
            self._client.set_terminated(there.run_id, status, None if there.changed else there.end)
        there.status = status

    def _tags(self, snapshot: RunSnapshot) -> dict[str, str]:
        tags = dict(snapshot.tags)
        if snapshot.note:
            tags[NOTE] = snapshot.note
        if snapshot.commit is not None:
            tags["mlflow.source.name"] = "cmd_tune"
        if snapshot.commit:
            tags["mlflow.source.git.commit"] = snapshot.commit
        if snapshot.reason:
            tags[REASON] = snapshot.reason[:_TEXT]
        if snapshot.table:
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE, "type": "table"}])
        if snapshot.key is not None and self._parent_id:
            tags["mlflow.parentRunId"] = self._parent_id
        return tags

    def _write_tags(self, there: RecordedRun, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        new = {name: value for name, value in tags.items() if there.tags.get(name) != value}
        if new:
            self._client.log_batch(there.run_id, tags=[RunTag(name, value) for name, value in new.items()])
            there.tags |= new


def _check_database(uri: str) -> None:
    """Raise if a database cannot be opened; MLflow itself would go on trying for minutes."""
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
