"""Searches from their plan to their report, with trials in this process in the place of Ray's."""

import io
import re
import shlex
import shutil
import time
from functools import partial

import pytest
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.search.execution import ResourceRequest, TrialReport, TrialTask
from cmd_tune.search.execution.trial_process import run_task
from cmd_tune.search.plan import new_plan, resumed_plan
from cmd_tune.search.request import check_request
from cmd_tune.search.search import run_search
from cmd_tune.search.study.trial_record import TrialState
from cmd_tune.yaml_files import read_yaml
from tests.end_to_end.searches import run_name
from tests.search.local_engine import LocalEngine

TINY = (
    "hidden_size=8", "embedding_size=8", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4", "epochs=2",
    "batch_size=8",
)  # fmt: skip
BASELINES = ("untrained encoder", "raw skeletons, 1-NN")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all, since MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def start(make_space, tiny_store, database, tmp_path):
    """Starts or resumes a search of two trials in tmp_path / "it" with this engine; returns what it printed."""

    def run(engine, *, resume=False, trials=None, uri=None, workers=None, time=None, budget=None):
        resources = ResourceRequest(workers=workers)
        common = {"storage": tmp_path, "trials": trials, "resources": resources, "tracking_uri": uri or database}
        if resume:
            plan = resumed_plan("it", space_name=None, kept_options={}, time=time, **common)
        else:
            space = make_space(budget=budget or {"trials": 2}, method="random", refit="none")
            data = {"data": tiny_store.path, "protocol": "xview"}
            plan = new_plan(check_request(str(space.path), name="it", **data, preset=None, overrides=TINY, **common))
        file = io.StringIO()
        run_search(plan, engine(plan.folder, plan.resources), console=Console(file=file, width=200))
        return file.getvalue().splitlines()

    return run


class Unopened(LocalEngine):
    def open(self, **_):
        pytest.fail("there is nothing to run")


def states(folder):
    header, *rows = (line.split(",") for line in (folder / "trials.csv").read_text().splitlines())
    return [row[header.index("state")] for row in rows]


def test_a_search_comes_to_its_report_and_is_finished_for_good(start, tmp_path):
    lines = start(LocalEngine)
    assert lines[:2] == [
        "search it: starting this process",
        "layout: 1 trial at a time, 1 worker a trial, 1 CPU and no GPU a worker",
    ]
    assert [line for line in lines if line.startswith("trial-")][:1] == [
        "trial-000 starts: teacher_temperature 0.05, student_temperature 0.1"
    ]
    assert {f"trial-00{index} scored on the test set" for index in (0, 1)} <= set(lines)
    folder = tmp_path / "it"
    assert states(folder) == [TrialState.FINISHED, TrialState.FINISHED]
    assert {"best.yaml", "baselines.yaml"} <= {path.name for path in folder.iterdir()}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert re.search(
        r"^\*\*What did it cost\?\*\* 2 trials .*: \d+ epochs, .* for the trials, .* CPU-hours", text, re.MULTILINE
    )
    assert re.search(r"^- val/knn/fused is over \d+ clips: ", text, re.MULTILINE)  # of the data, which a report opens
    (place,) = (line for line in lines if line.startswith("Folder: "))
    assert "(report.html, trials.csv, " in place
    assert read_yaml(folder / "search.yaml")["layout"] == lines[1].removeprefix("layout: ")
    assert len(read_yaml(folder / "environment.yaml")) == 1

    again = start(Unopened, resume=True)
    assert again[0] == "search it: is finished; nothing is left to run"
    assert [line for line in again if line.startswith("untrained ")] == [
        line for line in lines if line.startswith("untrained ")
    ]
    assert len(read_yaml(folder / "environment.yaml")) == 1


