"""One session of a run: what is shown, what is left in the folder, and who may be there."""

import io
import os
import signal

import pytest
import torch
from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.runs.run_plan import RunPlan
from cmd_tune.runs.session import run_session
from cmd_tune.tracking import RunSnapshot, RunStatus
from cmd_tune.yaml_files import read_yaml


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all, since MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


class Pretend(RunPlan):
    """A run that does nothing."""

    command, file = "pretrain", "pretrain.yaml"


@pytest.fixture
def begin(tmp_path, database):
    """Opens a session of the run in tmp_path / "it"; it notes the statuses that were shown."""
    (tmp_path / "it").mkdir()
    statuses, file = [], io.StringIO()

    def make(uri=database, new=False, finished=False):
        plan = Pretend(
            folder=tmp_path / "it", new=new, data="x.arrow", protocol="xview", dataset="synthetic", tracking_uri=uri
        )

        if not new and not (tmp_path / "it" / "pretrain.yaml").exists():
            plan.write()

        def snapshot(status):
            statuses.append(status)
            return RunSnapshot(key=0, name="it", params={}, documents={}, status=status)

        return run_session(plan, Console(file=file), snapshot, finished=finished)

    make.folder, make.statuses, make.printed = tmp_path / "it", statuses, file.getvalue
    return make


def test_a_run_that_comes_to_its_end(begin):
    with begin(), pytest.raises(CmdTuneError, match="it: is in use by another process"), begin():
        pass
    assert begin.statuses == [RunStatus.FINISHED]
    assert len(read_yaml(begin.folder / "environment.yaml")) == 1
    with begin():  # it may be held again, and writes down where this session was
        pass
    assert len(read_yaml(begin.folder / "environment.yaml")) == 2
    with begin(finished=True):
        pass
    assert len(read_yaml(begin.folder / "environment.yaml")) == 2
    assert begin.printed() == ""


def test_it_uses_no_more_threads_than_there_are_cpus_to_use(begin, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    torch.set_num_threads(2)
    try:
        with begin():
            assert torch.get_num_threads() == 1
        (session,) = read_yaml(begin.folder / "environment.yaml")
        assert session["cpu_threads"] == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_goes_on_with_it(begin, number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    line = rf"interrupted; go on with: .* -m cmd_tune pretrain --resume it --storage {begin.folder.parent}"
    with pytest.raises(Interrupted, match=line) as caught, begin():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 130
    assert begin.statuses == [RunStatus.STOPPED]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_fails_passes(begin):
    with pytest.raises(ZeroDivisionError), begin():
        _ = 1 // 0
    assert begin.statuses == [RunStatus.FAILED]


@pytest.mark.parametrize("new", [True, False])
def test_an_address_that_can_never_work_leaves_no_new_folder(begin, tmp_path, new):
    (tmp_path / "file").write_text("")
    with pytest.raises(CmdTuneError, match="MLflow at sqlite"), begin(f"sqlite:///{tmp_path}/file/mlflow.db", new=new):
        raise AssertionError
    assert begin.folder.exists() == (not new)
    assert begin.statuses == [RunStatus.FAILED]


def test_a_variable_that_is_not_taken_is_said(begin, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with begin():
        pass
    assert "MLFLOW_EXPERIMENT_NAME is not taken: runs are made in the experiment synthetic-xview\n" in begin.printed()
