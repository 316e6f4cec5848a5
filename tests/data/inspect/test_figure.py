"""The figure of a store: which clips are drawn, and where their joints lie on the paper."""

from collections.abc import Callable
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.normalize import NORMALIZATION
from cmd_tune.data.inspect.figure import _box, _chosen, _projected, draw_store
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store, write_store
from cmd_tune.figures import DPI
from tests.data.inspect.conftest import clip


def test_the_figure_is_a_png(store: Store, tiny_store: Store, tmp_path: Path) -> None:
    """Also of a store with nobody in a clip, and of one body."""
    for drawn in (store, tiny_store):
        data = draw_store(drawn, tmp_path / "store.png").read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(data[16:20]) == 12 * DPI


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Store]:
    def make(*clips: Clip, normalization: str = "none") -> Store:
        path = tmp_path / "clips.arrow"
        write_store(path, clips, dataset="mine", layout=LAYOUTS["ntu-25"], normalization=normalization)
        return open_store(path)

    return make


def test_six_classes_far_apart_are_drawn_each_by_a_clip_of_median_length(write: Callable[..., Store]) -> None:
    """Eleven classes of three clips, of 4, 2 and 3 frames: of every other class the third."""
    clips = [clip(f"{label}-{frames}", [(1, 1)] * frames, label) for label in range(11) for frames in (4, 2, 3)]
    store = write(*clips)
    assert [store.names[index] for index in _chosen(store)] == [f"{label}-3" for label in (0, 2, 4, 6, 8, 10)]


def test_one_clip_has_all_bodies_if_any_has(write: Callable[..., Store]) -> None:
    """In the last place, though it is not of its class's median length."""
    alone = [clip(f"alone {label}", [(1, 0)] * 3, label) for label in (0, 1, 2, 2)]
    store = write(*alone, clip("both", [(1, 1)] * 9, 2))
    assert [store.names[index] for index in _chosen(store)] == ["alone 0", "alone 1", "both"]
    store = write(*alone)
    assert [store.names[index] for index in _chosen(store)] == ["alone 0", "alone 1", "alone 2"]


@pytest.mark.parametrize(("normalization", "depth", "up"), [("none", 2, 1), (NORMALIZATION, 1, 2)])
def test_joints_are_seen_from_twenty_degrees_beside(write, normalization, depth, up) -> None:
    """x lies across; of a depth of 1 the paper shows sin 20°. A Kinect's y is up, a normalised skeleton's z."""
    x_TVCP = np.zeros((2, 25, 3, 2), np.float32)
    x_TVCP[0, :3, :, 0] = np.eye(3)
    shown_TVSP = _projected(write(Clip("a", x_TVCP, label=0), normalization=normalization), 0)
    across = {0: (cos(radians(20)), 0), depth: (sin(radians(20)), 0), up: (0, 1)}
    np.testing.assert_allclose(shown_TVSP[0, :3, :, 0], [across[axis] for axis in range(3)], atol=1e-6)
    assert np.isnan(shown_TVSP[0, :, :, 1]).all()  # a body that is absent is not drawn at the origin
    assert np.isnan(shown_TVSP[1]).all()


def test_a_joint_far_away_does_not_shrink_the_others() -> None:
    """One in a thousand lies a kilometre off; without anybody, and of a point, the box is not empty."""
    x_TVSP = np.random.default_rng(0).uniform(0, 1, (40, 25, 2, 1)).astype(np.float32)
    x_TVSP[7, 3] = 1000.0
    box = _box(x_TVSP)
    assert (box.left, box.bottom) == pytest.approx((0, 0), abs=0.02)
    assert (box.width, box.height) == pytest.approx((1, 1), abs=0.02)
    assert (_box(np.full((2, 25, 2, 1), np.nan)).width, _box(np.ones((2, 25, 2, 1))).height) == (1, 0.01)
