"""The winner's encoder as a model: named, described, loaded and served by MLflow."""

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from cmd_tune.evaluate.features import extract_features
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan
from cmd_tune.search.study.trial_record import Repeat, TrialRecord
from cmd_tune.search.winner_model import model_name, winner_model
from cmd_tune.tracking import RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.uris import default_uri
from cmd_tune.train.saved_checkpoint import open_saved
from tests.tracking.mlflow.servers import serving

# What a search has beside its encoders: refused where the model is loaded.
REFUSING = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "optuna", "rich", "typer", "cmaes"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refusing())
"""


@pytest.fixture
def plan(make_space, tiny, tiny_store, tmp_path):
    source = DataSource(tiny_store.path, "xview")
    described = {"source": source, "dataset": "synthetic", "fingerprint": tiny_store.fingerprint}
    settings = {"preset": "quick", "settings": tiny(epochs=1), "trials": 1, "resources": ResourceRequest(workers=1)}
    folder = tmp_path / "runs" / "it"
    (folder / "trials" / "003").mkdir(parents=True)
    uri = default_uri(tmp_path)
    return Plan(folder=folder, space=make_space(), tracking_uri=uri, id="f00d", **described, **settings)


@pytest.fixture
def best(plan):
    """A trial that was trained."""
    trial = TrialRecord(3, {}, plan.folder / "trials" / "003")
    run(plan.settings, plan.source, trial.folder, trial.history.append)
    return trial


@pytest.mark.parametrize(
    ("experiment", "name"),
    [("nw-ucla-xview", "nw-ucla-xview-encoder"), ("my.data:v/2-xsub-upright", "my-data-v-2-xsub-upright-encoder")],
)
def test_the_name_is_that_of_the_experiment_without_what_a_registry_refuses(experiment, name):
    assert model_name(experiment) == name


def test_without_a_checkpoint_there_is_no_model(plan):
    assert winner_model(plan, TrialRecord(3, {}, plan.folder / "trials" / "003")) is None


def test_a_model_says_of_which_trial_it_is_and_what_it_takes(plan, best, tiny_store):
    model = winner_model(plan, best)
    assert model.name == "synthetic-xview-encoder"
    assert model.shape_in == (-1, -1, *tiny_store.frame_shape())
    assert model.shape_out == (-1, 3 * 16)  # three modalities, two directions of 8
    assert (model.metric, model.score) == ("val/knn/fused", best.history[-1]["val/knn/fused"])
    assert model.tags["cmd_tune.trial"] == "3"
    assert "trial-003 of the search it" in model.note
    assert f"normalised by the family {tiny_store.normalization}" in model.note
    refit = best.repeat(Repeat.REFIT, 7)
    refit.folder.mkdir()
    (best.folder / "checkpoint.pt").rename(refit.folder / "checkpoint.pt")
    refit.test_scores = {"test/knn/fused": 50.0}
    again = winner_model(plan, best)
    assert "trial-003 (refit-7) of the search it" in again.note
    assert again.digest == model.digest


@pytest.fixture
def registered(plan, best, tiny_store, tmp_path):
    """Where the registered model lies, clips (also in clips.npy), and their features as evaluation has them."""
    tracker = open_tracker(plan.tracking_uri, plan.experiment, plan.name, tmp_path, identity=plan.id)
    tracker.show(RunSnapshot(key=None, name="it", params={}, documents={}, model=winner_model(plan, best)))
    assert tracker.close() == ""
    client = MlflowClient(plan.tracking_uri, plan.tracking_uri)
    model = client.get_model_version_by_alias("synthetic-xview-encoder", "champion")
    clips_NTVCP = np.stack([tiny_store.clip_joints(clip)[:9] for clip in range(3)])
    np.save(tmp_path / "clips.npy", clips_NTVCP)
    saved = open_saved(best.folder)
    store = replace(tiny_store, length_N=tiny_store.length_N.clamp(max=9))
    asked = {"modalities": saved.settings.modalities, "frames": saved.settings.frames}
    features_MNF = extract_features(saved.encoders(), store, np.arange(3), **asked)
    return model.source, clips_NTVCP, features_MNF.movedim(0, 1).flatten(1).numpy()


def features_by(python, source, folder, before=""):
    """Features of the clips in a folder by a model, as another interpreter predicts them with the model's own code.

    before: what that runs first.
    """
    code = (
        f"{before}\nimport mlflow, numpy\n"
        f"model = mlflow.pyfunc.load_model({source!r})\n"
        f"numpy.save('features.npy', model.predict(numpy.load('clips.npy')))\n"
        "import cmd_tune\nprint(cmd_tune.__file__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("/artifacts/code/cmd_tune/__init__.py")
    return np.load(folder / "features.npy")


@pytest.mark.long
def test_it_loads_and_serves_with_what_it_names_alone_and_has_the_features_of_evaluation(registered, tmp_path):
    """Over HTTP, and in a process that has neither this package on its path nor a search's libraries."""
    source, clips_NTVCP, expected_NX = registered
    found = features_by(sys.executable, source, tmp_path, before=REFUSING)
    np.testing.assert_allclose(found, expected_NX, rtol=1e-5, atol=1e-6)

    command = tmp_path / "bin" / "uvicorn"  # which MLflow looks for on the path
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m uvicorn "$@"\n')
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{command.parent}:{environment['PATH']}"
    words = ["models", "serve", "-m", source, "--env-manager", "local"]
    with serving(*words, environment=environment, folder=tmp_path) as address:
        body = json.dumps({"inputs": clips_NTVCP.tolist()}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            served = np.array(json.load(answer)["predictions"])
    np.testing.assert_allclose(served, expected_NX, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.slow
def test_its_requirements_are_all_that_it_needs(registered, tmp_path):
    """In an environment that pip makes anew of them, which takes a minute or two and some 2 GB."""
    source, _, expected_NX = registered
    subprocess.run([sys.executable, "-m", "venv", "fresh"], cwd=tmp_path, check=True)
    python = tmp_path / "fresh" / "bin" / "python"
    requirements = Path(source.removeprefix("file://")) / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    found = features_by(python, source, tmp_path)
    np.testing.assert_allclose(found, expected_NX, rtol=1e-5, atol=1e-6)
