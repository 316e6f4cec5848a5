"""A checkpoint in the authors' layout: its features, and its names in and out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.errors import DataError
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import CMD
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.train.official_checkpoint import from_official, to_official

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