def all_recorded(uri, identity):
    """All that MLflow has of a search, by the names of its runs, but for times and ids."""
    client, found = MlflowClient(uri), {}
    experiment = client.get_experiment_by_name("synthetic-xview").experiment_id
    for run in client.search_runs([experiment], f"tags.`cmd_tune.id` = '{identity}'"):
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        files = {file.path: file.file_size for file in client.list_artifacts(run.info.run_id)}
        tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
        tags = {name: re.sub("run_uuid=[0-9a-f]+", "run_uuid=", value) for name, value in tags.items()}
        steps = {name: sorted((point.step, point.value) for point in each) for name, each in history.items()}
        # A score that has changed in the search has several points at step 0, of which the last counts.
        points = {name: each if each[-1][0] else run.data.metrics[name] for name, each in steps.items()}
        assert run_name(run) not in found
        found[run_name(run)] = (run.info.status, run.data.params, points, tags, files)
    return found


def test_all_records_of_a_finished_search_are_written_again_from_its_folder(start, database, tmp_path):
    """To a new database: parameters, metrics, costs, tags, notes, files, the checkpoint."""
    start(LocalEngine)
    identity = read_yaml(tmp_path / "it" / "search.yaml")["id"]
    before = all_recorded(database, identity)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    start(Unopened, resume=True, uri=other)
    again = all_recorded(other, identity)
    for name, parts in again.items():
        assert list(zip(parts, before[name], strict=True)) == [(part, part) for part in before[name]], name
    assert set(again) == {"it", "trial-000", "trial-001", *BASELINES}
    status, _, metrics, tags, files = again["it"]
    assert status == "FINISHED"
    assert {"best/val/knn/fused", "cost/cpu_hours", "cost/epochs"} <= set(metrics)
    note = tags["mlflow.note.content"]
    assert note.startswith("**Which settings?** trial-00")
    assert note.index("**What next?**") < note.index("![") < note.index("Method random, 2 trials")
    assert {"environment.yaml", "settings.yaml", "trials_table.json", "trials.csv", "best.yaml"} <= set(files)
    assert sum("checkpoint.pt" in each[4] for each in again.values()) == 1
    assert all("environment.yaml" in again[name][4] for name in ("it", "trial-000", "trial-001"))
    assert read_yaml(tmp_path / "it" / "search.yaml")["tracking_uri"] == "sqlite:///other.db"


def test_a_name_that_is_used_again_is_another_search(start, database, tmp_path):
    identities = []
    for _ in range(2):
        start(LocalEngine)
        identities.append(read_yaml(tmp_path / "it" / "search.yaml")["id"])
        shutil.rmtree(tmp_path / "it")
    found = [all_recorded(database, identity) for identity in identities]
    assert [set(runs) for runs in found] == [{"it", "trial-000", "trial-001", *BASELINES}] * 2


def test_a_search_without_a_result_says_why(start, tmp_path):
    def diverge(task, report):
        report(TrialReport(failure="the loss is nan"))

    with pytest.raises(CmdTuneError) as caught:
        start(partial(LocalEngine, work=diverge))
    assert str(caught.value) == f"{tmp_path / 'it'}: no trial has a result; trial-000 failed: the loss is nan"
    assert states(tmp_path / "it") == [TrialState.FAILED, TrialState.FAILED]


@pytest.mark.parametrize(("reason", "kept"), [("no cluster", False), ("see {folder}/ray.log", True)])
def test_an_engine_that_does_not_start_leaves_no_folder_unless_it_names_it(start, tmp_path, reason, kept):
    class Absent(LocalEngine):
        def open(self, **_):
            raise CmdTuneError(reason.format(folder=self.folder))

    with pytest.raises(CmdTuneError, match=reason.partition("{")[0]):
        start(Absent)
    assert (tmp_path / "it").exists() == kept


class Broken(LocalEngine):
    """Ends by this error when the first trial has ended."""

    error: BaseException

    def run(self, plan, events):
        raises = self.error

        class Once:
            def __getattr__(self, name):
                return getattr(events, name)

            def ended(self, *what):
                events.ended(*what)
                raise raises

        super().run(plan, Once())


