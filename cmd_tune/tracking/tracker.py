"""MLflow beside the search: one parent run a search, one child run a trial.

A thread brings MLflow up to what the book says, run by run. So the search never waits for the server nor fails with
it; an outage is told and made up for afterwards, and a resumed search goes on in the same runs.
"""

import os
import shlex
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking.mlflow.page import page_address
from cmd_tune.tracking.mlflow.writer import Run, Writer

_PAUSE_S, _PATIENCE_S = 2.0, 30.0  # between tries; at the end, for a server that does not answer
_PULSE_S, _GRACE_S = 10.0, 10.0  # between looks at a server when nothing is to be written; until an outage is told
_LOCAL = "http://127.0.0.1:5000"  # of the command that serves a database


def ui_line(uri: str) -> str:
    """What opens the MLflow UI: a server's own address, or the command that serves a database on this machine."""
    if uri.startswith("http"):
        return uri
    return shlex.join(
        [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", "5000"]
    )


class Tracker:
    """Writes runs of one search. `show` returns at once."""

    def __init__(
        self, uri: str, experiment: str, search: str, artifacts: Path, say: Callable[[str], None] = lambda text: None
    ) -> None:
        """experiment: data set and protocol. artifacts: where files go beside a database (a server has a place).

        say: told from the tracker's own thread what is wrong once an outage has lasted a while, and "" when it is over.
        """
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a blind repetition doubles what was carried out
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self.uri, self.experiment = uri, experiment
        self.trouble = ""  # what went wrong last, while it lasts
        self._writer = Writer(uri, experiment, search, artifacts)
        self._say, self._told = say, False
        self._tried, self._refusal = threading.Event(), ""
        self._wanted: dict[int | None, Run] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def show(self, run: Run) -> None:
        """Bring a run in MLflow to this, soon. The parent (key None) comes before its children."""
        with self._changed:
            self._wanted[run.key] = run
            self._changed.notify()

    def check(self) -> None:
        """Wait for the first answer. Raises CmdTuneError where none will be better: a wrong address, say."""
        self._tried.wait(2 * _GRACE_S)
        if self._refusal:
            self.trouble = ""
            raise CmdTuneError(self._refusal)

    def page(self) -> str:
        """Where a browser sees this search, of a server or of the command that `ui_line` gives; "" while unknown."""
        experiment = self._writer.experiment_id
        server = self.uri if self.uri.startswith("http") else _LOCAL
        return page_address(server, experiment, self._writer.search) if experiment else ""

    def close(self) -> str:
        """Write what is left. Returns what is wrong where that could not be done, else an empty text."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        return self.trouble

    def _work(self) -> None:
        failing_since = None  # when the first call of those began that have failed since
        while (run := self._next()) or not self._closed:
            began = time.monotonic()
            try:
                self._writer.open()
                self._writer.write(run) if run else self._writer.look()
            except Exception as error:  # whatever a server, a database or the network may raise
                failing_since = failing_since or began
                failing = time.monotonic() - failing_since
                self.trouble = f"MLflow at {self.uri}: {_cause(error)}"
                if run:
                    self._writer.forget(run.key)
                    with self._changed:
                        self._wanted.setdefault(run.key, run)
                if not self._tried.is_set() and _hopeless(error, self.uri):
                    self._refusal = self.trouble
                elif not self._tried.is_set() or failing >= _GRACE_S:
                    self._tell(self.trouble)
                self._tried.set()
                if self._refusal or (self._closed and failing > _PATIENCE_S):
                    return
                time.sleep(_PAUSE_S)
            else:
                failing_since = None
                self.trouble = ""
                self._tried.set()
                self._tell("")
        self.trouble = ""
        self._settle()

    def _next(self) -> Run | None:
        """What is to be written next; None where there is nothing, after a while or at the end."""
        with self._changed:
            if self._tried.is_set() and not (self._wanted or self._closed or self.trouble):
                self._changed.wait(_PULSE_S)
            if not self._wanted:
                return None
            return self._wanted.pop(min(self._wanted, key=lambda key: -1 if key is None else key))

    def _tell(self, trouble: str) -> None:
        """Say that an outage has begun or is over, each once."""
        if bool(trouble) != self._told:
            self._told = bool(trouble)
            self._say(trouble)

    def _settle(self) -> None:
        try:
            self._writer.settle()
        except Exception as error:
            self.trouble = f"MLflow at {self.uri}: {_cause(error)}"


def _cause(error: BaseException) -> str:
    """What is wrong in one line: the system's own words, where there are such beneath the libraries'."""
    root = error
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    of_system = next((part for part in (root, *root.args) if isinstance(part, OSError)), None)
    words = str(error).strip() if of_system is None else of_system.strerror or str(of_system)
    return textwrap.shorten((words or type(error).__name__).splitlines()[0], 200, placeholder=" …")


def _hopeless(error: Exception, uri: str) -> bool:
    """Whether trying again later cannot help: all that is wrong with a database, or a server's refusal."""
    if not uri.startswith("http"):
        return True
    status = getattr(error, "get_http_status_code", lambda: 500)()
    return isinstance(error, CmdTuneError) or (400 <= status < 500 and status not in (408, 429))
