"""Encoders by themselves: the features that evaluation has, of clips without a store."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.errors import DataError
from cmd_tune.evaluate.clip_encoder import load_clip_encoder, save_clip_encoder
from cmd_tune.evaluate.features import extract_features
from cmd_tune.train.checkpoint import save_checkpoint, save_tensors
from cmd_tune.train.loop import build_pretrainer
from cmd_tune.train.saved_checkpoint import open_saved


@pytest.fixture
def saved(tiny, tmp_path, request):
    """A checkpoint on a store, with running statistics that are not those they start with."""
    store = request.getfixturevalue(getattr(request, "param", "tiny_store"))
    settings = tiny(modalities=["joint", "bone_motion"])
    pretrainer = build_pretrainer(settings, store.width)
    pretrainer.online.train()
    x_MBTX = 3 * torch.randn(2, 8, 8, store.width, generator=torch.Generator().manual_seed(0)) + 1
    pretrainer.online.input_norm(x_MBTX)
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"settings": settings.model_dump(mode="json"), "pretrainer": pretrainer.state_dict()})
    return open_saved(path), store


@pytest.mark.parametrize("saved", ["tiny_store", "flat_store"], indirect=True)
def test_features_are_those_of_evaluation_whatever_the_number_of_clips(saved, tmp_path):
    """Each clip at its own length: of a modality after the other, in the order of the settings."""
    saved, store = saved
    save_clip_encoder(tmp_path / "encoder.pt", saved, store)
    model = load_clip_encoder(tmp_path / "encoder.pt")
    settings = saved.settings
    expected_MNF = extract_features(
        saved.encoders(), store, np.arange(12), modalities=settings.modalities, frames=settings.frames
    )
    expected_NX = torch.cat(expected_MNF.unbind(0), dim=1).numpy()
    assert len({int(length) for length in store.length_N[:12]}) > 1
    found_NX = np.concatenate([model.predict(store.clip_joints(clip)[None]) for clip in range(12)])
    assert found_NX.dtype == np.float32
    np.testing.assert_allclose(found_NX, expected_NX, rtol=1e-5, atol=1e-6)
    alike = np.stack([store.clip_joints(3)] * 130)  # more than are computed at once
    np.testing.assert_allclose(model.predict(alike), np.repeat(expected_NX[3:4], 130, 0), rtol=1e-5, atol=1e-6)


def test_clips_of_other_joints_are_refused_in_words(saved, tmp_path):
    saved, store = saved
    save_clip_encoder(tmp_path / "encoder.pt", saved, store)
    model = load_clip_encoder(tmp_path / "encoder.pt")
    for shape in [(2, 9, 17, 3, 1), (9, 20, 3, 1), (0, 9, 20, 3, 1), (2, 0, 20, 3, 1)]:
        with pytest.raises(
            ValueError, match=r"expected \(clips, frames, 20, 3, 1\): joints, coordinates and bodies of"
        ):
            model.predict(np.zeros(shape, np.float32))


def test_the_file_has_the_encoders_alone_and_no_other_file_is_taken_for_it(saved, tmp_path):
    saved, store = saved
    path = tmp_path / "encoder.pt"
    save_clip_encoder(path, saved, replace(store, normalization="upright"))
    assert load_clip_encoder(path).described.normalization == "upright"
    assert path.stat().st_size < saved.path.stat().st_size
    save_tensors(path, {"settings": {}})
    with pytest.raises(DataError, match="holds no encoders"):
        load_clip_encoder(path)
