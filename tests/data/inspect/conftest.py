"""A store of a few clips, some of whose bodies are missing in some frames."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store, write_store


def clip(name: str, present: list[tuple[int, int]], label: int = 0) -> Clip:
    """A frame per pair: whether each of two bodies is there."""
    x_TVCP = np.random.default_rng(label).normal(size=(len(present), 25, 3, 2)).astype(np.float32)
    return Clip(name, x_TVCP * np.array(present, np.float32)[:, None, None], label=label, subject=1 + label)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    clips = [
        clip("one body", [(1, 0)] * 4),
        clip("a second that comes late", [(1, 0), (1, 0), (1, 1)], 1),
        clip("both lost for a frame", [(1, 1), (0, 0), (1, 1), (1, 1), (1, 0)], 2),
        clip("nobody", [(0, 0)], 2),
    ]
    write_store(tmp_path / "a.arrow", clips, dataset="mine", layout=LAYOUTS["ntu-25"], normalization="none")
    return open_store(tmp_path / "a.arrow")
