"""A storage that is moved, copied or reached by a link: what lies in it is found again, for each command."""

import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.evaluation_plan import new_evaluation, resumed_evaluation
from cmd_tune.runs.evaluation_run import run_evaluation
from cmd_tune.runs.kept_paths import find_again, inside_storage, read_paths, relative_to_storage, write_paths
from cmd_tune.runs.single_run import new_single, resumed_single, run_single
from cmd_tune.tracking.mlflow.uris import default_uri
from tests.conftest import write_tiny_store


def test_only_what_lies_in_the_storage_is_relative_to_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (tmp_path / "link").symlink_to(runs)
    paths = {
        runs / "data" / "x.arrow": "data/x.arrow",
        runs / ".." / "runs" / "x.arrow": "x.arrow",
        tmp_path / "link" / "x.arrow": "x.arrow",
        runs / "~x.arrow": "./~x.arrow",
        tmp_path / "runs2" / "x.arrow": str(tmp_path / "runs2" / "x.arrow"),
        runs: str(runs),
    }
    runs.mkdir()
    assert {path: relative_to_storage(str(path), runs) for path in paths} == paths


def test_what_is_written_is_read_wherever_the_storage_is(tmp_path: Path) -> None:
    content = {"data": "/a/runs/~x.arrow", "checkpoint": "/a/runs/p/checkpoint.pt", "transfer_data": None, "seed": 3}
    kept = write_paths(content, Path("/a/runs"))
    assert kept == {"data": "./~x.arrow", "checkpoint": "p/checkpoint.pt", "transfer_data": None, "seed": 3}
    moved = {"data": str(tmp_path / "~x.arrow"), "checkpoint": str(tmp_path / "p" / "checkpoint.pt")}
    assert read_paths(kept, tmp_path) == {**kept, **moved}


def test_what_a_run_reads_of_its_storage_lies_in_it() -> None:
    content = {"data": "./~x.arrow", "checkpoint": "../../x.pt", "transfer_data": "/a/x.arrow", "seed": "a"}
    assert inside_storage(content) == ["~x.arrow"]
    assert inside_storage({"data": "s3://bucket/x.arrow", "checkpoint": "p/checkpoint.pt"}) == ["p/checkpoint.pt"]


def test_a_path_that_is_gone_is_found_by_its_longest_end(tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "p/checkpoint.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_again(Path("/old/runs/p/checkpoint.pt"), [tmp_path]) == tmp_path / "p" / "checkpoint.pt"
    assert find_again(Path("/old/runs/q/checkpoint.pt"), [tmp_path]) == tmp_path / "checkpoint.pt"
    assert find_again(Path("/old/runs/x.arrow"), [tmp_path]) == Path("/old/runs/x.arrow")
    assert find_again(tmp_path / "checkpoint.pt", [tmp_path / "p"]) == tmp_path / "checkpoint.pt"


def pretrained(storage: Path, store: Path) -> None:
    """A finished pretraining, and its evaluation, both recorded in the storage's database."""
    console = Console(file=StringIO())
    common = {"storage": storage, "tracking_uri": None, "protocol": "xview", "data": store}
    settings = [
        "hidden_size=8", "embedding_size=8", "layers=1", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
        "epochs=1", "batch_size=8",
    ]  # fmt: skip
    single = new_single(**common, preset=None, overrides=settings, config=None, name="p")
    run_single(single, test=False, console=console)
    evaluation = new_evaluation(
        storage / "p", **common, tasks="knn", transfer_data=None, best_of_test=False, seed=0, name="e"
    )
    run_evaluation(evaluation, console)


def as_an_earlier_release(storage: Path) -> None:
    """Write every path of its plan files in full."""
    for path in [*storage.glob("*/*.yaml")]:
        if path.name in ("pretrain.yaml", "evaluate.yaml"):
            content = read_paths(yaml.safe_load(path.read_text()), storage)
            path.write_text(yaml.safe_dump({**content, "tracking_uri": default_uri(storage)}, sort_keys=False))


@pytest.mark.long
@pytest.mark.parametrize("earlier", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_runs_of_a_moved_storage_go_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs, moved = tmp_path / "runs", tmp_path / "moved"
    write_tiny_store(runs / "data" / "tiny.arrow")
    pretrained(runs, runs / "data" / "tiny.arrow")
    if earlier:
        as_an_earlier_release(runs)
    else:
        kept = yaml.safe_load((runs / "e" / "evaluate.yaml").read_text())
        assert [kept[key] for key in ("data", "checkpoint")] == ["data/tiny.arrow", "p/checkpoint.pt"]
        assert kept["tracking_uri"] == "sqlite:///mlflow.db"
    runs.rename(moved)

    single = resumed_single("p", kept_options={}, storage=moved)
    assert (single.data, single.tracking_uri) == (moved / "data" / "tiny.arrow", default_uri(moved))
    (moved / "e" / "results.json").unlink()
    commands = [["pretrain", "--resume", "p", "--test"], ["evaluate", "--resume", "e"]]
    code = f"from cmd_tune.cli import app\nfor words in {commands}:\n"  # in another process, since MLflow caches in one
    code += f"    app([*words, '--storage', {str(moved)!r}], standalone_mode=False)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # An evaluation of the moved checkpoint finds the store that it was trained on.
    common = {"data": None, "protocol": None, "transfer_data": None, "best_of_test": False, "tracking_uri": None}
    again = new_evaluation(moved / "p", **common, tasks="knn", seed=0, name="f", storage=moved)
    assert again.data == moved / "data" / "tiny.arrow"

    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    client = MlflowClient(default_uri(moved))
    experiment = client.get_experiment_by_name("synthetic-xview")
    found = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in found) == ["e", "p"]
    for run in found:
        assert run.info.artifact_uri.startswith((moved / "mlartifacts").as_uri())
        names = [file.path for file in client.list_artifacts(run.info.run_id)]
        assert {"settings.yaml", "environment.yaml"} <= set(names)
        assert Path(client.download_artifacts(run.info.run_id, names[0])).is_file()


def test_a_copied_storage_leaves_the_first_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    write_tiny_store(runs / "data" / "tiny.arrow")
    pretrained(runs, runs / "data" / "tiny.arrow")
    shutil.copytree(runs, copy)
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    run_single(resumed_single("p", kept_options={}, storage=copy), test=True, console=Console(file=StringIO()))
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before
    assert (copy / "p" / "test.json").exists()


def test_what_an_evaluation_reads_may_be_named_at_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = write_tiny_store(tmp_path / "tiny.arrow")
    pretrained(tmp_path / "runs", store.path)
    store.path.rename(tmp_path / "b.arrow")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / "p" / "checkpoint.pt").rename(tmp_path / "elsewhere" / "checkpoint.pt")
    common = {"kept_options": {}, "storage": tmp_path / "runs"}
    resumed_evaluation("e", **common, checkpoint=tmp_path / "elsewhere", data=tmp_path / "b.arrow")
    again = resumed_evaluation("e", **common)
    assert (again.checkpoint, again.data) == (tmp_path / "elsewhere" / "checkpoint.pt", tmp_path / "b.arrow")
    with pytest.raises(UsageError, match=r"^--transfer-data .*: no task of e is on other data"):
        resumed_evaluation("e", **common, transfer_data=tmp_path / "b.arrow")
    with pytest.raises(CmdTuneError, match=r"b.arrow.*checkpoint"):
        resumed_evaluation("e", **common, checkpoint=tmp_path / "b.arrow")
