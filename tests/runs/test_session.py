"""One sitting of a run: what is told to MLflow, what is left in the folder, and who may be there."""

import io
import os
import signal

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.plain_yaml import read_yaml
from cmd_tune.runs.session import sitting
from cmd_tune.tracking import RunStatus, open_tracker


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all, since MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def sit(tmp_path, database):
    """Opens a sitting of the run in tmp_path / "it"; it notes the statuses that MLflow was to be told."""
    (tmp_path / "it").mkdir()
    statuses, file = [], io.StringIO()

    def make(uri=database, new=False, finished=False):
        tracker = open_tracker(uri, "synthetic-xview", "it", tmp_path)
        return sitting(
            "pretrain", tmp_path / "it", tracker, Console(file=file), statuses.append, new=new, finished=finished
        )

    make.folder, make.statuses, make.printed = tmp_path / "it", statuses, file.getvalue
    return make


def test_a_run_that_comes_to_its_end(sit):
    with sit(), pytest.raises(CmdTuneError, match="it: is in use by another process"), sit():
        pass
    assert sit.statuses == [RunStatus.FINISHED]
    assert len(read_yaml(sit.folder / "environment.yaml")) == 1
    with sit():  # it may be held again, and writes down where this sitting was
        pass
    assert len(read_yaml(sit.folder / "environment.yaml")) == 2
    with sit(finished=True):
        pass
    assert len(read_yaml(sit.folder / "environment.yaml")) == 2
    assert sit.printed() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_goes_on_with_it(sit, number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    line = rf"interrupted; go on with: .* -m cmd_tune pretrain --resume it --storage {sit.folder.parent}"
    with pytest.raises(Interrupted, match=line) as caught, sit():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 130
    assert sit.statuses == [RunStatus.STOPPED]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_fails_passes(sit):
    with pytest.raises(ZeroDivisionError), sit():
        _ = 1 // 0
    assert sit.statuses == [RunStatus.FAILED]


@pytest.mark.parametrize("new", [True, False])
def test_an_address_that_can_never_work_leaves_no_new_folder(sit, tmp_path, new):
    (tmp_path / "file").write_text("")
    with pytest.raises(CmdTuneError, match="MLflow at sqlite"), sit(f"sqlite:///{tmp_path}/file/mlflow.db", new=new):
        raise AssertionError
    assert sit.folder.exists() == (not new)
    assert sit.statuses == [RunStatus.FAILED]


def test_a_variable_that_is_not_taken_is_said(sit, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with sit():
        pass
    assert "MLFLOW_EXPERIMENT_NAME is not taken: runs are made in the experiment synthetic-xview\n" in sit.printed()
