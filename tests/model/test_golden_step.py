"""The authors' numbers: several optimiser steps of CMD, from the same weights, on the same input.

Every size, rate and weight is read from the reference file, so that another one can take its place (--golden).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import CMD
from cmd_tune.model.pretrainer import Losses, Pretrainer
from cmd_tune.train.official_checkpoint import from_official, to_official

Arrays = dict[str, NDArray[np.float32]]


@dataclass
class Reference:
    config: dict[str, float]
    arrays: Arrays
    modalities: list[str]

    def under(self, prefix: str) -> Arrays:
        return {name.removeprefix(prefix): x for name, x in self.arrays.items() if name.startswith(prefix)}


@dataclass
class Run:
    losses: list[Losses] = field(default_factory=list)
    logits_MBK: list[Tensor] = field(default_factory=list)
    first_gradients: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)


@pytest.fixture(scope="module")
def reference(golden: Path) -> Reference:
    with np.load(golden / "cmd_step.npz") as file:
        arrays = {name: file[name] for name in file.files}
    contrastive = next(name for name in arrays if name.startswith("step0/loss_contrastive_"))
    modalities = contrastive.removeprefix("step0/loss_contrastive_").split("_")
    return Reference(json.loads(str(arrays.pop("config"))), arrays, modalities)


@pytest.fixture(scope="module")
def run(reference: Reference, way_of_module: str) -> Run:
    """The same steps by this package, in each way it can compute them."""
    config, names = reference.config, reference.modalities
    _, C, _, V, P = reference.arrays["step0/x_q"].shape
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == V)

    def inputs(x_BCTVP: NDArray[np.float32]) -> Tensor:
        return stack_modalities(torch.from_numpy(x_BCTVP).permute(0, 2, 3, 1, 4).contiguous(), names, layout)

    encoders = GRUEncoder(
        len(names),
        V * C * P,
        hidden_size=config["hidden_size"],
        embedding_size=config["embedding_dim"],
        layers=config["num_layers"],
    )
    objective = CMD(
        contrast_temperature=config["tau_contrast"],
        teacher_temperature=config["tau_teacher"],
        student_temperature=config["tau_student"],
        topk=config["topk"],
        distill_weight=config["cmd_weight"],
    )
    banks = MemoryBanks(len(names), config["queue_size"], config["embedding_dim"])
    pretrainer = Pretrainer(encoders, banks, objective, config["momentum"])
    initial = {name: torch.from_numpy(x) for name, x in reference.under("init/").items()}
    pretrainer.load_state_dict(from_official(initial, names))
    optimizer = torch.optim.SGD(
        pretrainer.online.parameters(),
        lr=config["lr"],
        momentum=config["sgd_momentum"],
        weight_decay=config["weight_decay"],
    )

    run = Run()
    embedded: list[Tensor] = []
    pretrainer.online.register_forward_hook(lambda *hook: embedded.append(hook[2].detach()))
    for step in range(config["steps"]):
        step_arrays = reference.under(f"step{step}/")
        losses, keys_MBD = pretrainer(inputs(step_arrays["x_q"]), inputs(step_arrays["x_k"]))
        run.losses.append(losses)
        run.logits_MBK.append(logits(embedded[step], keys_MBD, banks.keys_MKD, config["tau_contrast"]))
        optimizer.zero_grad()
        losses.total.backward()
        if step == 0:
            gradients = {f"online.{name}": p.grad.clone() for name, p in pretrainer.online.named_parameters()}
            run.first_gradients = to_official({**pretrainer.state_dict(), **gradients}, names)
        optimizer.step()
        pretrainer.banks.enqueue(keys_MBD)
    run.state = to_official(pretrainer.state_dict(), names)
    return run


def logits(query_MBD: Tensor, key_MBD: Tensor, banks_MKD: Tensor, contrast_temperature: float) -> Tensor:
    """[q·k, q·Qᵀ] / τ_c."""
    positive_MB1 = (query_MBD * key_MBD).sum(2, keepdim=True)
    return torch.cat((positive_MB1, query_MBD @ banks_MKD.transpose(1, 2)), dim=2) / contrast_temperature


def assert_close(ours: Tensor, theirs: NDArray[np.float32], name: str, steps: int = 1) -> None:
    """Equal within float32 rounding: 1e-4 of the value, or 1e-5 of the array's largest where values cancel.

    steps: how many have been taken to get there; each starts from the rounding of the one before.
    """
    atol = 1e-5 * max(float(np.abs(theirs).max()), 1e-3)
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=steps * 1e-4, atol=steps * atol, err_msg=name)


def test_logits_of_every_step(reference: Reference, run: Run) -> None:
    for step, logits_MBK in enumerate(run.logits_MBK):
        for ours, modality in zip(logits_MBK, reference.modalities, strict=True):
            theirs = reference.arrays[f"step{step}/logits_{modality}"]
            assert_close(ours, theirs, f"step {step}, {modality}", step + 1)


def test_losses_of_every_step(reference: Reference, run: Run) -> None:
    contrastive = "loss_contrastive_" + "_".join(reference.modalities)
    for step, losses in enumerate(run.losses):
        theirs = reference.under(f"step{step}/")
        assert_close(losses.contrastive_M, theirs[contrastive], f"step {step}, contrastive", step + 1)
        assert_close(losses.cross_modal, theirs["loss_cmd"], f"step {step}, distillation", step + 1)
        assert_close(losses.total, theirs["loss_total"], f"step {step}, total", step + 1)


def test_gradients_of_the_first_step(reference: Reference, run: Run) -> None:
    theirs = reference.under("step0/grad/")
    online = {name for name in run.first_gradients if name.startswith("encoder_q")}
    statistics = {name for name in online if ".running_" in name or name.endswith("num_batches_tracked")}
    assert set(theirs) == online - statistics
    for name, gradient in theirs.items():
        assert_close(run.first_gradients[name], gradient, name)


def test_state_after_the_last_step(reference: Reference, run: Run) -> None:
    """Weights of both twins, running statistics and their counts, banks and pointers."""
    theirs = reference.under("after/")
    assert set(run.state) == set(theirs)
    for name, value in theirs.items():
        assert run.state[name].shape == value.shape, name
        if np.issubdtype(value.dtype, np.integer):
            assert run.state[name].tolist() == value.tolist(), name
        else:
            assert_close(run.state[name], value, name, len(run.losses))
