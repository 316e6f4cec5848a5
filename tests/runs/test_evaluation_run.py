"""`cmd_tune evaluate`, from its options to its files, its table and MLflow."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.errors import CmdTuneError, DataError, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.evaluation_plan import check_fit, new_evaluation, remark, resumed_evaluation
from cmd_tune.runs.evaluation_report import confusion
from cmd_tune.runs.evaluation_run import run_evaluation
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint
from cmd_tune.train.loop import build_pretrainer
from cmd_tune.train.saved_checkpoint import open_saved

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run_folder(tiny, tiny_store, tmp_path) -> Path:
    """A run's folder with a checkpoint in it."""
    settings = tiny()
    pretrainer = build_pretrainer(settings, tiny_store.width)
    folder = tmp_path / "runs" / "p"
    folder.mkdir(parents=True)
    save_checkpoint(
        folder / "checkpoint.pt",
        {
            "settings": settings.model_dump(mode="json"),
            "pretrainer": pretrainer.state_dict(),
            "history": [{"epoch": 3}],
        },
    )
    return folder


def command(cwd, *words):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"}
    words = [sys.executable, "-m", "cmd_tune", *map(str, words)]
    return subprocess.Popen(words, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, code=0):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, output + errors
    return output, errors


def test_a_whole_evaluation(run_folder, tiny_store, tmp_path):
    output, _ = finish(
        command(
            tmp_path, "evaluate", run_folder, "--data", tiny_store.path, "--with", "knn,solved,retrieval", "--name", "e"
        )
    )
    folder = tmp_path / "runs" / "e"
    content = json.loads((folder / "results.json").read_text())
    assert (content["epoch"], content["protocol"], content["training_clips"], content["test_clips"]) == (
        3,
        "xview",
        48,
        24,
    )
    assert content["normalization"] == tiny_store.normalization
    assert list(content["scores"]) == ["checkpoint", "untrained encoder", "raw skeletons"]
    assert content["scores"]["checkpoint"] == content["scores"]["untrained encoder"]  # this one was not trained
    hits = np.mean(np.array(content["predicted"]["knn"]["fused"]) == np.array(content["test_labels"]))
    fused = content["scores"]["checkpoint"]["knn"]["fused"]
    assert fused["value"] == pytest.approx(100 * hits)
    assert fused["low"] < fused["value"] < fused["high"] or hits in (0, 1)

    # On the same clips: an encoder has no difference to itself, and one to bare skeletons that is their scores'.
    assert content["differences"]["linear"]["untrained encoder"]["joint"] == {"value": 0, "low": 0, "high": 0}
    gain = content["differences"]["knn"]["raw skeletons"]["fused"]
    assert gain["value"] == pytest.approx(fused["value"] - content["scores"]["raw skeletons"]["knn"]["fused"]["value"])
    assert gain["low"] < gain["value"] < gain["high"]
    said = f"{gain['value']:+.1f} ({gain['low']:+.1f} to {gain['high']:+.1f}) against the raw skeletons."
    words = " ".join(output.split())
    assert f"fused 1-NN, on the same clips: +0.0 (+0.0 to +0.0) against the untrained encoder, {said}" in words
    subjects = len(set(tiny_store.subject_N[tiny_store.camera_N == 3].tolist()))
    assert f"intervals over 24 clips, those of each of {subjects} subjects taken together." in words

    cell = rf"{fused['value']:.1f} {fused['low']:.0f}–{fused['high']:.0f}"
    assert re.search(rf"^  1-NN .*{re.escape(cell)}", output, re.MULTILINE)
    assert "48 training clips, 24 test clips, 3 classes; normalised as none" in output.replace("\n", " ").replace(
        "  ", " "
    )
    assert all(len(line) <= 80 for line in output.splitlines() if "%" not in line and "/" not in line)
    assert {path.name for path in (folder / "figures").iterdir()} == {"knn.png", "linear.png"}

    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("synthetic-xview")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/knn/fused"] == pytest.approx(fused["value"])
    raw = content["scores"]["raw skeletons"]["knn"]["joint"]["value"]
    assert run.data.metrics["baseline/raw/test/knn/joint"] == pytest.approx(raw)
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {"results.json", "knn.png"}


