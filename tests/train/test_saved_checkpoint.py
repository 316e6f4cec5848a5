"""Checkpoints from elsewhere and for elsewhere: the authors' in, ours out, and what is neither."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.errors import CmdTuneError, DataError, UsageError
from cmd_tune.train.checkpoint import save_checkpoint
from cmd_tune.train.loop import CHECKPOINT, build_pretrainer, pretrain
from cmd_tune.train.official_checkpoint import export_official, import_official
from cmd_tune.train.saved_checkpoint import open_saved


@pytest.fixture
def official(golden: Path) -> Path:
    return golden / "official_checkpoint.pth.tar"


@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "from DistributedDataParallel"])
def test_an_imported_checkpoint_has_the_authors_features(official, golden, tmp_path, prefix):
    content = torch.load(official, weights_only=True)
    content["state_dict"] = {prefix + name: tensor for name, tensor in content["state_dict"].items()}
    torch.save(content, tmp_path / "theirs.pth.tar")
    import_official(tmp_path / "theirs.pth.tar", tmp_path / "ours.pt", {})
    saved = open_saved(tmp_path / "ours.pt")
    assert (saved.epoch, saved.settings.hidden_size, saved.settings.modalities) == (
        int(content["epoch"]),
        16,
        ("joint", "motion", "bone"),
    )
    assert (saved.settings.teacher_temperature, saved.settings.frames) == (0.05, 64)
    with np.load(golden / "official_checkpoint_features.npz") as file:
        reference = {name: file[name] for name in file.files}
    x_BTVCP = torch.from_numpy(reference["x"]).permute(0, 2, 3, 1, 4)
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == x_BTVCP.shape[2])
    with torch.no_grad():
        features = saved.encoders().eval().features(stack_modalities(x_BTVCP, saved.settings.modalities, layout))
    for modality, ours in zip(saved.settings.modalities, features, strict=True):
        np.testing.assert_allclose(ours.numpy(), reference[f"features_{modality}"], rtol=1e-4, atol=1e-6)


def test_in_and_out_is_the_identity(official, tmp_path):
    import_official(official, tmp_path / "ours.pt", {"frames": 50})
    assert open_saved(tmp_path / "ours.pt").settings.frames == 50
    assert export_official(tmp_path / "ours.pt", tmp_path / "theirs.pth.tar") == ("joint", "motion", "bone")
    before, after = (torch.load(path, weights_only=True) for path in (official, tmp_path / "theirs.pth.tar"))
    assert after["epoch"] == before["epoch"]
    assert set(after["state_dict"]) == set(before["state_dict"])
    assert all(torch.equal(after["state_dict"][name], tensor) for name, tensor in before["state_dict"].items())


def test_a_run_of_ours_goes_out_and_comes_back(tiny, tmp_path):
    settings = tiny(modalities=("bone", "joint"), layers=3)
    pretrainer = build_pretrainer(settings, 150)
    (tmp_path / "run").mkdir()
    save_checkpoint(
        tmp_path / "run" / "checkpoint.pt",
        {
            "settings": settings.model_dump(mode="json"),
            "pretrainer": pretrainer.state_dict(),
            "history": [{"epoch": 3}],
        },
    )
    export_official(tmp_path / "run", tmp_path / "theirs.pth.tar")
    import_official(tmp_path / "theirs.pth.tar", tmp_path / "back.pt", {})
    back = open_saved(tmp_path / "back.pt")
    assert back.epoch == 3
    for modality, ours in zip(settings.modalities, pretrainer.online.head.weight_0, strict=True):
        theirs = back.encoders().head.weight_0[back.settings.modalities.index(modality)]
        assert torch.equal(theirs, ours)


def test_sizes_are_the_checkpoints_own(official, tmp_path):
    with pytest.raises(UsageError, match="--set hidden_size=1024: the checkpoint's is 16"):
        import_official(official, tmp_path / "ours.pt", {"hidden_size": 1024})
    assert not (tmp_path / "ours.pt").exists()


def one_line(action) -> str:
    with pytest.raises(CmdTuneError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_of_another_kind_are_named(official, tmp_path):
    bad = tmp_path / "bad.pth.tar"
    torch.save([1], bad)
    assert "not a checkpoint of this release but a list" in one_line(lambda: import_official(bad, tmp_path / "o", {}))
    torch.save({"model": {}}, bad)
    assert "it has no 'state_dict'" in one_line(lambda: import_official(bad, tmp_path / "o", {}))
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, bad)
    assert "not a CMD checkpoint: it has no tensor 'queue'" in one_line(
        lambda: import_official(bad, tmp_path / "o", {})
    )
    assert "'python -m cmd_tune import'" in one_line(lambda: open_saved(official))
    assert "no such checkpoint" in one_line(lambda: open_saved(tmp_path))


def test_a_tensor_of_another_size_is_named(official, tmp_path):
    content = torch.load(official, weights_only=True)
    content["state_dict"]["encoder_q.fc.0.weight"] = torch.zeros(3, 3)
    torch.save(content, tmp_path / "bad.pth.tar")
    said = one_line(lambda: import_official(tmp_path / "bad.pth.tar", tmp_path / "o", {}))
    assert said.endswith("bad.pth.tar: not a CMD checkpoint: 'fc.0.weight' is not of one size in all of its encoders")


def test_settings_that_are_not_its_tensors_are_named(tiny, tmp_path):
    pretrainer = build_pretrainer(tiny(hidden_size=8), 60)
    content = {"settings": tiny(hidden_size=9).model_dump(mode="json"), "pretrainer": pretrainer.state_dict()}
    save_checkpoint(tmp_path / "checkpoint.pt", {**content, "history": []})
    with pytest.raises(DataError, match="its tensors are not those of its settings"):
        open_saved(tmp_path).encoders()
    save_checkpoint(tmp_path / "checkpoint.pt", {**content, "settings": {"hiden_size": 9}})
    assert "unknown setting 'hiden_size'" in one_line(lambda: open_saved(tmp_path))


def test_an_imported_checkpoint_is_not_trained_on(official, tmp_path, make_store):
    saved = import_official(official, tmp_path / CHECKPOINT, {"batch_size": 8})
    store = make_store(layout="ntu-25", bodies=2)
    arguments = {"evaluate": None, "report": None, "device": torch.device("cpu")}
    with pytest.raises(UsageError, match="has no optimiser's state, since it was imported"):
        pretrain(saved.settings, store, np.arange(16), folder=tmp_path, **arguments)
