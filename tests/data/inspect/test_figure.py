"""The figure of a store: which clips are drawn, and where their joints lie on the paper."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.inspect.figure import chosen_clips, draw_store
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
    assert [store.names[index] for index in chosen_clips(store)] == [f"{label}-3" for label in (0, 2, 4, 6, 8, 10)]


def test_one_clip_has_all_bodies_if_any_has(write: Callable[..., Store]) -> None:
    """In the last place, though it is not of its class's median length."""
    alone = [clip(f"alone {label}", [(1, 0)] * 3, label) for label in (0, 1, 2, 2)]
    store = write(*alone, clip("both", [(1, 1)] * 9, 2))
    assert [store.names[index] for index in chosen_clips(store)] == ["alone 0", "alone 1", "both"]
    store = write(*alone)
    assert [store.names[index] for index in chosen_clips(store)] == ["alone 0", "alone 1", "alone 2"]
