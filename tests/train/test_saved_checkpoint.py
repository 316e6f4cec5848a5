"""A checkpoint opened for evaluation: its settings, its encoders, its fingerprint, and what is none."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.compute.slower import Slower
from cmd_tune.data.layouts import LAYOUTS, layout_content
from cmd_tune.errors import DataError, UsageError
from cmd_tune.train.checkpoint import save_checkpoint
from cmd_tune.train.loop import CHECKPOINT, build_pretrainer, pretrain
from cmd_tune.train.official_checkpoint import import_official
from cmd_tune.train.saved_checkpoint import open_saved
from tests.train.one_line import one_line


def test_settings_that_are_not_its_tensors_are_named(tiny, tmp_path):
    pretrainer = build_pretrainer(tiny(hidden_size=8), 60)
    content = {"settings": tiny(hidden_size=9).model_dump(mode="json"), "pretrainer": pretrainer.state_dict()}
    save_checkpoint(tmp_path / "checkpoint.pt", {**content, "history": []})
    with pytest.raises(DataError, match="its tensors are not those of its settings"):
        open_saved(tmp_path).encoders()
    save_checkpoint(tmp_path / "checkpoint.pt", {**content, "settings": {"hiden_size": 9}})
    assert "unknown setting 'hiden_size'" in one_line(lambda: open_saved(tmp_path))


def test_an_imported_checkpoint_is_not_trained_on(golden, tmp_path, make_store):
    saved = import_official(golden / "official_checkpoint.pth.tar", tmp_path / CHECKPOINT, {"batch_size": 8})
    store = make_store(layout="ntu-25", bodies=2)
    arguments = {"evaluate": None, "report": None, "device": torch.device("cpu")}
    with pytest.raises(UsageError, match="has no optimiser's state, since it was imported"):
        pretrain(saved.settings, store, np.arange(16), folder=tmp_path, **arguments)


def test_what_is_no_checkpoint_of_ours_says_what_reads_it(golden, tmp_path):
    assert "'python -m cmd_tune import'" in one_line(lambda: open_saved(golden / "official_checkpoint.pth.tar"))
    assert "no such checkpoint" in one_line(lambda: open_saved(tmp_path))


DATA = {
    **{"path": "a.arrow", "dataset": "mine", "protocol": "xview", "normalization": "none", "fingerprint": "ab"},
    "layout": layout_content(LAYOUTS["kinect-20"]),
}


def write(folder, settings, **changes):
    """A checkpoint of 60 channels in a run's folder; returns the pretrainer in it."""
    pretrainer = build_pretrainer(settings, 60)
    content = {"settings": settings.model_dump(mode="json"), "pretrainer": pretrainer.state_dict(), "history": []}
    save_checkpoint(folder / CHECKPOINT, {**content, **changes})
    return pretrainer


def test_a_folder_and_its_file_are_the_same_checkpoint(tiny, tmp_path):
    settings = tiny(modalities=("bone", "joint"))
    pretrainer = write(tmp_path, settings, history=[{"epoch": 1}, {"epoch": 2}], data=DATA)
    by_folder, by_file = open_saved(tmp_path), open_saved(tmp_path / CHECKPOINT)
    for saved in (by_folder, by_file):
        assert (saved.path, saved.epoch, saved.channels) == (tmp_path / CHECKPOINT, 2, 60)
        assert (saved.settings, saved.data) == (settings, DATA)
    for name, x in pretrainer.online.state_dict().items():
        assert torch.equal(by_folder.encoders().state_dict()[name], x), name


def test_an_imported_one_has_the_epoch_that_was_written_and_no_data(tiny, tmp_path):
    write(tmp_path, tiny(), epoch=451)
    saved = open_saved(tmp_path)
    assert (saved.epoch, saved.data) == (451, {})


def test_the_fingerprint_is_of_names_and_numbers_alone(tiny, tmp_path):
    """Not of the epoch or the settings beside them; one number that differs makes another one."""
    found = []
    for epoch, seed in ((1, 0), (2, 0), (1, 1)):
        write(tmp_path, tiny(seed=seed, epochs=5 + epoch), history=[{"epoch": number + 1} for number in range(epoch)])
        found.append(open_saved(tmp_path).fingerprint)
    assert found[0] == found[1] != found[2]
    saved = open_saved(tmp_path)
    name = "online.head.bias_1"
    renamed = {("momentum" if key == name else key): x for key, x in saved.state.items()}
    assert replace(saved, state=renamed).fingerprint != saved.fingerprint
    saved.state[name][0, 0] += 1
    assert open_saved(tmp_path).fingerprint != saved.fingerprint


def test_a_search_is_no_run(tmp_path):
    (tmp_path / "trials").mkdir()
    said = f"{tmp_path}: is a search; name one of its trials, such as {tmp_path / 'trials' / '000'}"
    assert one_line(lambda: open_saved(tmp_path)) == said


@pytest.mark.parametrize("tensors", [None, [], {}, {"momentum.gru.0.weight_ih": torch.zeros(1)}], ids=str)
def test_a_file_without_encoders_is_named(tiny, tmp_path, tensors):
    write(tmp_path, tiny(), pretrainer=tensors)
    assert one_line(lambda: open_saved(tmp_path)) == f"{tmp_path / CHECKPOINT}: holds no encoders"


def test_a_folder_whose_last_checkpoint_is_damaged_is_that_of_the_one_before(tiny, tmp_path):
    write(tmp_path, tiny(), history=[{"epoch": 1}])
    (tmp_path / CHECKPOINT).rename(tmp_path / "checkpoint-before.pt")
    write(tmp_path, tiny(seed=1), history=[{"epoch": 1}, {"epoch": 2}])
    assert (open_saved(tmp_path).epoch, open_saved(tmp_path).settings.seed) == (2, 1)
    os.truncate(tmp_path / CHECKPOINT, 3000)
    with pytest.warns(Slower, match=r"checkpoint\.pt: not a whole .*; checkpoint-before\.pt, of epoch 1, is used"):
        saved = open_saved(tmp_path)
    assert (saved.path, saved.epoch, saved.settings.seed) == (tmp_path / "checkpoint-before.pt", 1, 0)
    said = one_line(lambda: open_saved(tmp_path / CHECKPOINT))
    assert said.startswith(f"{tmp_path / CHECKPOINT}: not a whole checkpoint (")
    assert said.endswith(f"; {tmp_path / 'checkpoint-before.pt'} is the one before it")
