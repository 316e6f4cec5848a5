"""The engine of Ray on this machine: what it refuses before Ray starts, and what Ray then has."""

from pathlib import Path

import pytest
import ray

from cmd_tune.errors import UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.execution.ray_engine import RayEngine


@pytest.fixture
def make(tmp_path, monkeypatch):
    """An engine on a machine of which this process may use one CPU."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")

    def make(address=None, **asked):
        return RayEngine(tmp_path, ResourceRequest(**asked), address)

    return make


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"workers": 5}, "--workers 5: 5 workers do not fit on 1 CPU"),
        ({"concurrent": 5}, "--concurrent 5: 5 workers do not fit on 1 CPU"),
        ({"concurrent": 9, "cpus": 2}, "--concurrent 9: 9 workers do not fit on 2 CPUs"),
        ({"gpus_per_worker": 1e4}, "--gpus-per-worker 10000: 1 worker does not fit on 1 CPU and "),
        ({"gpus_per_worker": float("nan")}, "--gpus-per-worker nan: Ray takes parts of one GPU only"),
    ],
)
def test_what_does_not_fit_this_machine_is_refused_before_ray_starts(make, asked, line):
    with pytest.raises(UsageError, match=f"^{line}"):
        make(**asked)
    assert not ray.is_initialized()


def test_what_fits_this_machine_is_not(make):
    make(workers=4)
    make(workers=5, cpus=2)  # which replaces what this process may use
    assert not ray.is_initialized()


@pytest.mark.long
def test_a_ray_of_its_own_has_the_cpus_that_were_asked_for(make):
    with make(cpus=2).opened(trials=9, given=9) as engine:
        assert engine.plan(DataSource(Path("x.arrow"), "xview")).concurrent == 2
        assert ray.cluster_resources()["CPU"] == 2
