"""Augmented views a second, from the packed store against clip by clip in NumPy."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks import authors
from benchmarks.rows import Row
from benchmarks.step import LAYOUT, SHAPE
from benchmarks.timing import take_turns
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.clip import Clip
from cmd_tune.data.store import Store, open_store, write_store
from cmd_tune.data.views.crop_shear import CropShear
from cmd_tune.data.views.modalities import stack_modalities

FRAMES, BATCH, BATCHES = 64, 64, 8
VIEW = CropShear(crop_min_frames=64, crop_min_share=0.1, shear_range=1.0, corrupted_share=0.6)


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
    """Two views of each of some batches: as coordinates, and as the inputs of all branches."""
    order_N = np.random.default_rng(1).permutation(len(store))[: BATCHES * BATCH].reshape(BATCHES, BATCH)
    theirs = [clips_of(store, chosen) for chosen in order_N]
    clips_NB, rng = torch.from_numpy(order_N), np.random.default_rng(0)
    model = authors.CMD(
        LAYOUT.parents, 1, hidden_size=1, layers=1, embedding_size=1, queue_size=1, topk=1, key_momentum=0
    )
    near = store.on_device_if_it_fits(device)

    def ours_views() -> Iterator[torch.Tensor]:
        for batch, clips_B in enumerate(clips_NB.repeat(1, 2)):
            generator = keyed_generator("views", batch)
            draws = VIEW.draw(store.length_N[clips_B], len(LAYOUT.joints), generator)
            yield VIEW.make(near.rows_FX, store.start_N[clips_B], draws, FRAMES, SHAPE)

    def their_views() -> Iterator[np.ndarray]:
        for clips in theirs:
            for _ in range(2):
                yield np.stack([authors.view(clip, FRAMES, rng) for clip in clips])

    def ours_inputs() -> None:
        for x_BTVCP in ours_views():
            stack_modalities(x_BTVCP, ("joint", "motion", "bone"), LAYOUT)

    def their_inputs() -> None:
        for x_NCTVP in their_views():
            model.modalities(torch.from_numpy(x_NCTVP).to(device))

    ways = {
        "ours": lambda: deque(ours_views(), maxlen=0),
        "theirs": lambda: deque(their_views(), maxlen=0),
        "ours, inputs": ours_inputs,
        "theirs, inputs": their_inputs,
    }
    taken = take_turns(ways, repeats)
    rate = 2 * BATCHES * BATCH / taken["ours"].median
    return [
        Row(f"two views of {BATCHES} batches of {BATCH}", taken["ours"], taken["theirs"], note=f"{rate:,.0f} a second"),
        Row("the same, as joint, motion and bone", taken["ours, inputs"], taken["theirs, inputs"]),
    ]