def test_ctrl_c_leaves_a_search_that_goes_on(start, tmp_path):
    class Stopped(Broken):
        error = KeyboardInterrupt()

    with pytest.raises(Interrupted) as caught:
        start(Stopped)
    words = shlex.split(str(caught.value).removeprefix("interrupted; go on with: "))
    assert words[1:] == ["-m", "cmd_tune", "search", "--resume", "it", "--storage", str(tmp_path)]
    lines = start(LocalEngine, resume=True)
    assert [line.partition(":")[0] for line in lines if " starts: " in line] == ["trial-001 starts"]
    assert states(tmp_path / "it") == [TrialState.FINISHED, TrialState.FINISHED]


def test_an_engine_that_breaks_ends_the_search_in_order(start, tmp_path):
    class Defect(Broken):
        error = RuntimeError("no quorum")

    with pytest.raises(CmdTuneError) as caught:
        start(Defect)
    folder = tmp_path / "it"
    assert str(caught.value).startswith(f"{folder}: RuntimeError: no quorum; mend that, and go on with: ")
    assert "RuntimeError: no quorum" in (folder / "errors.log").read_text()
    assert (folder / "baselines.yaml").exists()
    assert not (folder / "trials" / "000" / "test.json").exists()  # finalists are those of the whole search
    start(LocalEngine, resume=True)
    assert states(folder) == [TrialState.FINISHED, TrialState.FINISHED]
    assert (folder / "trials" / "000" / "test.json").exists()


