"""`cmd_tune evaluate`, from its options to its files, its table and MLflow."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.evaluation_plan import new_evaluation, resumed_evaluation
from cmd_tune.runs.evaluation_run import run_evaluation
from tests.typed import refused

REPOSITORY = Path(__file__).parents[2]


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
    assert "48 training clips, 24 test clips, 3 classes; normalised as 2s-agcn" in output.replace("\n", " ").replace(
        "  ", " "
    )
    assert all(len(line) <= 80 for line in output.splitlines() if "%" not in line and "/" not in line)
    assert {path.name for path in (folder / "figures").iterdir()} == {"knn.png", "linear.png"}

    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("synthetic-xview")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/knn/fused"] == pytest.approx(fused["value"], rel=5e-4)
    raw = content["scores"]["raw skeletons"]["knn"]["joint"]["value"]
    assert run.data.metrics["baseline/raw/test/knn/joint"] == pytest.approx(raw, rel=5e-4)
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


def test_an_evaluation_of_an_earlier_release_goes_on_with_its_files(run_folder, tiny_store, tmp_path):
    """Its plan and its files have the old names."""
    folder = new_evaluation(
        run_folder, data=tiny_store.path, protocol=None, tasks="knn,solved", transfer_data=None, best_of_test=False,
        seed=0, name="e", storage=tmp_path / "runs", tracking_uri=None,
    ).folder  # fmt: skip
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


def test_what_is_transferred_to_is_neither_compared_nor_drawn(run_folder, tiny_store, make_store, tmp_path):
    """Its labels are of the other data's clips: 24 are tested here, 12 there. The files of its work stand already."""
    other = make_store(subjects=4)
    evaluation = new_evaluation(
        run_folder, data=tiny_store.path, protocol=None, tasks="knn,transfer", transfer_data=other.path,
        best_of_test=False, seed=0, name="e", storage=tmp_path / "runs", tracking_uri=None,
    )  # fmt: skip
    for who in ("checkpoint", "untrained-encoder"):
        work = evaluation.folder / "work" / who
        work.mkdir(parents=True)
        (work / "transfer.json").write_text(json.dumps({"predicted": [[0, 1, 2] * 4] * 4, "best": []}))
    run_evaluation(evaluation, Console(quiet=True))
    kept = json.loads((evaluation.folder / "work/checkpoint/transfer-measures.json").read_text())
    assert len(kept[0]["predicted"]["fused"]) == 12
    results = json.loads((evaluation.folder / "results.json").read_text())
    hits = np.equal([0, 1, 2] * 4, other.label_N[other.camera_N == 3])
    assert results["scores"]["checkpoint"]["transfer"]["fused"]["value"] == pytest.approx(100 * hits.mean())
    assert (results["transfer_test_clips"], results["test_clips"]) == (12, 24)
    assert (list(results["predicted"]), list(results["differences"])) == (["knn"], ["knn"])
    assert [path.name for path in (evaluation.folder / "figures").iterdir()] == ["knn.png"]


def test_without_data_a_checkpoint_that_knows_none_asks(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = run_folder / "checkpoint.pt"
    said = f"--data: {path} does not say what it was trained on; name the store to score it on"
    assert str(refused("evaluate", run_folder)) == said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["p"]


def test_a_resumed_evaluation_keeps_its_own(run_folder, tmp_path):
    said = "--with: a resumed run keeps its own; leave it out, or start a new one"
    assert str(refused("evaluate", "--with", "knn", "--resume", "f", "--storage", tmp_path / "runs")) == said


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
