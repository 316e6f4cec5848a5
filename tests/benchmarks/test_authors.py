"""What the benchmarks measure against gives the numbers it should: the authors', and the package's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import authors, authors_ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.crop_shear import Draws, crop_resize, distort
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.evaluate.knn import knn_predictions
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.train.official_checkpoint import from_official

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def reference(golden: Path) -> Arrays:
    with np.load(golden / "cmd_step.npz") as file:
        return {name: file[name] for name in file.files}


def build(reference: Arrays) -> tuple[authors.CMD, dict[str, float]]:
    config = json.loads(str(reference["config"]))
    _, C, _, V, P = reference["step0/x_q"].shape
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == V)
    model = authors.CMD(
        layout.parents,
        V * C * P,
        hidden_size=config["hidden_size"],
        layers=config["num_layers"],
        embedding_size=config["embedding_dim"],
        queue_size=config["queue_size"],
        topk=config["topk"],
        key_momentum=config["momentum"],
        contrast_temperature=config["tau_contrast"],
        teacher_temperature=config["tau_teacher"],
        student_temperature=config["tau_student"],
    )
    initial = {name.removeprefix("init/"): torch.from_numpy(x) for name, x in reference.items() if "init/" in name}
    model.load_state_dict({name: initial[name] for name in model.state_dict()})
    return model, config


def test_the_steps_are_the_golden_ones(reference: Arrays) -> None:
    model, config = build(reference)
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=config["lr"],
        momentum=config["sgd_momentum"],
        weight_decay=config["weight_decay"],
    )
    for step in range(config["steps"]):
        views = (torch.from_numpy(reference[f"step{step}/{name}"]) for name in ("x_q", "x_k"))
        embed_q, embed_k = model.embed(*views)
        contrastive, distillation = model.losses(embed_q, embed_k)
        optimizer.zero_grad()
        (contrastive + distillation).backward()
        model.enqueue(embed_k)
        optimizer.step()
        np.testing.assert_allclose(distillation.item(), reference[f"step{step}/loss_cmd"], rtol=1e-4)
        total = reference[f"step{step}/loss_contrastive_joint_motion_bone"].sum()
        np.testing.assert_allclose(contrastive.item(), total, rtol=1e-4)
    np.testing.assert_allclose(model.queue, reference["after/queue"], rtol=1e-3, atol=1e-5)


def test_views_are_the_packages() -> None:
    """The same crops, shears and corruptions: of each, one whole clip."""
    rng = np.random.default_rng(0)
    V, T = 25, 64
    clips = [rng.normal(size=(3, n, V, 2)).astype(np.float32) for n in (70, 90, 200)]
    matrix = rng.uniform(-1, 1, (3, 3, 3)).astype(np.float32)
    np.fill_diagonal(matrix[0], 1.0)
    joints = np.arange(15)
    length, start = np.array([64, 80, 131]), np.array([6, 0, 40])
    crops = [authors.crop_resize(clip, s, n, T) for clip, s, n in zip(clips, start, length, strict=True)]
    theirs = [
        authors.shear(crops[0], matrix[0]),
        authors.corrupt(crops[1], joints, matrix[1]),
        authors.corrupt(crops[2], joints, None),
    ]
    corrupted = torch.zeros(V).index_fill_(0, torch.from_numpy(joints), 1.0)
    draws = Draws(
        start_B=torch.from_numpy(start),
        length_B=torch.from_numpy(length),
        matrix_BCC=torch.from_numpy(matrix),
        kept_BV=torch.stack((torch.zeros(V), 1 - corrupted, 1 - corrupted)),
        mixed_BV=torch.stack((torch.ones(V), corrupted, torch.zeros(V))),
    )
    rows_FX = torch.cat([torch.from_numpy(clip.transpose(1, 2, 0, 3).reshape(clip.shape[1], -1)) for clip in clips])
    first_B = torch.tensor([0, 70, 160])
    ours = distort(crop_resize(rows_FX, first_B + draws.start_B, draws.length_B, T).unflatten(2, (V, 3, 2)), draws)
    for mine, other in zip(ours.permute(0, 3, 1, 2, 4).numpy(), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_a_random_view_is_a_crop_with_one_distortion() -> None:
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(3, 90, 25, 2)).astype(np.float32)
    assert {authors.view(clip, 64, rng).shape for _ in range(20)} == {(3, 64, 25, 2)}
    assert {(authors.view(clip, 64, rng) == 0).all((0, 1, 3)).sum() for _ in range(40)} == {0, 15}


def test_modalities_are_the_packages(reference: Arrays) -> None:
    model, _ = build(reference)
    x = torch.from_numpy(reference["step0/x_q"])
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == x.shape[3])
    ours = stack_modalities(x.permute(0, 2, 3, 1, 4).contiguous(), ("joint", "motion", "bone"), layout)
    for mine, other in zip(ours, model.modalities(x), strict=True):
        assert torch.equal(mine, other.permute(0, 2, 3, 1, 4).flatten(2))


def test_nearest_neighbours_are_the_packages() -> None:
    rng = np.random.default_rng(0)
    label_G, label_Q = rng.integers(0, 5, 200), rng.integers(0, 5, 70)
    gallery, query = (rng.normal(size=(len(y), 12)).astype(np.float32) + y[:, None] for y in (label_G, label_Q))
    theirs = authors.knn_accuracy(gallery, query, label_G, label_Q)
    predicted = knn_predictions(*(torch.from_numpy(x)[None] for x in (gallery, query)), torch.from_numpy(label_G))
    assert theirs == pytest.approx(100 * (predicted[0].numpy() == label_Q).mean())


def test_features_are_the_packages(reference: Arrays) -> None:
    model, config = build(reference)
    names = ("joint", "motion", "bone")
    x = torch.from_numpy(reference["step0/x_q"])
    layout = next(layout for layout in LAYOUTS.values() if len(layout.joints) == x.shape[3])
    sizes = {"hidden_size": config["hidden_size"], "embedding_size": config["embedding_dim"]}
    encoders = GRUEncoder(3, x[0, :, 0].numel(), layers=config["num_layers"], **sizes)
    state = from_official(model.state_dict(), names)
    encoders.load_state_dict({key[7:]: value for key, value in state.items() if key.startswith("online.")})
    ours = encoders.eval().features(stack_modalities(x.permute(0, 2, 3, 1, 4).contiguous(), names, layout))
    for encoder, mine, seen in zip(model.eval().queries(), ours, model.modalities(x), strict=True):
        torch.testing.assert_close(mine, encoder.features(seen), rtol=1e-4, atol=1e-6)


def test_reading_and_normalising_is_the_authors(golden: Path) -> None:
    with np.load(golden / "ntu_reference.npz") as file:
        arrays = {name: file[name].transpose(3, 1, 2, 0) for name in file.files}
    for path in (golden / "ntu_skeleton").iterdir():
        x = authors_ingest.read(path.read_text())
        np.testing.assert_allclose(x, arrays[f"{path.stem}/joints"], rtol=1e-5, atol=1e-6)
        for name, padded in (("normalised_first_frames", x), ("normalised_300", np.zeros((2, 300, 25, 3)))):
            padded[:, : x.shape[1]] = x
            theirs = arrays[f"{path.stem}/{name}"]
            np.testing.assert_allclose(
                authors_ingest.normalize(padded), theirs, rtol=1e-4, atol=1e-5, err_msg=path.stem
            )


def test_a_linear_probe_learns_what_can_be_told_apart() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(3, 80, 25, 1)).astype(np.float32) + 2 * (i % 2) for i in range(64)]
    probe = authors.LinearProbe(authors.Encoder(75, 6, 2, 4), 12, 2)
    labels = np.arange(64) % 2
    for _ in range(40):
        probe.epoch(clips, labels, 16, rng, batch=16)
    x = torch.from_numpy(np.stack([authors.crop_resize(clip, 0, 80, 16) for clip in clips]))
    with torch.no_grad():
        predicted = probe.classifier(probe.encoder.features(x)).argmax(1).numpy()
    assert (predicted == labels).mean() > 0.95
