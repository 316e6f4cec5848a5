"""Runs of the training loop in this process, and in processes of their own."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cmd_tune
from cmd_tune.data.store import Store
from cmd_tune.settings import Settings

WORKER = Path(__file__).parent / "worker.py"
PATIENCE = 600  # seconds after which processes that wait for each other are ended


@pytest.fixture(scope="session")
def worker() -> SimpleNamespace:
    """What worker.py holds: train, make_batches, outcome."""
    return SimpleNamespace(**runpy.run_path(str(WORKER)))


def write_job(folder: Path, store: Store, runs: Mapping[str, Settings], *, workers: int = 1, **job: Any) -> Path:
    settings = {name: values.model_dump(mode="json") for name, values in runs.items()}
    path = folder / "job.json"
    path.write_text(json.dumps({"store": str(store.path), "runs": settings, "workers": workers, **job}))
    return path


@pytest.fixture(scope="session")
def run_jobs() -> Callable[..., list[list[int]]]:
    """Run jobs, one after the other; each a dict of `write_job`'s arguments. The exit codes of each job's ranks."""

    def run(*jobs: Mapping[str, Any]) -> list[list[int]]:
        paths = [write_job(**job) for job in jobs]
        search = [str(Path(cmd_tune.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, str(WORKER), *map(str, paths)], env=environment, check=True, timeout=PATIENCE)
        return [json.loads((path.parent / "exits.json").read_text()) for path in paths]

    return run
