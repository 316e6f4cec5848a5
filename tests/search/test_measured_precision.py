"""The precision of a search that says auto: measured once, before its plan is written; or not, and then it says so."""

from functools import partial

import pytest
from rich.console import Console

from cmd_tune.errors import UsageError
from cmd_tune.search.beginning import begin
from cmd_tune.search.execution import ENGINES, ResourceRequest
from cmd_tune.search.measured_precision import with_precision
from cmd_tune.search.plan import resumed_plan
from cmd_tune.search.request import check_request
from cmd_tune.train import precision
from cmd_tune.yaml_files import read_yaml
from tests.search.local_engine import LocalEngine


@pytest.fixture
def request_of(make_space, tiny_store, tmp_path):
    options = dict.fromkeys(("protocol", "preset", "trials", "tracking_uri"))
    return partial(
        check_request, str(make_space().path), storage=tmp_path, name="it", data=tiny_store.path,
        resources=ResourceRequest(), **options,
    )  # fmt: skip


AUTO = ["precision=auto", "batch_size=8", "hidden_size=16"]


@pytest.mark.parametrize(
    ("seconds", "word"),
    [({"float32": 1.0, "bfloat16": 2.0}, "float32"), ({"float32": 2.0, "bfloat16": 1.0}, "bfloat16")],
)
def test_the_plan_and_a_resume_have_what_was_measured(request_of, tmp_path, monkeypatch, seconds, word, capsys):
    monkeypatch.setattr(precision, "time_precisions", lambda *_: seconds)
    monkeypatch.setitem(ENGINES, "ray", LocalEngine)
    plan, engine = begin(request_of(overrides=AUTO), None, Console())
    engine.close()
    assert plan.settings.precision == word
    assert read_yaml(plan.folder / "search.yaml")["settings"]["precision"] == word
    assert capsys.readouterr().out.splitlines()[0].startswith(f"precision auto: {word}; ")
    named = {"space_name": None, "trials": None, "tracking_uri": None}
    resumed = resumed_plan("it", kept_options={}, storage=tmp_path, resources=ResourceRequest(), **named)
    assert resumed.settings == plan.settings


def test_it_is_measured_for_real(request_of):
    resolved, said = with_precision(request_of(overrides=AUTO), None, lambda: 60)
    assert resolved.settings.precision in ("float32", "bfloat16")
    assert said.startswith(f"precision auto: {resolved.settings.precision}; ")


def test_one_that_is_named_stays(request_of):
    request = request_of(overrides=["precision=bfloat16", "batch_size=8"])
    assert with_precision(request, "somewhere", None) == (request, "")


def test_a_cluster_is_not_measured_from_here(request_of):
    with pytest.raises(UsageError, match="precision auto: is measured on this machine, and the cluster at a:1 may"):
        with_precision(request_of(overrides=AUTO), "a:1", lambda: 60)


def test_a_preview_that_measures_nothing_says_so(request_of):
    request = request_of(overrides=AUTO)
    assert with_precision(request, None, None) == (request, "precision auto: measured at the start")
