"""Checkpoints of others: a part that no release writes is named, before anything is made of it."""

from typing import Any

import pytest
import torch

from cmd_tune.data.layouts import LAYOUTS, layout_content
from cmd_tune.errors import DataError
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint
from cmd_tune.train.checkpoint_content import check_optimizer

LAYOUT = layout_content(LAYOUTS["kinect-20"])
DATA = {
    "path": "a.arrow",
    "dataset": "synthetic",
    "protocol": "xview",
    "layout": LAYOUT,
    "normalization": "none",
    "fingerprint": "ab",
    "clip_keys": torch.tensor([3, -4]),
}
WHOLE = {
    "settings": {"topk": 4},
    "pretrainer": {"online.a": torch.zeros(2)},
    "optimizer": {"state": {}},
    "history": [{"epoch": 1, "loss/total": 2.5}, {"epoch": 2, "loss/total": float("nan")}],
    "data": DATA,
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "settings": ({"settings": [1]}, "its settings is a list, not a mapping"),
    "optimiser": ({"optimizer": 3}, "its optimizer is a int, not a mapping"),
    "no tensor": ({"pretrainer": {"online.a": 1.5}}, "its 'online.a' is no tensor"),
    "no name": ({"pretrainer": {3: torch.zeros(1)}}, "its 3 is no tensor"),
    "sparse": ({"pretrainer": {"a": torch.eye(2).to_sparse()}}, "its 'a' is no tensor"),
    "epoch": ({"epoch": torch.zeros(3)}, "its epoch is no whole number"),
    "negative epoch": ({"epoch": -1}, "its epoch is no whole number"),
    "history": ({"history": {}}, "its history is a dict, not a list"),
    "an epoch too few": ({"history": WHOLE["history"][1:]}, "its history has no metrics of epoch 1"),
    "an epoch twice": ({"history": [WHOLE["history"][0]] * 2}, "its history has no metrics of epoch 2"),
    "a metric": ({"history": [{"epoch": 1, "loss/total": torch.zeros(2)}]}, "its history has no metrics of epoch 1"),
    "a truth value": ({"history": [{"epoch": 1, "loss/total": True}]}, "its history has no metrics of epoch 1"),
    "data": ({"data": {**DATA, "dataset": None}}, "its data have no dataset"),
    "protocol": ({"data": {**DATA, "protocol": 1}}, "the protocol of its data is no text"),
    "layout": ({"data": {**DATA, "layout": {**LAYOUT, "joints": []}}}, "the layout of its data: joints: expected"),
    "keys": ({"data": {**DATA, "clip_keys": torch.zeros(2)}}, "its clip_keys are no row of whole numbers"),
}


@pytest.mark.parametrize("without", ["", *WHOLE, "data"])
def test_what_releases_write_is_taken(tmp_path, without):
    """Imported checkpoints have no optimiser, those of earlier releases no data."""
    save_checkpoint(tmp_path / "a.pt", {key: value for key, value in WHOLE.items() if key != without})
    assert load_checkpoint(tmp_path / "a.pt").keys() == {"format", *WHOLE} - {without}


@pytest.mark.parametrize("name", WRONG)
def test_a_part_that_no_release_writes_is_named(tmp_path, name):
    change, said = WRONG[name]
    save_checkpoint(tmp_path / "a.pt", {**WHOLE, **change})
    with pytest.raises(DataError) as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: damaged, or not of this program: {said}")


def test_a_version_that_is_no_number_is_named(tmp_path):
    torch.save({**WHOLE, "format": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="not a checkpoint of this release"):
        load_checkpoint(tmp_path / "a.pt")


def optimizer_after_a_step() -> tuple[torch.optim.Optimizer, list[dict[str, Any]]]:
    parameters = [torch.ones(2, 3, requires_grad=True), torch.ones(4, requires_grad=True)]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    made = [dict(group) for group in optimizer.param_groups]
    sum(x.sum() for x in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()
    return optimizer, made


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("lr", None, "no lr"),
        ("lr", [], "no lr"),
        ("betas", {}, "no betas"),
        ("exp_avg", torch.zeros(3, 2), "exp_avg is not of its parameters"),
        ("exp_avg", "x", "exp_avg is not of its parameters"),
        ("other", torch.tensor(1), "is not of its parameters"),
    ],
)
def test_an_optimiser_that_would_fail_at_its_first_step_is_named(where, value, said):
    optimizer, made = optimizer_after_a_step()
    check_optimizer(optimizer, made)
    group = optimizer.param_groups[0]
    (group if where in group else optimizer.state[group["params"][0]])[where] = value
    with pytest.raises(ValueError, match=f"its optimiser.*{said}"):
        check_optimizer(optimizer, made)
