"""Writes the runs of one search to MLflow so that every write can be repeated.

A call that failed may have been carried out: its answer was lost. So no call is repeated blindly. The state of a run in
MLflow is read first: one tag says that its description is complete, another how many epochs of metrics it has, another
which files. A metric has the same time whenever it is written, so a database recognises a repeated one.
"""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking.base import Model, RunKey, RunSnapshot, RunStatus, Tracker
from cmd_tune.tracking.causes import describe_cause
from cmd_tune.tracking.identity import is_earlier
from cmd_tune.tracking.mlflow.database import cure, ensure_database, locked, replaced
from cmd_tune.tracking.mlflow.experiment import find_or_make
from cmd_tune.tracking.mlflow.inputs import as_input, digest_of
from cmd_tune.tracking.mlflow.models import register
from cmd_tune.tracking.mlflow.moved_files import follow_storage
from cmd_tune.tracking.mlflow.page import links, note_tag, page_tag, user_tag
from cmd_tune.tracking.mlflow.recorded_run import RecordedRun, epoch_metrics, recorded
from cmd_tune.tracking.mlflow.uploads import file_digest, files_tag, text_digest, time_to_upload, uploaded
from cmd_tune.tracking.mlflow.uris import is_database, is_server, password_remark, sqlite_file, variables_not_taken

