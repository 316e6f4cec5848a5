"""Checkpoints in the authors' layout: their features, their names in and out, and files that are none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.seen_clips import count_seen
from cmd_tune.data.splits import split_store
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.errors import DataError, UsageError
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import CMD
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.train.checkpoint import save_checkpoint
from cmd_tune.train.loop import build_pretrainer
from cmd_tune.train.official_checkpoint import (
    describe_official,
    export_official,
    from_official,
    import_official,
    to_official,
)
from cmd_tune.train.saved_checkpoint import open_saved
from tests.train.one_line import one_line

MODALITIES = ("joint", "motion", "bone")


@pytest.fixture(scope="module")
def state(golden: Path) -> dict[str, Tensor]:
    return dict(torch.load(golden / "official_checkpoint.pth.tar", weights_only=True)["state_dict"])


def build(state: dict[str, Tensor]) -> Pretrainer:
    """A pretrainer of the checkpoint's sizes, holding its numbers."""
    bare = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    gates, channels = bare["encoder_q.encoder.gru.weight_ih_l0"].shape
    layers = sum(name.startswith("encoder_q.encoder.gru.bias_ih_l") for name in bare) // 2
    embedding_size, queue_size = bare["queue"].shape
    encoders = GRUEncoder(
        len(MODALITIES), channels, hidden_size=gates // 3, embedding_size=embedding_size, layers=layers
    )
    objective = CMD(0.07, 0.05, 0.1, 1, 1.0)
    pretrainer = Pretrainer(encoders, MemoryBanks(len(MODALITIES), queue_size, embedding_size), objective, 0.999)
    pretrainer.load_state_dict(from_official(state, MODALITIES))
    return pretrainer


@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "from DistributedDataParallel"])
def test_features_of_every_stream(golden: Path, state: dict[str, Tensor], prefix: str) -> None:
    with np.load(golden / "official_checkpoint_features.npz") as file:
        reference = {name: file[name] for name in file.files}
    x_BTVCP = torch.from_numpy(reference["x"]).permute(0, 2, 3, 1, 4)
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == x_BTVCP.shape[2])
    pretrainer = build({prefix + name: tensor for name, tensor in state.items()}).eval()
    with torch.no_grad():
        features_MBF = pretrainer.online.features(stack_modalities(x_BTVCP, MODALITIES, layout))
    for modality, features_BF in zip(MODALITIES, features_MBF, strict=True):
        theirs = reference[f"features_{modality}"]
        np.testing.assert_allclose(features_BF.numpy(), theirs, rtol=1e-4, atol=1e-6, err_msg=modality)


def test_there_and_back_is_the_identity(state: dict[str, Tensor]) -> None:
    pretrainer = build(state)
    back = to_official(pretrainer.state_dict(), MODALITIES)
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype, name
        assert torch.equal(back[name], tensor), name


def test_encoders_without_a_form_of_theirs_are_refused(state: dict[str, Tensor]) -> None:
    other = {name: x for name, x in build(state).state_dict().items() if not name.startswith("online.gru.")}
    with pytest.raises(DataError, match="hold GRU encoders alone"):
        to_official(other, MODALITIES)


def test_what_it_returns_is_a_copy(state: dict[str, Tensor]) -> None:
    pretrainer = build(state)
    to_official(pretrainer.state_dict(), MODALITIES)["encoder_q.fc.2.bias"].fill_(9.0)
    assert torch.equal(pretrainer.online.head.bias_1[0], state["encoder_q.fc.2.bias"])


@pytest.mark.parametrize(
    "missing",
    ["encoder_k_bone.fc.2.bias", "encoder_q_motion.encoder.gru.weight_hh_l1_reverse", "queue_motion", "queue_ptr"],
)
def test_a_missing_tensor_is_named(state: dict[str, Tensor], missing: str) -> None:
    without = {name: tensor for name, tensor in state.items() if name != missing}
    with pytest.raises(DataError, match=f"'{missing}'") as caught:
        from_official(without, MODALITIES)
    assert "\n" not in str(caught.value)


def test_streams_can_be_chosen(state: dict[str, Tensor]) -> None:
    ours = from_official(state, ["bone", "joint"])
    assert torch.equal(ours["banks.keys_MKD"][0], state["queue_bone"].T)
    assert torch.equal(ours["online.head.bias_1"][0], state["encoder_q_bone.fc.2.bias"])
    assert torch.equal(ours["momentum.head.bias_1"][1], state["encoder_k.fc.2.bias"])


