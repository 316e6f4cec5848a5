"""Bodies of images in lengths of their torso: what stays, what falls away, and what is missing."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.parallel_reading import normalized
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.torso import measure_in_torsos

COCO = LAYOUTS["coco-17"]
SHOULDERS, HIPS = (5, 6), (11, 12)


def clip(frames: int = 7, bodies: int = 2, seed: int = 0, coordinates: int = 2) -> NDArray[np.float32]:
    """A person of a torso of 80 pixels in every frame, who walks; the other bodies are anything."""
    rng = np.random.default_rng(seed)
    x_TVCP = 300 + 100 * rng.normal(size=(frames, 17, coordinates, bodies))
    walk_TC = 20 * np.arange(frames)[:, None] * np.eye(coordinates)[0]
    for joints, height in ((SHOULDERS, 100), (HIPS, 180)):
        for joint, side in zip(joints, (-1, 1), strict=True):
            x_TVCP[:, joint, :, 0] = walk_TC + np.array([400 + 30 * side, height, *[7] * (coordinates - 2)])
    return x_TVCP.astype(np.float32)


def test_the_centre_of_the_trunk_is_the_origin_and_the_torso_has_length_1() -> None:
    ours = measure_in_torsos(clip(), COCO)
    assert ours.dtype == np.float32
    shoulders, hips = ours[..., 0][:, SHOULDERS].mean(axis=1), ours[..., 0][:, HIPS].mean(axis=1)
    np.testing.assert_allclose(shoulders, np.tile([0, -0.5], (7, 1)), atol=1e-6)
    np.testing.assert_allclose(hips, np.tile([0, 0.5], (7, 1)), atol=1e-6)


def test_all_bodies_move_and_shrink_with_the_first() -> None:
    x_TVCP = clip()
    centre_TC = x_TVCP[..., 0][:, [*SHOULDERS, *HIPS]].astype(float).mean(axis=1)
    expected = (x_TVCP - centre_TC[:, None, :, None]) / 80
    np.testing.assert_allclose(measure_in_torsos(x_TVCP, COCO), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(2.5, (0, 0)), (1, (-700, 40)), (0.01, (3, 1))])
def test_how_near_and_where_in_the_image_does_not_matter(scale: float, shift: tuple[float, float]) -> None:
    x_TVCP = clip()
    moved = scale * x_TVCP + np.array(shift, np.float32)[:, None]
    np.testing.assert_allclose(measure_in_torsos(moved, COCO), measure_in_torsos(x_TVCP, COCO), atol=1e-4)


def test_a_body_that_leans_towards_the_camera_in_some_frames_does_not_grow() -> None:
    """The median: three frames of seven with half the torso change no other frame."""
    x_TVCP = clip()
    leant = x_TVCP.copy()
    leant[:3, SHOULDERS, 1, 0] += 40
    np.testing.assert_allclose(measure_in_torsos(leant, COCO)[3:], measure_in_torsos(x_TVCP, COCO)[3:], atol=1e-6)


@pytest.mark.parametrize("missing", [0, np.nan])
def test_a_joint_of_the_centre_that_is_missing_moves_nobody(missing: float) -> None:
    """The person walks evenly, so that the place between two frames is known."""
    x_TVCP = clip()
    expected = measure_in_torsos(x_TVCP, COCO)
    gap = x_TVCP.copy()
    gap[3, HIPS[1], :, 0] = missing
    ours = normalized(Clip("a", gap, 0), COCO, "torso").joints_TVCP
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_body_that_is_absent_stays_0() -> None:
    x_TVCP = clip()
    x_TVCP[:2, ..., 0] = 0
    x_TVCP[4:, ..., 1] = 0
    ours = measure_in_torsos(x_TVCP, COCO)
    assert not ours[:2, ..., 0].any()
    assert not ours[4:, ..., 1].any()
    assert np.isfinite(ours).all()
    centre_C = x_TVCP[2, ..., 0][[*SHOULDERS, *HIPS]].mean(axis=0)  # of the first frame that has one
    np.testing.assert_allclose(ours[0, ..., 1], (x_TVCP[0, ..., 1] - centre_C) / 80, rtol=1e-4, atol=1e-5)


def test_joints_in_3_d_are_scaled_as_well() -> None:
    ours = measure_in_torsos(clip(coordinates=3), LAYOUTS["coco-17"])
    np.testing.assert_allclose(ours[..., 0][:, SHOULDERS].mean(axis=1), np.tile([0, -0.5, 0], (7, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda x: x[..., 0].fill(0), "the first body has no joints in any frame"),
        (lambda x: x[:, HIPS[0], :, 0].fill(np.nan), "left_hip of body 1 is missing in 7 of 7 frames"),
        (lambda x: np.copyto(x[:, :, :, 0], x[:, :1, :, 0]), "the first body's torso has no length in most frames"),
    ],
)
def test_a_body_that_cannot_be_measured_is_named(spoil, what: str) -> None:
    x_TVCP = clip()
    spoil(x_TVCP)
    with pytest.raises(ValueError, match=re.escape(what)):
        normalized(Clip("a", x_TVCP, 0), COCO, "torso")
