"""One configuration without a search: its data, that what is finished stays as it is, and how it ends otherwise."""

import io
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs import single_run
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.evaluation_plan import new_evaluation, resumed_evaluation
from cmd_tune.runs.evaluation_run import run_evaluation
from cmd_tune.runs.single_run import SingleRun, new_single, resumed_single, run_single
from cmd_tune.tracking.mlflow.uris import default_uri
from cmd_tune.train.checkpoint import load_checkpoint
from tests.conftest import write_tiny_store


def single(storage, **changes):
    names = ("data", "protocol", "preset", "config", "name", "tracking_uri")
    return new_single(**{**dict.fromkeys(names), "overrides": ["batch_size=8"], "storage": storage, **changes})


@pytest.fixture
def best(make_store, tiny, tmp_path):
    """The best configuration of a search on a store, under its second protocol."""
    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    store = make_store()
    kept = {"data": str(store.path), "fingerprint": store.fingerprint, "protocol": "xsub"}
    (folder / "search.yaml").write_text(yaml.safe_dump(kept))
    (folder / "best.yaml").write_text(yaml.safe_dump(tiny(epochs=3).model_dump(mode="json")))
    return folder / "best.yaml"


def test_the_best_of_a_search_is_trained_on_its_data(best, make_store, tmp_path):
    found = single(tmp_path / "runs", config=best, name="a")
    assert found.source == DataSource(tmp_path / "tiny.arrow", "xsub")
    assert single(tmp_path / "runs", config=best, name="b", protocol="xview").source.protocol == "xview"
    assert single(tmp_path / "runs", config=best, name="c", data=tmp_path / "tiny.arrow").source.protocol == "xview"
    make_store(seed=1)
    with pytest.raises(UsageError, match="is no longer what this run began with"):
        single(tmp_path / "runs", config=best, name="d")
    (tmp_path / "tiny.arrow").unlink()
    with pytest.raises(UsageError, match=r"best.yaml is of a search on .*, which is not there; name the store"):
        single(tmp_path / "runs", config=best, name="d")
    assert not (tmp_path / "runs" / "d").exists()


def test_a_run_goes_on_with_the_data_it_began_with(make_store, tmp_path):
    store = make_store()
    single(tmp_path / "runs", data=store.path, name="a")
    assert resumed_single("a", kept_options={}, storage=tmp_path / "runs").source.path == store.path
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"pretrain.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed_single("a", kept_options={}, storage=tmp_path / "runs")


def test_a_run_on_the_whole_training_set_says_so_and_how_to_be_scored(tiny_store, tmp_path):
    overrides = ["batch_size=8", "epochs=1", "hidden_size=8", "holdout=none"]
    run_ = single(tmp_path / "runs", data=tiny_store.path, name="a", overrides=overrides)
    screen = io.StringIO()
    run_single(run_, test=False, console=Console(file=screen, width=200))
    said = screen.getvalue()
    assert f"\na: pretraining on all 48 training clips of synthetic xview, {tiny_store.path}\n" in f"\n{said}"
    assert "no scores: all training clips were pretrained on; score the test set with: " in said
    with pytest.raises(UsageError, match="evaluate_every: applies to holdout validation alone, and none is asked for"):
        single(tmp_path / "runs", data=tiny_store.path, name="b", overrides=[*overrides, "evaluate_every=2"])

    again = resumed_single("a", kept_options={}, storage=tmp_path / "runs")
    run_single(again, test=True, console=Console(file=screen, width=200))
    assert "\ntest/knn/fused " in screen.getvalue()


def lasting(folder, uri):
    """All that a finished run must keep: its files, and its run in MLflow."""
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    client = MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "synthetic-xview"]
    runs = client.search_runs([experiment.experiment_id], f"tags.`cmd_tune.search` = '{folder.name}'")
    return files, [
        (
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics},
            run.data.metrics,
        )
        for run in runs
    ]


def data_and_usage(uri, name):
    """The digest of a run's data set, what it is for, and the steps at which its memory is known."""
    client = MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "synthetic-xview"]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`cmd_tune.search` = '{name}'")
    (data,) = run.inputs.dataset_inputs
    memory = client.get_metric_history(run.info.run_id, "system/system_memory_usage_megabytes")
    assert all(50 < point.value < 5000 for point in memory)
    return data.dataset.digest, data.tags[0].value, [point.step for point in memory]


def test_a_resume_of_what_is_finished_changes_nothing(tiny, tiny_store, tmp_path):
    storage, console = tmp_path / "runs", Console(file=io.StringIO(), width=200)
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(tiny(epochs=2).model_dump(mode="json")))
    options = {"data": tiny_store.path, "name": "p", "config": small}
    run_single(single(storage, **options), test=True, console=console)
    uri = default_uri(storage)
    before = lasting(storage / "p", uri)
    assert before[1][0][0] == "FINISHED"
    for test in (True, False):
        run_single(resumed_single("p", kept_options={}, storage=storage), test=test, console=console)
        assert lasting(storage / "p", uri) == before

    asked = {"protocol": None, "tasks": "knn,retrieval", "transfer_data": None, "best_of_test": False, "seed": 0}
    run_evaluation(
        new_evaluation(storage / "p", data=None, storage=storage, tracking_uri=None, name="e", **asked), console
    )
    before = lasting(storage / "e", uri)
    run_evaluation(resumed_evaluation("e", kept_options={}, storage=storage), console)
    assert lasting(storage / "e", uri) == before
    assert data_and_usage(uri, "p") == (tiny_store.fingerprint[:36], "training", [1, 2])
    assert data_and_usage(uri, "e") == (tiny_store.fingerprint[:36], "evaluation", [0])
    tables = console.file.getvalue().split("Folder:")
    assert tables[1].count("test/knn/fused") == tables[0].count("test/knn/fused") == 2  # a row, and beside baselines


