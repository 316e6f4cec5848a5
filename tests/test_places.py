"""A search where people run it: an environment in a folder with an odd name, a reader and a terminal that go away."""

import os
import signal
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from cmd_tune.tracking.mlflow.uris import default_uri

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[1]
TINY = (
    "hidden_size=8", "embedding_size=8", "layers=1", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
    "epochs=2", "batch_size=8", "evaluate_every=2",
)  # fmt: skip
SPACE = {
    "method": "grid",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {"teacher_temperature": {"values": [0.05, 0.1]}},
}


@pytest.fixture
def odd_environment(tmp_path: Path) -> Path:
    """A virtual environment in a folder with an odd name, and with this one's packages; returns its Python."""
    folder = tmp_path / "it's a ?#%3F {folder}"
    venv.EnvBuilder(symlinks=True).create(folder / ".venv")
    (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
    paths = [str(REPOSITORY), *site.getsitepackages(), *(path for path in sys.path if "site-packages" in path)]
    (packages / "these.pth").write_text("\n".join(dict.fromkeys(paths)))
    return folder / ".venv" / "bin" / "python"


@pytest.mark.slow
def test_a_search_in_an_odd_place_outlives_its_screen(odd_environment: Path, tiny_store, tmp_path: Path) -> None:
    cwd = odd_environment.parents[2]
    (cwd / "space.yaml").write_text(yaml.safe_dump(SPACE))
    settings = [word for setting in TINY for word in ("--set", setting)]
    command = [odd_environment, REPOSITORY / "run_search.py", "--space", "space.yaml", "--data", tiny_store.path]
    process = subprocess.Popen(
        [*command, "--name", "it", *settings],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(6)]
    assert lines[-1].startswith(b"trial-000 starts"), lines
    process.stdout.close()  # as `| head -3` does
    os.killpg(process.pid, signal.SIGHUP)  # as a terminal that is closed does
    assert process.wait(timeout=300) == 0

    folder = cwd / "runs" / "it"
    assert (folder / "trials.csv").read_text().count("finished") == 2
    client = MlflowClient(default_uri(cwd / "runs"))
    experiment = client.get_experiment_by_name("synthetic-xview")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}
    assert [path.name for path in tmp_path.iterdir()] == [cwd.name]
    assert {path.name for path in cwd.iterdir()} == {".venv", "space.yaml", "runs"}
    assert {path.name for path in folder.parent.iterdir()} == {"it", "mlflow.db", "mlflow.lock", "mlartifacts"}


@pytest.mark.parametrize("descriptor", ["1", "2"])
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_changes_no_exit_code(descriptor: str, to: str) -> None:
    for words, code in (("--version", 0), ("stop nothing", 2)):
        shell = f"'{sys.executable}' -m cmd_tune {words} {descriptor}{to}"
        assert subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=False).returncode == code