@pytest.mark.long
def test_an_interrupted_evaluation_goes_on(run_folder, tiny_store, tmp_path):
    words = ["--with", "knn,sgd,finetune", "--name", "e", "--seed", "3"]
    process = command(tmp_path, "evaluate", run_folder, "--data", tiny_store.path, *words)
    work = tmp_path / "runs" / "e" / "work" / "checkpoint"
    until = time.monotonic() + 120
    while not (work / "sgd-measures.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = finish(process, 130)
    assert "cmd_tune evaluate --resume e" in errors
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*.json")}
    assert work / "finetune-measures.json" not in kept
    output, _ = finish(command(tmp_path, "evaluate", "--resume", "e"))
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert "checkpoint: finetune took" in output
    assert "checkpoint: sgd took" not in output
    assert not list(work.glob("*.pt"))


def asked(checkpoint, store, storage, **changes):
    """An evaluation as the command asks for it; store None: without --data."""
    data = store and store.path
    options = {"protocol": None, "tasks": None, "transfer_data": None, "best_of_test": False, "seed": 0, "name": None}
    return new_evaluation(checkpoint, data=data, storage=storage, tracking_uri=None, **{**options, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "knnn"}, "--with knnn: no such task, did you mean 'knn'?"),
        ({"tasks": "transfer"}, "--with transfer and --transfer-data STORE go together"),
        (
            {"best_of_test": True},
            "--official-best-of-test: applies to sgd, finetune, transfer, and --with names none of these",
        ),
        (
            {"best_of_test": True, "tasks": "semi,knn"},
            "--official-best-of-test: applies to sgd, finetune, transfer, and",
        ),
        ({"seed": 3, "tasks": "knn,retrieval"}, "--seed 3: applies to sgd, finetune, transfer, semi, and --with names"),
        ({"protocol": "xsup"}, "protocol: 'xsup' is not one of synthetic; did you mean 'xsub'?"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(run_folder, tiny_store, tmp_path, changes, message):
    with pytest.raises(UsageError) as caught:
        asked(run_folder, tiny_store, tmp_path / "runs", **changes)
    assert str(caught.value).startswith(message)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["p"]


def test_the_probes_names_of_an_earlier_release_still_work(run_folder, tiny_store, tmp_path):
    """They are what they were, under the new names; a linear probe of a search is the solved one."""
    evaluation = asked(run_folder, tiny_store, tmp_path / "runs", tasks="linear, fast,knn,sgd", best_of_test=True)
    assert evaluation.tasks == ("sgd", "solved", "knn")
    with pytest.raises(UsageError, match="--with fastt: no such task"):
        asked(run_folder, tiny_store, tmp_path / "runs", tasks="fastt")


def test_an_evaluation_of_an_earlier_release_goes_on_with_its_files(run_folder, tiny_store, tmp_path):
    """Its plan and its files have the old names."""
    folder = asked(run_folder, tiny_store, tmp_path / "runs", tasks="knn,solved", name="e").folder
    plan = folder / "evaluate.yaml"
    plan.write_text(plan.read_text(encoding="utf-8").replace("- solved", "- fast"), encoding="utf-8")
    evaluation = resumed_evaluation("e", kept_options={}, storage=tmp_path / "runs")
    run_evaluation(evaluation, Console(quiet=True))
    done = folder / "work" / "checkpoint"
    assert {path.name for path in done.glob("*-measures.json")} == {"knn-measures.json", "fast-measures.json"}
    assert "linear" in json.loads((folder / "results.json").read_text())["scores"]["checkpoint"]
    before = (done / "fast-measures.json").stat().st_mtime_ns
    run_evaluation(evaluation, Console(quiet=True))
    assert (done / "fast-measures.json").stat().st_mtime_ns == before


def test_other_skeletons_are_refused(run_folder, make_store, tmp_path):
    store = make_store(layout="ntu-25", bodies=2)
    with pytest.raises(DataError, match=r"25 joints × 3 × 2 bodies are 150 channels, the encoders of .* take 60"):
        asked(run_folder, store, tmp_path / "runs")


@pytest.fixture
def trained(tiny, make_store, tmp_path):
    """A run's folder and the store it was trained on, under the store's second protocol."""
    store, folder = make_store(), tmp_path / "runs" / "p"
    run(tiny(epochs=1), DataSource(store.path, "xsub"), folder, lambda record: None)
    return folder, store


def test_without_data_a_checkpoint_is_scored_on_what_it_was_trained_on(trained, tmp_path):
    folder, store = trained
    evaluation = asked(folder, None, tmp_path / "runs")
    assert (evaluation.source, evaluation.dataset) == (DataSource(store.path, "xsub"), "synthetic")
    assert asked(folder, store, tmp_path / "runs", name="again").source.protocol == "xsub"
    assert asked(folder, None, tmp_path / "runs", name="other", protocol="xview").source.protocol == "xview"


def test_without_data_a_checkpoint_that_knows_none_asks(run_folder, tmp_path):
    _, errors = finish(command(tmp_path, "evaluate", run_folder), 2)
    path = run_folder / "checkpoint.pt"
    said = f"error: --data: {path} does not say what it was trained on; name the store to score it on\n"
    assert errors == said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["p"]


@pytest.mark.parametrize("then", ["gone", "changed"])
def test_data_that_are_no_longer_there_are_asked_for(trained, make_store, tmp_path, then):
    folder, store = trained
    store.path.rename(tmp_path / "elsewhere.arrow")
    if then == "changed":
        make_store(seed=1)
    else:
        content = load_checkpoint(folder / "checkpoint.pt")
        content.pop("format")
        save_checkpoint(folder / "checkpoint.pt", {**content, "data": {**content["data"], "dataset": "mine"}})
    with pytest.raises(UsageError, match=f"{store.path}, which .* name the store") as caught:
        asked(folder, None, tmp_path / "runs")
    assert caught.value.exit_code == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1
    moved = open_store(tmp_path / "elsewhere.arrow")
    assert remark(open_saved(folder), moved, "xsub", np.arange(3)) == ""
    if then == "changed":
        said = remark(open_saved(folder), open_store(store.path), "xsub", np.arange(3))
        assert said.startswith("not the data that the checkpoint was trained on: synthetic xsub")


def test_test_clips_that_were_pretrained_on_are_said(trained):
    folder, store = trained
    seen = split_store(store, "xsub")[1].pretrain_N
    query_N = split_store(store, "xview")[1].test[0].query_N
    both = len(set(seen) & set(query_N))
    assert both > 0
    said = remark(open_saved(folder), store, "xview", query_N)
    assert said == f"the checkpoint was pretrained on {both} of these test clips, under xsub"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "2s-agcn"}, "normalised as 2s-agcn, what .* was trained on as none"),
        (
            {"layout": replace(LAYOUTS["kinect-20"], base=(3,))},
            "its skeletons are kinect-20, those that .* was trained",
        ),
    ],
)
def test_other_normalisations_and_joints_are_refused(trained, changes, message):
    folder, store = trained
    with pytest.raises(DataError, match=message):
        check_fit(open_saved(folder), replace(store, **changes))