# Tags by which runs are found again; a search's own has neither of the last two.
IDENTITY, TRIAL, BASELINE = "cmd_tune.id", "cmd_tune.trial", "cmd_tune.baseline"
SEARCH = "cmd_tune.search"  # tag: the name of the search
REASON = "cmd_tune.reason"  # tag: why a trial failed or was stopped, why a search has fewer trials than asked for
MODEL = "cmd_tune.model"  # tag: digest of the weights that are registered
DESCRIBED, REACHED = "cmd_tune.described", "cmd_tune.epoch"
PARENT = "mlflow.parentRunId"
TABLE = "trials_table.json"
_STATUS = {
    RunStatus.RUNNING: "RUNNING",
    RunStatus.FINISHED: "FINISHED",
    RunStatus.STOPPED: "KILLED",
    RunStatus.FAILED: "FAILED",
}
_BATCH, _PARAMS, _TEXT = 1000, 100, 6000  # MLflow's limits: metrics and parameters per call, characters of a value
_PAGE = 1000  # runs in an answer
_ENVIRONMENT = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class MlflowTracker(Tracker[RecordedRun]):
    """Runs of an experiment in MLflow: a search, and its trials inside it.

    Files go to `mlartifacts` in the storage if the URI is that of a database, else where the server keeps them.
    """

    title = "MLflow"

    def __init__(self, uri: str, experiment: str, search: str, storage: Path, identity: str = "") -> None:
        super().__init__(uri, experiment, search, storage, identity)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a blind repetition doubles what was carried out
        self.experiment_id = ""
        self._client: Any = None
        self._found: Any = None  # the experiment; None: to be looked for
        self._file = sqlite_file(uri) if is_database(uri) else None
        self._inode = 0
        self._news: list[str] = []
        self._parent_id = ""
        self._doubtful: set[RunKey] = set()  # runs whose creation failed, and may come about yet

    def open(self) -> None:
        """Find or make the experiment; of all runs that start in a storage at once, one makes its database first."""
        if self._found is not None and not (self._file and replaced(self._file, self._inode)):
            return
        self._found = None
        files = self.storage / "mlartifacts"
        if is_database(self.uri):
            self._open_database(files)
        from mlflow import MlflowClient

        # A server that is waited for must not hold up the other runs of the storage.
        with locked(self.storage / "mlflow.lock") if is_database(self.uri) else nullcontext():
            self._client = self._client or MlflowClient(self.uri, self.uri)
            found, done = find_or_make(self._client, self.experiment, files if is_database(self.uri) else None)
        anew = bool(self.experiment_id) and not self._news  # unless its database is
        self.experiment_id, self._found = str(found.experiment_id), found
        if done == "restored":
            self._news.append(f"MLflow: the experiment {self.experiment} was deleted; it is restored, with its runs")
        elif done == "made" and anew:
            self._news.append(f"MLflow: the experiment {self.experiment} was gone; it is made anew, with this run")

    def _open_database(self, files: Path) -> None:
        """Have its tables, and connections to the file that is there now."""
        # Where a database's own first experiment goes: else the working directory, quotes and all.
        os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", files.absolute().as_uri())
        if line := ensure_database(self.uri, files):
            self._news.append(line)
        with locked(self.storage / "mlflow.lock"):
            follow_storage(self.uri, self.storage, files.absolute().as_uri())
        if self._file is None:
            return
        inode = self._file.stat().st_ino
        if self._inode and inode != self._inode:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            self._news.append(f"{self._file}: was gone; it is made anew, with this run")
            SqlAlchemyStore(self.uri, files.absolute().as_uri()).engine.dispose()  # it is one for all of this URI
        self._inode = inode

    def ping(self) -> None:
        """Also notices that the experiment was deleted, or that its number has come to another one."""
        there = self._client.get_experiment(self.experiment_id)
        if there.lifecycle_stage == "deleted" or there.creation_time != self._found.creation_time:
            self._found = None
            self.open()

    def write(self, snapshot: RunSnapshot, written: RecordedRun | None) -> RecordedRun:
        """First what is small, then documents, which go where files are kept: that may fail for longer."""
        try:
            there = written or self._find(snapshot) or self._create(snapshot)
            if snapshot.key is None:
                self._parent_id = there.run_id
            self._write_params(snapshot, there)
            self._write_data(snapshot, there)
            self._write_epochs(snapshot, there)
            self._write_scores(snapshot, there)
            self._write_tags(there, self._tags(snapshot) | note_tag(snapshot, there.run_id))
            if not snapshot.reason and REASON in there.tags:
                self._client.delete_tag(there.run_id, REASON)
                del there.tags[REASON]
            if snapshot.page is not None:
                key, view = page_tag(snapshot.page, self.identity, there.run_id)
                self._client.set_experiment_tag(self.experiment_id, key, view)
            self._write_status(snapshot, there)
            self._write_documents(snapshot, there)
        except Exception:
            self._found = None  # perhaps the experiment is no longer there
            raise
        return there

    def upload(self, path: Path, written: RecordedRun) -> RecordedRun:
        digest = file_digest(path)
        there = uploaded(written.tags)
        if there.get(path.name) != digest:
            with time_to_upload(path.stat().st_size):
                self._client.log_artifact(written.run_id, str(path))
            self._write_tags(written, files_tag({**there, path.name: digest}))
        return written

    def register(self, model: Model, written: RecordedRun) -> RecordedRun:
        if written.tags.get(MODEL) == model.digest:
            return written
        try:
            with time_to_upload(model.weights.stat().st_size):
                line = register(self._client, self.experiment_id, written.run_id, model)
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._news.append(f"MLflow: the encoder is not registered as {model.name}: {describe_cause(error)}")
            return written
        self._news.append(f"MLflow: {line}")
        self._write_tags(written, {MODEL: model.digest})
        return written

    def missing(self, written: Mapping[RunKey, RecordedRun]) -> Collection[RunKey]:
        """Also of those that lie in a parent that is no longer there."""
        self.ping()
        there = {run.info.run_id: run for run in self._search(_of(IDENTITY, self.identity), "ACTIVE_ONLY")}
        return [
            key
            for key, run in written.items()
            if run.run_id not in there
            or (key is not None and there[run.run_id].data.tags.get(PARENT, "") != self._parent_id)
        ]

    def close(self) -> None:
        """Remove a second run that exists because a creation seemed to fail and was repeated."""
        while self._doubtful:
            key = min(self._doubtful, key=str)
            self._choose(self._search(self._query(IDENTITY, self.identity, key), "ACTIVE_ONLY"), key)
            self._doubtful.discard(key)

    def links(self) -> list[str]:
        return links(self.uri, self.experiment_id, self.identity)

    def remarks(self) -> list[str]:
        return [*variables_not_taken(self.uri, self.experiment), *password_remark(self.uri)]

    def news(self) -> list[str]:
        lines, self._news = self._news, []
        return lines

    def is_final(self, error: Exception) -> bool:
        """True of any failure of a database, and of a server's refusal."""
        if not is_server(self.uri):
            return True
        return isinstance(error, CmdTuneError) or _is_refusal(error)

    def cure(self, error: Exception) -> str:
        return cure(self.uri, str(error)) if is_database(self.uri) else ""

    def _find(self, snapshot: RunSnapshot) -> RecordedRun | None:
        """Find a run in MLflow, and restore it if somebody deleted it; one of an earlier release by its name.

        A second one, to which nothing was written, is removed.
        """
        key = snapshot.key
        found = self._choose(self._search(self._query(IDENTITY, self.identity, key), "ALL"), key)
        if found is None and is_earlier(self.identity):
            named = self._search(self._query(SEARCH, self.search, key), "ALL")
            found = self._choose([run for run in named if IDENTITY not in run.data.tags], key)
        if found is None:
            return None
        if found.info.lifecycle_stage == "deleted":
            self.ping()  # with its experiment it comes back, too
            found = self._client.get_run(found.info.run_id)
        if found.info.lifecycle_stage == "deleted":
            self._client.restore_run(found.info.run_id)
            self._news.append(f"MLflow: the run {snapshot.name} of {self.search} was deleted; it is restored")
        return recorded(found)

    def _choose(self, found: list[Any], key: RunKey) -> Any:
        """The first of runs, of those that have something."""
        # 0.1.0 gave a search's own run the empty tag of a trial.
        found = [run for run in found if key is not None or not any(map(run.data.tags.get, (TRIAL, BASELINE)))]
        if not found:
            return None

        def rank(run: Any) -> tuple[bool, bool, int]:
            return DESCRIBED not in run.data.tags, run.info.lifecycle_stage == "deleted", run.info.start_time

        first, *others = sorted(found, key=rank)
        for other in others:
            is_empty = DESCRIBED not in other.data.tags and not other.data.metrics
            if is_empty and other.info.lifecycle_stage != "deleted":
                self._client.delete_run(other.info.run_id)
        return first

    def _query(self, tag: str, value: str, key: RunKey) -> str:
        return " and ".join(_of(*each) for each in ((tag, value), *_key_tag(key).items()))

    def _search(self, query: str, view: str) -> list[Any]:
        """All runs of the experiment that a filter leaves, of all pages of the answer."""
        from mlflow.entities import ViewType

        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], query, getattr(ViewType, view), max_results=_PAGE, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _create(self, snapshot: RunSnapshot) -> RecordedRun:
        tags = {
            **_key_tag(snapshot.key),
            **self._tags(snapshot),
            **note_tag(snapshot, ""),
            **user_tag(),
        }
        try:
            tags = {name: value for name, value in tags.items() if value}
            made = self._client.create_run(self.experiment_id, run_name=snapshot.name, tags=tags)
        except Exception:
            self._doubtful.add(snapshot.key)
            raise
        there = recorded(made)
        there.read = False
        return there

    def _write_params(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        from mlflow.entities import Param

        new = [Param(key, str(value)[:_TEXT]) for key, value in snapshot.params.items() if key not in there.params]
        for start in range(0, len(new), _PARAMS):
            self._client.log_batch(there.run_id, params=new[start : start + _PARAMS])
        there.params |= snapshot.params.keys()

    def _write_data(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        data = snapshot.data
        if data is not None and digest_of(data) not in there.data:
            self._client.log_inputs(there.run_id, datasets=[as_input(data)])
            there.data.add(digest_of(data))

    def _write_documents(self, snapshot: RunSnapshot, there: RecordedRun) -> None:
        """What does not change, then the tag that says that all of it is there; and the table, if it has changed."""
        if DESCRIBED not in there.tags:
            for document, content in snapshot.documents.items():
                self._client.log_dict(there.run_id, content, document)
            self._write_tags(there, {DESCRIBED: "yes"})
        if not snapshot.table:
            return
        # In the form of log_table, which itself would append to the rows of an earlier session.
        rows = [list(row) for row in zip(*snapshot.table.values(), strict=True)]
        content = {"columns": list(snapshot.table), "data": rows}
        files, digest = uploaded(there.tags), text_digest(json.dumps(content, default=str))
        if files.get(TABLE) != digest:
            self._client.log_dict(there.run_id, content, TABLE)
            self._write_tags(there, files_tag({**files, TABLE: digest}))

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
        tags = {IDENTITY: self.identity, SEARCH: self.search, **snapshot.tags}
        if snapshot.commit is not None:
            tags["mlflow.source.name"] = "cmd_tune"
        if snapshot.commit:
            tags["mlflow.source.git.commit"] = snapshot.commit
        if snapshot.reason:
            tags[REASON] = snapshot.reason[:_TEXT]
        if snapshot.table:
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE, "type": "table"}])
        if snapshot.key is not None and self._parent_id:
            tags[PARENT] = self._parent_id
        return tags

    def _write_tags(self, there: RecordedRun, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        new = {name: value for name, value in tags.items() if there.tags.get(name, "") != value}
        if new:
            self._client.log_batch(there.run_id, tags=[RunTag(name, value) for name, value in new.items()])
            there.tags |= new


def _is_refusal(error: Exception) -> bool:
    """Whether a server will say the same again."""
    status = getattr(error, "get_http_status_code", lambda: 500)()
    return 400 <= status < 500 and status not in (408, 429)


def _key_tag(key: RunKey) -> dict[str, str]:
    """The tag that tells the runs of a search apart; its own has none."""
    return {} if key is None else {BASELINE if isinstance(key, str) else TRIAL: str(key)}


def _of(tag: str, value: str) -> str:
    """A filter of MLflow's for a tag."""
    return f"tags.`{tag}` = '{value}'"
