"""MLflow where calls fail: a real server behind a proxy that loses requests, or carries them out and loses answers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker

pytestmark = pytest.mark.long

EXPERIMENT = "synthetic-xview"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a real MLflow server."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Proxy(ThreadingHTTPServer):
    """Passes requests on. `fate` is asked about each: "" passes, "request" and "answer" lose it."""

    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server, self.fate, self.calls = server, lambda call: "", []
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone away is what is wanted."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Nothing."""

    def do(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = (self.command, self.path, body)
        proxy.calls.append(call)
        fate = proxy.fate(call)
        if fate != "request":
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            request = urllib.request.Request(proxy.server + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    status, kind, content = answer.status, answer.headers["Content-Type"], answer.read()
            except urllib.error.HTTPError as error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        if fate:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    with Proxy(server) as between:
        yield between
        between.shutdown()


def once_each(what):
    """Every different call is lost the first time it is made; some have a new time in them each time."""
    seen = set()

    def fate(call):
        method, path, body = call
        key = (method, path.partition("?")[0], body if path.endswith("log-batch") else b"")
        return "" if key in seen else seen.add(key) or what

    return fate


def after(part, what="request"):
    """All is lost once a call of this path has been carried out, whose own answer is lost."""
    reached = []

    def fate(call):
        if reached:
            return what
        if part in call[1]:
            reached.append(call)
            return "answer"
        return ""

    return fate


def parent(**changes):
    base = {"params": {"method": "tpe", "trials": 2}, "documents": {"settings.yaml": {"epochs": 3}}}
    return RunSnapshot(key=None, name="it", **{**base, **changes})


def child(last, **changes):
    epochs = [{"epoch": n, "seconds": 0.1, "loss/total": 1.0 / n, "val/knn/fused": 50.0} for n in range(1, last + 1)]
    base = {"params": {"topk": 8, "queue_size": 64}, "documents": {"settings.yaml": {"topk": 8}}, "epochs": epochs}
    return RunSnapshot(key=0, name="trial-000", **{**base, **changes})


def session(uri, search, folder, *runs, identity=""):
    tracker = open_tracker(uri, EXPERIMENT, search, folder, identity=identity)
    for run in runs:
        tracker.show(run)
        until = time.monotonic() + 60
        while (
            tracker._backlog and not tracker.trouble and time.monotonic() < until
        ):  # each is written, not the last alone
            time.sleep(0.01)
    return tracker.close()


def recorded(server, search):
    """All that MLflow has of a search: by run's name, a list of what each run of that name has."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = {}
    for run in client.search_runs([experiment.experiment_id], f"tags.`cmd_tune.search` = '{search}'"):
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        found.setdefault(run.info.run_name, []).append(
            {
                "status": run.info.status,
                "params": run.data.params,
                "metrics": {name: [(p.step, p.value) for p in points] for name, points in history.items()},
                "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
                "tags": {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"},
            }
        )
    return found


def all_of_it(folder):
    best = folder / "best.yaml"
    best.write_text("topk: 8\n")
    return [
        parent(),
        child(1),
        child(2),
        child(3, scores={"test/knn/fused": 70.0}, files=[best], status=RunStatus.FINISHED, reason="why"),
        parent(
            scores={"best/test/knn/fused": 70.0},
            table={"trial": ["trial-000"]},
            files=[best],
            status=RunStatus.FINISHED,
        ),
    ]


def check(found):
    assert {name: len(runs) for name, runs in found.items()} == {"it": 1, "trial-000": 1}
    (search,), (trial,) = found["it"], found["trial-000"]
    assert (search["status"], trial["status"]) == ("FINISHED", "FINISHED")
    assert search["params"] == {"method": "tpe", "trials": "2"}
    assert trial["params"] == {"topk": "8", "queue_size": "64"}
    assert search["metrics"] == {"best/test/knn/fused": [(0, 70.0)]}
    assert trial["metrics"] == {
        "loss/total": [(1, 1.0), (2, 0.5), (3, 1 / 3)],
        "val/knn/fused": [(1, 50.0), (2, 50.0), (3, 50.0)],
        "test/knn/fused": [(0, 70.0)],
    }
    assert search["files"] == ["best.yaml", "settings.yaml", "trials.json"]
    assert trial["files"] == ["best.yaml", "settings.yaml"]
    assert trial["tags"]["cmd_tune.reason"] == "why"


@pytest.mark.parametrize("what", ["request", "answer"])
def test_calls_that_are_lost_once_each_leave_all_recorded_once(server, proxy, tmp_path, what, capfd):
    proxy.fate = once_each(what)
    assert session(proxy.uri, f"lost-{what}", tmp_path, *all_of_it(tmp_path)) == ""
    paths = {path.partition("?")[0].rpartition("/")[2] for _, path, _ in proxy.calls}
    assert {"create", "log-batch", "update", "search", "best.yaml"} <= paths  # all of these were lost
    check(recorded(server, f"lost-{what}"))
    assert tuple(capfd.readouterr()) == ("", "")  # of MLflow's own lines


@pytest.mark.parametrize("part", ["runs/create", "runs/log-batch", "runs/update"])
def test_what_a_session_left_half_written_the_next_one_completes(server, proxy, tmp_path, monkeypatch, part):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.1)
    search = f"half-{part.replace('/', '-')}"
    proxy.fate = after(part)
    assert "MLflow at" in session(proxy.uri, search, tmp_path, *all_of_it(tmp_path))
    proxy.fate = lambda call: ""
    runs = all_of_it(tmp_path)
    assert session(proxy.uri, search, tmp_path, *runs) == ""
    check(recorded(server, search))
    calls = len(proxy.calls)
    assert (
        session(proxy.uri, search, tmp_path, runs[0], *runs[3:]) == ""
    )  # nothing is left to write but what is replaced
    assert not any(b"metrics" in body for _, path, body in proxy.calls[calls:] if path.endswith("log-batch"))
    check(recorded(server, search))


def test_a_creation_that_takes_effect_late_leaves_no_second_run(server, proxy, tmp_path):
    """A server that is slow to answer: the tracker has made another run by the time that the first one appears."""
    held = []

    def fate(call):
        if call[1].endswith("runs/create") and not held:
            held.append(call)
            return "request"
        if call[1].endswith("log-batch") and len(held) == 1:
            held.append(call)
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(server + held[0][1], held[0][2], headers)).close()
        return ""

    proxy.fate = fate
    assert session(proxy.uri, "late", tmp_path, *all_of_it(tmp_path)) == ""
    assert len(held) == 2
    check(recorded(server, "late"))


def test_many_steps_in_several_calls_are_written_once_though_one_is_lost(server, proxy, tmp_path):
    names = [f"loss/{number}" for number in range(30)]
    epochs = [{"epoch": epoch, **dict.fromkeys(names, 0.5)} for epoch in range(1, 81)]
    lost = []

    def fate(call):
        if not call[1].endswith("log-batch") or b"metrics" not in call[2]:
            return ""
        lost.append(call)
        return "answer" if len(lost) in (2, 3) else ""

    proxy.fate = fate
    assert session(proxy.uri, "many", tmp_path, parent(), child(0, epochs=epochs)) == ""
    (trial,) = recorded(server, "many")["trial-000"]
    assert len(lost) == 3  # what was carried out is read, not sent again
    assert trial["metrics"] == {name: [(epoch, 0.5) for epoch in range(1, 81)] for name in names}


def test_what_an_earlier_release_wrote_is_not_written_again(server, tmp_path):
    """It left no tags, and its metrics have other times."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    tags = {"cmd_tune.search": "early", "cmd_tune.trial": "0"}
    client.create_run(experiment, run_name="it", tags={"cmd_tune.search": "early"})
    run = client.create_run(experiment, run_name="trial-000", tags=tags).info.run_id
    metrics = [Metric("loss/total", 1.0 / n, 1000 * n, n) for n in (1, 2)] + [Metric("test/knn/fused", 70.0, 1000, 0)]
    client.log_batch(run, metrics=metrics)
    for _ in range(2):  # the second time it is found by its identity
        session(server, "early", tmp_path, parent(), child(3, scores={"test/knn/fused": 70.0}), identity="earlier-1")
        found = recorded(server, "early")
        assert [run["tags"]["cmd_tune.id"] for runs in found.values() for run in runs] == ["earlier-1"] * 2
    (trial,) = found["trial-000"]
    assert trial["params"] == {"topk": "8", "queue_size": "64"}
    assert trial["metrics"]["loss/total"] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert trial["metrics"]["test/knn/fused"] == [(0, 70.0)]


def test_a_session_with_nothing_to_do_leaves_the_duration(server, tmp_path):
    runs = all_of_it(tmp_path)

    def duration():
        client = MlflowClient(server)
        experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
        found = client.search_runs([experiment], "tags.`cmd_tune.search` = 'idle'")
        return {run.info.run_name: (run.info.start_time, run.info.end_time) for run in found}

    session(server, "idle", tmp_path, *runs)
    before = duration()
    time.sleep(0.05)
    session(server, "idle", tmp_path, runs[0], *runs[3:])
    assert duration() == before


def test_an_outage_is_told_at_the_start_and_in_the_middle_and_so_is_its_end(server, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.background._GRACE_S", 0.3)
    monkeypatch.setattr("cmd_tune.tracking.background._PULSE_S", 0.1)
    told = []

    def wait(count):
        until = time.monotonic() + 60
        while len(told) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(told) == count

    proxy.fate = lambda call: "request"
    tracker = open_tracker(proxy.uri, EXPERIMENT, "outage", tmp_path, lambda server, trouble: told.append(trouble))
    tracker.check()  # it may answer yet
    wait(1)
    assert told[0].startswith(f"MLflow at {proxy.uri}: ")
    assert "\n" not in told[0]
    proxy.fate = lambda call: ""
    wait(2)
    tracker.show(parent())
    while tracker._backlog:
        time.sleep(0.01)
    proxy.fate = lambda call: "request"  # while nothing is to be written
    wait(3)
    proxy.fate = lambda call: ""
    wait(4)
    assert (told[1], bool(told[2]), told[3]) == ("", True, "")
    assert tracker.close() == ""


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:////proc/no/such/folder/mlflow.db", "MLflow at sqlite:////proc/no/such/folder/mlflow.db: "),
        ("{proxy}/not-mlflow", "MLflow at {proxy}/not-mlflow: "),
        ("htp://somewhere", "MLflow at htp://somewhere: "),
    ],
    ids=["a database that cannot be", "no MLflow server", "no such scheme"],
)
def test_an_address_that_can_never_work_is_refused_in_one_line(proxy, tmp_path, uri, words):
    tracker = open_tracker(uri.format(proxy=proxy.uri), EXPERIMENT, "refused", tmp_path)
    with pytest.raises(CmdTuneError) as caught:
        tracker.check()
    assert str(caught.value).startswith(words.format(proxy=proxy.uri))
    assert "\n" not in str(caught.value)
    assert tracker.close() == ""