def contents(folder):
    """All files of a search, but for logs and the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("ray.log", "lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Refusing(LocalEngine):
    def plan(self, source):
        raise CmdTuneError("--workers 100: needs 100 CPUs; there are 2")


class Unreachable(LocalEngine):
    def __init__(self, *asked, **more):
        raise CmdTuneError("--address nowhere:1: nobody answers there")


def test_a_refused_resume_changes_nothing(start, tmp_path):
    start(LocalEngine)
    folder = tmp_path / "it"
    before = contents(folder)
    space = (folder / "space.yaml").read_text()
    refusals = [
        ({"engine": Unreachable, "trials": 5}, "nobody answers"),
        ({"engine": Refusing, "trials": 5}, "needs 100 CPUs"),
        ({"engine": LocalEngine, "trials": 5, "workers": 3}, "--workers 3: batch_size 8 is not a multiple of it"),
        ({"engine": LocalEngine, "trials": 5, "uri": "sqlite:////dev/null/all.db"}, "all.db"),
        ({"engine": LocalEngine, "trials": 1}, "--trials 1: it has started 2; ask for more, or leave it out"),
        ({"engine": LocalEngine, "time": "soon"}, "--time: 'soon' is not a duration; write 5m, 1h30m"),
        ({"engine": LocalEngine, "time": "0s"}, "--time: '0s' is not a duration"),
    ]
    for asked, said in refusals:
        with pytest.raises(CmdTuneError) as caught:
            start(resume=True, **asked)
        assert said in str(caught.value)
        assert contents(folder) == before, said
    (folder / "search.yaml").rename(tmp_path / "away")
    with pytest.raises(CmdTuneError, match=r"search\.yaml: is missing, and with it what the run was asked for"):
        start(Unopened, resume=True)
    (tmp_path / "away").rename(folder / "search.yaml")
    assert contents(folder) == before
    for name, damage in (("space.yaml", "method: ["), ("search.yaml", "- 1"), ("baselines.yaml", "raw: [")):
        kept = (folder / name).read_text()
        (folder / name).write_text(damage)
        changed = contents(folder)
        with pytest.raises(CmdTuneError) as caught:
            start(Unopened, resume=True)
        assert name in str(caught.value)
        assert len(caught.value.lines) == 1
        assert contents(folder) == changed
        (folder / name).write_text(kept)
    assert (folder / "space.yaml").read_text() == space


def test_a_finished_search_is_extended_and_says_whose_test_scores_were_seen(start, tmp_path):
    """Of trials whose scores rise, so that the first finalists are none in the end."""

    def work(task, report):
        run_task(TrialTask(**{**vars(task), "folder": task.folder}), lambda said: report(better(said, task.index)))

    def better(said, index):
        records = [{**r, "val/knn/fused": 10.0 + index} if "val/knn/fused" in r else r for r in said.records]
        return TrialReport(records, said.slower, said.failure, said.kind)

    engine = partial(LocalEngine, work=work)
    start(engine)
    lines = start(engine, resume=True, trials=4)
    assert [line.partition(":")[0] for line in lines if " starts: " in line] == ["trial-002 starts", "trial-003 starts"]
    assert [line for line in lines if line.endswith("scored on the test set")] == [
        f"trial-00{index} scored on the test set" for index in (3, 2)
    ]
    assert "No longer among the best, though its test scores have been looked at: trial-000." in lines
    again = start(Unopened, resume=True)
    assert again[0] == "search it: is finished; nothing is left to run"
    assert read_yaml(tmp_path / "it" / "search.yaml")["trials"] == 4


def test_a_search_whose_time_is_up_says_so_and_goes_on_with_more(start, tmp_path):
    start(LocalEngine, budget={"trials": 4, "time": 3600}, trials=2)
    clock = tmp_path / "it" / "clock.json"
    clock.write_text('{"seconds": 3600}')
    lines = start(Unopened, resume=True, trials=4)
    resume = "search --resume it"
    assert lines[0].startswith("search it: the time is up, 1h in all; give more time, in all: ")
    assert resume in lines[0]
    assert lines[0].endswith(" --time 2h")
    assert "2 of 4 trials: the time is up" in lines
    with pytest.raises(CmdTuneError, match=r"--time 30m: it has run 1h; ask for more in all, or leave it out"):
        start(Unopened, resume=True, time="30m")
    lines = start(LocalEngine, resume=True, time="2h")
    assert [line.partition(":")[0] for line in lines if " starts: " in line] == ["trial-002 starts", "trial-003 starts"]
    assert states(tmp_path / "it") == [TrialState.FINISHED] * 4


def test_a_trial_that_the_time_cuts_is_unfinished_and_goes_on(start, tmp_path):
    """Of two epochs, of which the time is up as the first is reported."""

    class Late(LocalEngine):
        def run(self, plan, events):
            def reported(index, said):
                events.study.deadline = time.monotonic() - 1
                return report(index, said)

            report, events.reported = events.reported, reported
            super().run(plan, events)

    with pytest.raises(
        CmdTuneError, match=r"no trial has a result; trial-000 unfinished after epoch 1 of 2, the time"
    ) as caught:
        start(Late, budget={"trials": 2, "time": 3600})
    assert "lower epochs, or give more time, in all: " in str(caught.value)
    assert states(tmp_path / "it") == [TrialState.UNFINISHED]
    lines = start(LocalEngine, resume=True, time="2h")
    assert any(line.startswith("trial-000 resumes after epoch 1: ") for line in lines)
    assert states(tmp_path / "it") == [TrialState.FINISHED] * 2


def test_a_finalist_whose_checkpoint_is_gone_is_said_so_and_the_others_go_on(start, database, tmp_path):
    """And a file that cannot be written, until it can be."""
    folder = tmp_path / "it"

    class Losing(LocalEngine):
        def run(self, plan, events):
            super().run(plan, events)
            (folder / "trials" / "000" / "checkpoint.pt").unlink()
            (folder / "best.yaml").mkdir()

    with pytest.raises(CmdTuneError, match=r"^test of trial-000, best.yaml: failed, the rest is done"):
        start(Losing)
    assert (folder / "baselines.yaml").is_file()
    recorded = all_recorded(database, read_yaml(folder / "search.yaml")["id"])
    finished = dict.fromkeys(("trial-000", "trial-001", *BASELINES), "FINISHED")
    assert {name: status for name, (status, *_) in recorded.items()} == {"it": "FAILED", **finished}
    (folder / "best.yaml").rmdir()
    lines = start(Unopened, resume=True)
    assert lines[0] == "search it: is finished; nothing is left to run"
    assert "Not scored on the test set, since its checkpoint is gone: trial-000." in lines
    assert (folder / "trials" / "001" / "test.json").exists()
    assert (folder / "best.yaml").is_file()
