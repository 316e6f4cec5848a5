"""Keypoints of images from a file to scores, and what joints in 2-D are refused before anything starts."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.errors import CmdTuneError, DataError, UsageError
from cmd_tune.evaluate.raw_skeletons import raw_predictions
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.evaluation_plan import check_fit, new_evaluation
from cmd_tune.runs.evaluation_run import run_evaluation
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.single_run import new_single, run_single
from cmd_tune.train.official_checkpoint import export_official
from cmd_tune.train.saved_checkpoint import open_saved

CLASSES, SUBJECTS = 3, 6


@pytest.fixture
def recordings(tmp_path):
    """A pickle of pyskl's form, COCO's joints in pixels: each class moves in its own way, each person stands elsewhere
    and is of another size.
    """
    rng = np.random.default_rng(0)
    rest_VC, swing_LVC = rng.normal(size=(17, 2)), rng.normal(size=(CLASSES, 17, 2))
    rest_VC[[5, 6, 11, 12]] = [[-0.3, -1], [0.3, -1], [-0.2, 0.5], [0.2, 0.5]]
    annotations, parts = [], {"xsub_train": [], "xsub_val": []}
    for subject in range(1, SUBJECTS + 1):
        for label in range(CLASSES):
            for take in range(2):
                frames = int(rng.integers(10, 30))
                phase_T = (label + 1) * np.linspace(0, 2 * np.pi, frames)
                x_TVC = rest_VC + 0.3 * np.sin(phase_T)[:, None, None] * swing_LVC[label]
                x_TVC = rng.uniform(300, 900, 2) + rng.uniform(60, 200) * x_TVC + rng.normal(size=x_TVC.shape)
                name = f"S001C001P{subject:03}R{take + 1:03}A{label + 1:03}"
                keypoint = x_TVC[None].astype(np.float16)
                score = rng.uniform(0.3, 1, (1, frames, 17)).astype(np.float16)
                annotations.append({"frame_dir": name, "label": label, "keypoint": keypoint, "keypoint_score": score})
                parts["xsub_val" if subject == SUBJECTS else "xsub_train"].append(name)
    (tmp_path / "mine_hrnet.pkl").write_bytes(pickle.dumps({"split": parts, "annotations": annotations}))
    return tmp_path / "mine_hrnet.pkl"


def single(storage, store, *overrides):
    names = ("protocol", "preset", "config", "name", "tracking_uri")
    return new_single(**dict.fromkeys(names), data=store.path, overrides=["batch_size=8", *overrides], storage=storage)


def asked(folder, store, storage):
    names = ("protocol", "transfer_data", "name", "tracking_uri")
    return new_evaluation(
        folder, data=store.path, tasks="knn", best_of_test=False, seed=0, storage=storage, **dict.fromkeys(names)
    )


def test_keypoints_are_ingested_pretrained_on_and_scored(recordings, tmp_path):
    store = ingest("pyskl", recordings, tmp_path / "mine.arrow").store
    assert (len(store), store.width, store.normalization) == (36, 34, "torso")
    storage, console = tmp_path / "runs", Console(file=io.StringIO())
    run_ = single(storage, store, "epochs=2", "hidden_size=8", "embedding_size=8", "frames=8", "crop_min_frames=4")
    run_single(run_, test=False, console=console)
    evaluation = asked(run_.folder, store, storage)
    run_evaluation(evaluation, console)
    scores = json.loads((evaluation.folder / "results.json").read_text())["scores"]
    assert list(scores) == ["checkpoint", "untrained encoder", "raw skeletons"]
    split = split_store(store, "xsub")[1].test[0]
    predicted_SQ = raw_predictions(store, split, ("joint",))
    assert (predicted_SQ[0].numpy() == store.label_N[split.query_N]).mean() == 1  # what the classes differ in is left


@pytest.mark.parametrize("name", ["rotation_axis", "angular_velocity"])
def test_a_modality_of_joints_in_3_d_is_refused_by_pretrain(flat_store, tmp_path, name):
    with pytest.raises(
        UsageError, match=f"modalities: {name} needs joints in 3-D, those of coco-17 are in 2-D"
    ) as said:
        single(tmp_path / "runs", flat_store, f"modalities=[joint, {name}]")
    assert len(said.value.lines) == 1
    assert not list((tmp_path / "runs").glob("*"))


@pytest.fixture
def trained(flat_store, tiny, tmp_path):
    folder = tmp_path / "runs" / "p"
    run(tiny(epochs=1), DataSource(flat_store.path, "xview"), folder, lambda record: None)
    return folder


def test_a_checkpoint_in_2_d_and_data_in_3_d_do_not_go_together(trained, flat_store, tiny_store):
    saved = open_saved(trained)
    check_fit(saved, flat_store)
    with pytest.raises(DataError, match=r"20 joints × 3 × 1 bodies are 60 channels, the encoders of .* take 68"):
        check_fit(saved, tiny_store)
    unknown = replace(saved, data={})
    with pytest.raises(DataError, match=r"its joints are in 2-D; .* is of joints in 3-D"):
        check_fit(unknown, flat_store)
    axes = replace(unknown, settings=saved.settings.model_copy(update={"modalities": ("joint", "rotation_axis")}))
    with pytest.raises(UsageError, match="rotation_axis needs joints in 3-D"):
        check_fit(axes, flat_store)


def test_as_many_channels_in_2_d_are_other_joints(trained, flat_store):
    """Of the same names, too."""
    in_space = replace(flat_store, layout=replace(LAYOUTS["coco-17"], coordinates=3))
    with pytest.raises(DataError, match=r"its skeletons are coco-17, those that .* was trained on coco-17"):
        check_fit(open_saved(trained), in_space)


def test_the_authors_code_has_no_joints_in_2_d(trained, tmp_path):
    with pytest.raises(CmdTuneError) as said:
        export_official(trained, tmp_path / "theirs.pth.tar")
    assert str(said.value) == (
        f"{trained / 'checkpoint.pt'}: is of joints in 2-D, the authors' checkpoints are of joints in 3-D alone"
    )
    assert not (tmp_path / "theirs.pth.tar").exists()