def test_what_would_do_nothing_is_refused(tiny, tiny_store, tmp_path):
    options = {"data": tiny_store.path, "name": "x"}
    with pytest.raises(UsageError, match="--set: step_epoch: applies to schedule step alone, and cosine is asked for"):
        single(tmp_path / "runs", overrides=["step_epoch=3"], **options)
    whole, part = tmp_path / "whole.yaml", tmp_path / "part.yaml"
    settings = tiny().model_dump(mode="json", exclude={"encoder", "views"})  # younger than 0.1.0, in no preset
    whole.write_text(yaml.safe_dump(settings))
    part.write_text("epochs: 3\n")
    with pytest.raises(UsageError, match=r"--preset paper: .*whole.yaml gives every setting of a preset a value"):
        single(tmp_path / "runs", config=whole, preset="paper", **options)
    assert not (tmp_path / "runs").exists()
    assert single(tmp_path / "runs", config=part, preset="paper", **options).settings.hidden_size == 1024


def test_what_fails_beside_the_run_is_named_and_the_rest_is_done(tiny, tiny_store, tmp_path, monkeypatch):
    def fail(*_):
        raise CmdTuneError("there is no room for it")

    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    single = SingleRun(
        folder=folder, settings=tiny(), data=tiny_store.path, protocol="xview", dataset="synthetic", tracking_uri=uri
    )
    single.write()
    for part in ("baseline_scores", "test_scores"):
        monkeypatch.setattr(single_run, part, fail)
    screen = io.StringIO()
    with pytest.raises(CmdTuneError, match=r"^baselines, test: failed, the rest is done; .* --resume it .*--test$"):
        run_single(single, test=True, console=Console(file=screen, width=200))
    lines = screen.getvalue().splitlines()
    assert "baselines: there is no room for it" in lines
    assert "test: there is no room for it" in lines
    assert any(line.startswith("val/knn/fused ") for line in lines)
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    assert run.info.status == "FAILED"
    assert len(client.get_metric_history(run.info.run_id, "loss/total")) == 3


def test_an_address_that_is_none_of_mlflows_leaves_no_folder(tiny, tiny_store, tmp_path):
    """Nor does it take that of an earlier session away."""
    uri = f"sqlite:///{tmp_path / 'no' / 'such' / 'file'}"
    (tmp_path / "no").write_text("a file, where a folder is needed")
    for new in (True, False):
        folder = tmp_path / f"new-{new}"
        folder.mkdir()
        single = SingleRun(
            folder=folder,
            new=new,
            settings=tiny(),
            data=tiny_store.path,
            protocol="xview",
            dataset="synthetic",
            tracking_uri=uri,
        )
        with pytest.raises(CmdTuneError, match=f"^MLflow at {uri}: "):
            run_single(single, test=False, console=Console(file=io.StringIO()))
        assert folder.exists() is not new


def test_a_file_of_settings_is_found_from_its_own_folder(tmp_path, monkeypatch):
    """With the store in the storage, which is named relative to it in the search's plan."""
    folder = tmp_path / "runs" / "s"
    folder.mkdir(parents=True)
    store = write_tiny_store(tmp_path / "runs" / "tiny.arrow")
    (folder / "search.yaml").write_text(f"data: tiny.arrow\nfingerprint: {store.fingerprint}\nprotocol: xsub\n")
    (folder / "best.yaml").write_text("topk: 8\nbatch_size: 8\n")
    monkeypatch.chdir(folder)
    single = new_single(
        data=None, protocol=None, preset=None, overrides=[], config=Path("best.yaml"), name="p", storage=tmp_path,
        tracking_uri=None,
    )  # fmt: skip
    assert (single.data, single.protocol) == (store.path, "xsub")


def test_a_precision_that_is_measured_is_kept(tiny, tiny_store, tmp_path, capsys):
    """The plan, the checkpoint and a resume have the word that the line names, never auto."""
    small = ("hidden_size", "embedding_size", "frames", "queue_size", "topk", "crop_min_frames", "batch_size")
    given = [f"{name}={getattr(tiny(), name)}" for name in small]
    made = single(tmp_path / "runs", data=tiny_store.path, name="a", overrides=[*given, "epochs=1", "precision=auto"])
    word = made.settings.precision
    assert word in ("float32", "bfloat16")
    assert f"precision auto: {word}; " in capsys.readouterr().err
    run_single(made, test=False, console=Console(file=io.StringIO()))
    folder = tmp_path / "runs" / "a"
    assert yaml.safe_load((folder / "pretrain.yaml").read_text())["settings"]["precision"] == word
    assert load_checkpoint(folder / "checkpoint.pt")["settings"]["precision"] == word
    assert resumed_single("a", kept_options={}, storage=tmp_path / "runs").settings == made.settings
