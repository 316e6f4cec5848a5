"""MLflow where calls fail: a real server behind a proxy that loses, delays or refuses them, or loses their answers."""

import time
import urllib.request
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker

pytestmark = pytest.mark.long

EXPERIMENT = "synthetic-xview"


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


def wait(reached):
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.02)


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
    assert search["files"] == ["best.yaml", "settings.yaml", "trials_table.json"]
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
    names = [f"loss/{number}" for number in range(10)]
    epochs = [{"epoch": epoch, **dict.fromkeys(names, 0.5)} for epoch in range(1, 241)]
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
    assert trial["metrics"] == {name: [(epoch, 0.5) for epoch in range(1, 241)] for name in names}


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
    ],
    ids=["a database that cannot be", "no MLflow server"],
)
def test_an_address_that_can_never_work_is_refused_in_one_line(proxy, tmp_path, uri, words):
    tracker = open_tracker(uri.format(proxy=proxy.uri), EXPERIMENT, "refused", tmp_path)
    with pytest.raises(CmdTuneError) as caught:
        tracker.check()
    assert str(caught.value).startswith(words.format(proxy=proxy.uri))
    assert "\n" not in str(caught.value)
    assert tracker.close() == ""


def refuse(word, paths=()):
    """All calls, or those of these paths, are refused until `lasts` is cleared."""

    def fate(call):
        return word if fate.lasts and (not paths or any(path in call[1] for path in paths)) else ""

    fate.lasts = True
    return fate


def shown(uri, search, folder, *, tell=lambda line: None):
    """A tracker that has been answered once, and what it says."""
    said = []
    tracker = open_tracker(uri, EXPERIMENT, search, folder, lambda title, trouble: said.append(trouble), tell)
    tracker.check()
    return tracker, said


@pytest.mark.parametrize("what", ["500", "403", "429", "502", "request", "answer"])
def test_a_server_that_refuses_for_a_while_slows_nothing_and_gets_all(server, proxy, tmp_path, monkeypatch, what):
    monkeypatch.setattr("cmd_tune.tracking.background._GRACE_S", 0.0)
    runs = all_of_it(tmp_path)
    tracker, said = shown(proxy.uri, f"refusing-{what}", tmp_path)
    tracker.show(runs[0])
    wait(lambda: not tracker._backlog)
    proxy.fate = refuse(what)
    began = time.monotonic()
    for run in runs * 50:
        tracker.show(run)
    assert time.monotonic() - began < 1.0  # 250 snapshots, none of which waits for the server
    wait(lambda: said)
    assert said[0].startswith(f"MLflow at {proxy.uri}: ")
    proxy.fate.lasts = False
    assert tracker.close() == ""
    check(recorded(server, f"refusing-{what}"))
    assert said[1:] == [""]


def test_a_server_that_is_slow_to_answer_gets_all(server, proxy, tmp_path):
    proxy.fate = lambda call: 0.15 if call[1].endswith(("log-batch", "create", "search", "get-by-name")) else ""
    assert session(proxy.uri, "slow", tmp_path, *all_of_it(tmp_path)) == ""
    check(recorded(server, "slow"))


def test_files_that_cannot_be_kept_do_not_hold_up_metrics(server, proxy, tmp_path, monkeypatch):
    """The server takes metrics, but not what goes to its store of files."""
    monkeypatch.setattr("cmd_tune.tracking.background._GRACE_S", 0.0)
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 60.0)
    tracker, said = shown(proxy.uri, "no-files", tmp_path)
    proxy.fate = refuse("500", ["mlflow-artifacts"])
    for run in all_of_it(tmp_path):
        tracker.show(run)
        wait(lambda: said)
    loss = {"loss/total": [(1, 1.0), (2, 0.5), (3, 1 / 3)]}
    wait(lambda: loss.items() <= recorded(server, "no-files").get("trial-000", [{"metrics": {}}])[0]["metrics"].items())
    assert len(said) == 1  # once, though two runs fail
    assert ": it: " in said[0]
    proxy.fate.lasts = False
    assert tracker.close() == ""
    check(recorded(server, "no-files"))


