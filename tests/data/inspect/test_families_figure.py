"""The figure of families."""

from pathlib import Path

import numpy as np

from cmd_tune.data.clip import Clip
from cmd_tune.data.inspect.families_figure import draw_families
from cmd_tune.data.inspect.posture import posture
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.store import open_store, write_store

KINECT = LAYOUTS["kinect-20"]


def test_the_figure_of_families_is_a_png(tmp_path: Path) -> None:
    """Also where a family refuses a clip: its shoulders are in one place."""
    bodies = [np.random.default_rng(n).normal(size=(1 + n, 20, 3, 1)).astype(np.float32) for n in range(3)]
    bodies[1][:, KINECT.left_shoulder] = bodies[1][:, KINECT.right_shoulder]
    clips = [Clip(f"clip-{n}", x_TVCP, label=n) for n, x_TVCP in enumerate(bodies)]
    write_store(tmp_path / "a.arrow", clips, dataset="mine", layout=KINECT, normalization="none")
    source = open_store(tmp_path / "a.arrow")
    families = dict.fromkeys(NORMALIZATIONS, posture(source))
    data = draw_families(source, families, tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