# Whole files


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


def test_what_the_authors_trained_on_may_be_said(official, make_store, tmp_path):
    """All training clips: their code holds nothing out."""
    store = make_store(layout="ntu-25", bodies=2)
    import_official(official, tmp_path / "ours.pt", {}, store.path, "xsub")
    saved = open_saved(tmp_path / "ours.pt")
    train_N = split_store(store, "xsub")[1].test[0].gallery_N
    assert (saved.trained_on["protocol"], saved.trained_on["clips"]) == ("xsub", len(train_N))
    assert saved.settings.holdout == "none"
    assert count_seen(saved.data["clip_keys"], store, np.arange(len(store))) == len(train_N)
    with pytest.raises(DataError, match=r"has 75 channels, the encoders of .* take 150; name the store they were"):
        import_official(official, tmp_path / "o.pt", {}, make_store(layout="ntu-25", bodies=1).path)
    import_official(official, tmp_path / "unknown.pt", {})
    assert open_saved(tmp_path / "unknown.pt").data == {}


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
            "history": [{"epoch": epoch} for epoch in (1, 2, 3)],
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


def test_a_tensor_of_another_size_is_named(official, tmp_path):
    content = torch.load(official, weights_only=True)
    content["state_dict"]["encoder_q.fc.0.weight"] = torch.zeros(3, 3)
    torch.save(content, tmp_path / "bad.pth.tar")
    said = one_line(lambda: import_official(tmp_path / "bad.pth.tar", tmp_path / "o", {}))
    assert said.endswith("bad.pth.tar: not a CMD checkpoint: 'fc.0.weight' is not of one size in all of its encoders")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": {}}, "its 'epoch' is a dict"),
        ({"queue": torch.zeros(3)}, "not a CMD checkpoint ("),
        ({"queue_bone": torch.tensor(1)}, "not a CMD checkpoint ("),
        ({"queue_ptr": torch.zeros(2)}, "not a CMD checkpoint ("),
        ({"encoder_q.fc.0.weight": {}}, "it has no tensor 'encoder_q.fc.0.weight'"),
        ({3: torch.zeros(1)}, "not all of its tensors have names"),
    ],
)
def test_what_is_no_tensor_of_theirs_is_named(official, tmp_path, change, said):
    content = torch.load(official, weights_only=True)
    for name, value in change.items():
        (content if name == "epoch" else content["state_dict"])[name] = value
    torch.save(content, tmp_path / "bad.pth.tar")
    assert said in one_line(lambda: import_official(tmp_path / "bad.pth.tar", tmp_path / "o", {}))


def test_a_modality_that_there_is_not_is_named(official, tmp_path):
    content = torch.load(official, weights_only=True)
    renamed = {name.replace("_bone", "_bonee"): tensor for name, tensor in content["state_dict"].items()}
    torch.save({"state_dict": renamed}, tmp_path / "bad.pth.tar")
    said = one_line(lambda: import_official(tmp_path / "bad.pth.tar", tmp_path / "o", {}))
    assert said.endswith("bad.pth.tar: encoders of 'bonee': did you mean 'bone'?")


def test_sizes_are_read_from_shapes(state: dict[str, Tensor]) -> None:
    """Weights of three gates are (3 H, H), embeddings the rows of a bank that has a column a key."""
    sizes = describe_official(state)
    assert sizes["modalities"] == list(MODALITIES)
    assert (3 * sizes["hidden_size"], sizes["hidden_size"]) == state["encoder_q.encoder.gru.weight_hh_l0"].shape
    assert (sizes["embedding_size"], sizes["queue_size"]) == state["queue"].shape
    assert state["encoder_q.fc.2.bias"].shape == (sizes["embedding_size"],)
    with_layer = {**state, **{f"encoder_q.encoder.gru.weight_ih_l9{end}": torch.zeros(1) for end in ("", "_reverse")}}
    assert describe_official(with_layer)["layers"] == sizes["layers"] + 1


def test_neighbours_that_a_small_bank_lacks_are_not_asked_for(official, tmp_path):
    """The paper's 1,024 are more than this bank's rows; what is asked for instead must fit as well."""
    saved = import_official(official, tmp_path / "ours.pt", {})
    assert saved.settings.topk == saved.settings.queue_size < 1024
    with pytest.raises(UsageError, match=r"^--set: topk \d+ exceeds queue_size"):
        import_official(official, tmp_path / "again.pt", {"topk": saved.settings.queue_size + 1})
    assert not (tmp_path / "again.pt").exists()
