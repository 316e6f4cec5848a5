"""Augmented views a second, from the packed store against clip by clip in NumPy."""

from pathlib import Path

import numpy as np
import torch

from benchmarks import authors
from benchmarks.rows import Row
from benchmarks.step import LAYOUT, SHAPE
from benchmarks.timing import take_turns
from cmd_tune.data.augment import Strength, draw_view, keyed_generator, make_view
from cmd_tune.data.modalities import stack_modalities
from cmd_tune.data.store import Clip, Store, open_store, write_store

FRAMES, BATCH = 64, 64
STRENGTH = Strength(crop_min_frames=64, crop_min_share=0.1, shear_range=1.0, corrupted_share=0.6)


def write_random_store(path: Path, clips: int, classes: int = 10) -> Store:
    """Clips of NTU's layout and lengths, 2 bodies, random coordinates around a pose a class."""
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(classes, *SHAPE)).astype(np.float32)
    made = (
        Clip(
            name=f"clip{i}",
            joints_TVCP=poses[i % classes] + rng.normal(size=(int(length), *SHAPE)).astype(np.float32),
            label=i % classes,
            subject=i % 7,
        )
        for i, length in enumerate(rng.integers(40, 200, clips))
    )
    write_store(path, made, dataset="random", layout=LAYOUT, normalization="none")
    return open_store(path)


def clips_of(store: Store, chosen: np.ndarray) -> list[authors.Clip]:
    """Clips as the authors hold them: (C, T, V, P) each."""
    ranges = zip(store.start_N[chosen].tolist(), store.length_N[chosen].tolist(), strict=True)
    frames = (store.rows_FX[start : start + length].view(length, *SHAPE) for start, length in ranges)
    return [x.permute(2, 0, 1, 3).contiguous().numpy() for x in frames]


def view_rows(store: Store, device: torch.device, repeats: int) -> list[Row]:
    """Two views of a batch: as coordinates, and as the inputs of all branches."""
    chosen = np.random.default_rng(1).permutation(len(store))[:BATCH]
    theirs, rng = clips_of(store, chosen), np.random.default_rng(0)
    parents = authors.CMD(
        LAYOUT.parents, 1, hidden_size=1, layers=1, embedding_size=1, queue_size=1, topk=1, key_momentum=0
    )
    clips_B, rows_FX = torch.from_numpy(chosen), store.rows_FX.to(device)

    def ours_view() -> torch.Tensor:
        draws = draw_view(store.length_N[clips_B], len(LAYOUT.joints), STRENGTH, keyed_generator(0))
        return make_view(rows_FX, store.start_N[clips_B], draws, FRAMES, SHAPE)

    def their_view() -> np.ndarray:
        return np.stack([authors.view(clip, FRAMES, rng) for clip in theirs])

    def twice(view: object) -> None:
        for _ in range(2):
            view()  # type: ignore[operator]

    ways = {
        "ours": lambda: twice(ours_view),
        "theirs": lambda: twice(their_view),
        "ours, inputs": lambda: twice(lambda: stack_modalities(ours_view(), ("joint", "motion", "bone"), LAYOUT)),
        "theirs, inputs": lambda: twice(lambda: parents.modalities(torch.from_numpy(their_view()).to(device))),
    }
    taken = take_turns(ways, max(repeats, 9))
    rate = 2 * BATCH / taken["ours"].median
    return [
        Row("two views of a batch of 64", taken["ours"], taken["theirs"], note=f"{rate:,.0f} views a second"),
        Row("the same, as joint, motion and bone", taken["ours, inputs"], taken["theirs, inputs"]),
    ]
