"""The engine is open while the data are made, and nothing of it is left where they cannot be."""

from functools import partial

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs import data_source
from cmd_tune.search import fusing
from cmd_tune.search.beginning import begin
from cmd_tune.search.execution import ENGINES, ResourceRequest
from cmd_tune.search.request import check_request
from cmd_tune.yaml_files import read_yaml
from tests.search.local_engine import LocalEngine


@pytest.fixture
def engine(monkeypatch):
    """One that keeps what is done with it, in the place of Ray's."""
    done = []

    class Kept(LocalEngine):
        def open(self, *, trials, given):
            done.append((f"open for {trials}, {given} of them given", sorted(self.folder.parent.glob("data/*.arrow"))))
            super().open(trials=trials, given=given)

        def close(self):
            done.append(("close", self.folder.exists()))

    monkeypatch.setitem(ENGINES, "ray", Kept)
    return done


@pytest.fixture
def request_of(make_space, tmp_path):
    options = dict.fromkeys(("data", "protocol", "preset", "trials", "tracking_uri"))
    return partial(
        check_request, str(make_space().path), storage=tmp_path, name="it", overrides=[],
        resources=ResourceRequest(), **options,
    )  # fmt: skip


def test_the_engine_is_open_before_the_data_are_made(engine, request_of, tmp_path):
    plan, opened = begin(request_of(), None, Console(quiet=True))
    assert engine == [("open for 4, 1 of them given", [])]
    assert plan.source.path.parent == tmp_path / "data"
    assert (plan.folder / "search.yaml").exists()
    assert opened.folder == plan.folder


def test_where_data_cannot_be_made_the_engine_is_closed_and_nothing_is_left(engine, request_of, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(CmdTuneError, match="data"):
        begin(request_of(), None, Console(quiet=True))
    assert [what for what, _ in engine] == ["open for 4, 1 of them given", "close"]
    assert engine[-1] == ("close", True)  # what the engine writes is there until it is closed
    assert not (tmp_path / "it").exists()
    assert data_source.SYNTHETIC not in {path.name for path in tmp_path.iterdir()}


def test_the_engine_and_the_plan_have_the_number_of_fused_trials(engine, request_of, monkeypatch, capsys):
    monkeypatch.setattr(fusing, "gpu_count", lambda: 0)
    plan, opened = begin(request_of(fuse_auto=True), None, Console())
    assert capsys.readouterr().out == "fuse auto: 1, since there is no GPU\n"
    assert plan.resources.fuse == opened.request.fuse == read_yaml(plan.folder / "search.yaml")["fuse"] == 1


def test_what_cannot_be_measured_leaves_nothing(engine, request_of, tmp_path):
    with pytest.raises(UsageError, match="--fuse auto: is measured on this machine"):
        begin(request_of(fuse_auto=True), "10.0.0.1:6379", Console(quiet=True))
    assert engine == []
    assert not (tmp_path / "it").exists()