def test_an_evaluation_goes_on_with_what_it_began_with(trained, make_store, tiny, tmp_path):
    folder, store = trained
    asked(folder, store, tmp_path / "runs", name="e")

    def resumed():
        return resumed_evaluation("e", kept_options={}, storage=tmp_path / "runs")

    assert resumed().source == DataSource(store.path, "xsub")
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"evaluate.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed()
    make_store()
    (folder / "checkpoint.pt").unlink()
    run(tiny(epochs=2), DataSource(store.path, "xsub"), folder, lambda record: None)
    with pytest.raises(UsageError, match=r"checkpoint: .*checkpoint.pt has changed since; start a new evaluation"):
        resumed()


def test_a_checkpoint_must_be_named(tiny_store, tmp_path):
    with pytest.raises(UsageError, match="CHECKPOINT: name a checkpoint"):
        asked(None, tiny_store, tmp_path)


def test_a_resumed_evaluation_keeps_its_own(run_folder, tmp_path):
    _, errors = finish(command(tmp_path, "evaluate", run_folder, "--resume", "f"), 2)
    assert errors == "error: CHECKPOINT: a resumed run keeps its own; leave it out, or start a new one\n"


@pytest.mark.parametrize("value", [0, Path("x"), 3])
def test_whatever_was_typed_is_refused_on_a_resume(tmp_path, value):
    """Also a seed of 0, which is no less a value than another."""
    with pytest.raises(UsageError, match="--seed: a resumed run keeps its own"):
        resumed_evaluation("e", kept_options={"--seed": value, "--with": None}, storage=tmp_path)