def test_a_run_that_fails_holds_up_no_other(server, proxy, tmp_path):
    tracker, _ = shown(proxy.uri, "one-fails", tmp_path)
    proxy.fate = lambda call: "500" if b'"fails"' in call[2] else ""
    tracker.show(parent())
    tracker.show(replace(child(0), name="fails"))
    tracker.show(replace(child(2), key=1, name="passes"))
    wait(lambda: "passes" in recorded(server, "one-fails"))
    assert "fails" not in recorded(server, "one-fails")
    wait(lambda: tracker.trouble)
    assert tracker.trouble.startswith(f"MLflow at {proxy.uri}: fails: ")
    proxy.fate = lambda call: ""
    assert tracker.close() == ""
    assert set(recorded(server, "one-fails")) == {"it", "fails", "passes"}


def test_a_large_file_comes_last_and_has_time(server, proxy, tmp_path, monkeypatch):
    """The server answers after longer than other calls may take; while it does, the end says what it waits for."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr("cmd_tune.tracking.background._NOTICE_S", 0.5)
    large, small = tmp_path / "checkpoint.pt", tmp_path / "best.yaml"
    large.write_bytes(bytes(20_000_000))
    small.write_text("topk: 8")
    tracker, _ = shown(proxy.uri, "large", tmp_path)
    proxy.fate = lambda call: 3.0 if call[1].endswith("checkpoint.pt") else ""
    tracker.show(parent())
    tracker.show(child(2, files=[large]))
    tracker.show(parent(files=[small], status=RunStatus.FINISHED))
    notices = []
    assert tracker.close(notices.append) == ""
    assert "1 file of 20 MB" in notices
    paths = [path for method, path, _ in proxy.calls if method in ("PUT", "POST") and not path.endswith("runs/search")]
    assert [path.rpartition("/")[2] for path in paths[-4:]] == ["best.yaml", "log-batch", "checkpoint.pt", "log-batch"]
    assert recorded(server, "large")["trial-000"][0]["files"] == ["checkpoint.pt", "settings.yaml"]
    calls = len(proxy.calls)
    assert session(proxy.uri, "large", tmp_path, child(2, files=[large])) == ""
    assert not any(method == "PUT" for method, _, _ in proxy.calls[calls:])  # it is there


def test_a_file_that_is_gone_is_said_and_holds_up_nothing(server, tmp_path):
    began = time.monotonic()
    trouble = session(server, "gone", tmp_path, parent(files=[tmp_path / "gone.pt"], status=RunStatus.FINISHED))
    assert trouble == f"MLflow at {server}: it: gone.pt: {tmp_path / 'gone.pt'} is not there"
    assert time.monotonic() - began < 25
    assert recorded(server, "gone")["it"][0]["status"] == "FINISHED"


def test_equal_names_in_two_storages_do_not_mix(server, tmp_path):
    for identity, last in (("aa", 1), ("bb", 3)):
        assert session(server, "equal", tmp_path, parent(), child(last), identity=identity) == ""
    found = recorded(server, "equal")
    steps = {run["tags"]["cmd_tune.id"]: len(run["metrics"]["loss/total"]) for run in found["trial-000"]}
    assert steps == {"aa": 1, "bb": 3}
    assert session(server, "equal", tmp_path, parent(), child(2), identity="aa") == ""
    assert [len(runs) for runs in recorded(server, "equal").values()] == [2, 2]
    # A new run takes nothing from an earlier release's, and the runs of others are not an earlier release's.
    assert session(server, "equal", tmp_path, parent(), child(2), identity="earlier-2") == ""
    assert [len(runs) for runs in recorded(server, "equal").values()] == [3, 3]


def test_a_password_is_in_no_line(server, tmp_path):
    uri = server.replace("http://", "http://me:s3cret@").replace("127.0.0.1", "127.0.0.2")  # nobody is there
    tracker = open_tracker(uri, EXPERIMENT, "secret", tmp_path, said := lambda *words: lines.extend(words))
    lines = [*tracker.remarks(), *tracker.links()]
    tracker.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.1)
        lines.append(tracker.close())
    assert said
    assert "me:***@127.0.0.2" in lines[-1]
    assert "s3cret" not in "".join(lines)
