"""The engine is open while the data are made, and nothing of it is left where they cannot be."""

from functools import partial

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs import data_source
from cmd_tune.search.beginning import begin
from cmd_tune.search.execution import ENGINES, ResourceRequest
from cmd_tune.search.request import check_request
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
    plan, opened = begin(request_of(), None)
    assert engine == [("open for 4, 1 of them given", [])]
    assert plan.source.path.parent == tmp_path / "data"
    assert (plan.folder / "search.yaml").exists()
    assert opened.folder == plan.folder


def test_where_data_cannot_be_made_the_engine_is_closed_and_nothing_is_left(engine, request_of, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(CmdTuneError, match="data"):
        begin(request_of(), None)
    assert [what for what, _ in engine] == ["open for 4, 1 of them given", "close"]
    assert engine[-1] == ("close", True)  # what the engine writes is there until it is closed
    assert not (tmp_path / "it").exists()
    assert data_source.SYNTHETIC not in {path.name for path in tmp_path.iterdir()}