def test_a_confusion_matrix_by_hand():
    classes, counts = confusion(np.array([4, 4, 4, 7, 9]), np.array([4, 7, 7, 7, 2]))
    assert classes.tolist() == [2, 4, 7, 9]
    assert counts.tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 1, 0], [1, 0, 0, 0]]


@pytest.mark.long
def test_import_and_export_as_typed(golden, tmp_path):
    output, _ = finish(command(tmp_path, "import", golden / "official_checkpoint.pth.tar", "--out", "ours.pt"))
    assert output.startswith("ours.pt: epoch ")
    assert "modalities joint,motion,bone, hidden_size 16, layers" in output
    output, _ = finish(command(tmp_path, "export", "ours.pt", "--out", "theirs.pth.tar"))
    assert output == "theirs.pth.tar: encoders of joint, motion, bone, in the authors' layout\n"
    _, errors = finish(command(tmp_path, "export", "theirs.pth.tar", "--out", "x.pth.tar"), 1)
    assert errors.count("\n") == 1


def test_what_fails_is_named_and_the_rest_is_done(run_folder, tiny_store, tmp_path):
    evaluation = new_evaluation(
        run_folder, data=tiny_store.path, protocol=None, tasks="knn,solved", transfer_data=None, best_of_test=False,
        seed=0, name="e", storage=tmp_path / "runs", tracking_uri=None,
    )  # fmt: skip
    work = evaluation.folder / "work" / "checkpoint" / "solved-measures.json"
    work.mkdir(parents=True)
    (evaluation.folder / "figures").write_text("in the way")
    screen = StringIO()
    with pytest.raises(
        CmdTuneError, match=r"^solved of the checkpoint, figures: failed, the rest is done; see .*errors.log"
    ):
        run_evaluation(evaluation, Console(file=screen, width=80))
    assert f"solved of the checkpoint: {work}: Is a directory" in screen.getvalue()
    assert "MLflow: " in screen.getvalue()
    scores = json.loads((evaluation.folder / "results.json").read_text())["scores"]
    assert list(scores["checkpoint"]) == ["knn", "knn5", "knn10", "knn20"]
    assert set(scores["checkpoint"]) < set(scores["untrained encoder"])
    client = MlflowClient(evaluation.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    assert run.info.status == "FAILED"
    assert "test/knn/fused" in run.data.metrics

    work.rmdir()
    (evaluation.folder / "figures").unlink()
    run_evaluation(evaluation, Console(quiet=True))
    scores = json.loads((evaluation.folder / "results.json").read_text())["scores"]
    assert set(scores["checkpoint"]) == set(scores["untrained encoder"])
