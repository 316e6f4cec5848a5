"""How bodies stand: closed forms of the tilt and of the vertical."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.inspect.posture import posture
from cmd_tune.data.inspect.sticks import project
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store, write_store

KINECT = LAYOUTS["kinect-20"]


def body(up: tuple[float, float, float], frames: int = 5) -> np.ndarray:
    """A body whose trunk points along `up`."""
    x_TVCP = 0.01 * np.random.default_rng(0).normal(size=(1, 20, 3, 1)).repeat(frames, axis=0)
    x_TVCP[:, KINECT.base] = 0
    x_TVCP[:, KINECT.left_shoulder, :, 0] = np.subtract(up, [0.2, 0, 0])
    x_TVCP[:, KINECT.right_shoulder, :, 0] = np.add(up, [0.2, 0, 0])
    return x_TVCP.astype(np.float32)


def stored(path: Path, bodies: list[np.ndarray], family: str) -> Store:
    clips = [Clip(f"clip-{n}", x_TVCP, label=n) for n, x_TVCP in enumerate(bodies)]
    write_store(path, clips, dataset="mine", layout=KINECT, normalization=family)
    return open_store(path)


def at(degrees: float) -> tuple[float, float, float]:
    """A trunk at an angle from z."""
    return 0, 0.5 * float(np.sin(np.radians(degrees))), 0.5 * float(np.cos(np.radians(degrees)))


def test_tilts_and_shares(tmp_path: Path) -> None:
    """Of 0, 40, 50, 90, 130 and 170 degrees, three lie and one stands on its head; one clip has no body."""
    degrees = [0, 40, 50, 90, 130, 170]
    bodies = [*(body(at(angle)) for angle in degrees), np.zeros((2, 20, 3, 1), np.float32)]
    found = posture(stored(tmp_path / "a.arrow", bodies, "upright"))
    assert (found.axis, found.sign) == (2, 1)
    np.testing.assert_allclose(found.tilt_N[:6], degrees, atol=1e-3)
    assert np.isnan(found.tilt_N[6])
    assert (found.lie, found.on_their_heads) == (3 / 7, 1 / 7)
    assert found.describe() == "42.9 % of clips lie, 14.3 % stand on their heads"


def test_frames_that_are_wrong_do_not_tip_a_clip(tmp_path: Path) -> None:
    x_TVCP = body(at(0))
    x_TVCP[:2] = body(at(180), 2)
    assert posture(stored(tmp_path / "a.arrow", [x_TVCP], "2s-agcn")).tilt_N == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("up", "axis", "sign"), [((0, 0.5, 0.1), 1, 1), ((0, -0.5, 0.1), 1, -1), ((0.5, 0, 0), 0, 1)])
def test_the_vertical_of_what_is_not_turned_is_where_most_trunks_point(
    tmp_path: Path, up: tuple[float, float, float], axis: int, sign: int
) -> None:
    """Two of three stand; the third, the other way round, stands on its head."""
    bodies = [body(up), body(up), -body(up)]
    found = posture(stored(tmp_path / "a.arrow", bodies, "centred"))
    assert (found.axis, found.sign) == (axis, sign)
    assert found.on_their_heads == pytest.approx(1 / 3)
    paper_TVSP = project(bodies[0], axis, sign)
    assert (paper_TVSP[:, [KINECT.left_shoulder, KINECT.right_shoulder], 1].mean(1) > 0.4).all()
