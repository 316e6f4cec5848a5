"""Features of clips: the 2H vector before the head, in eval mode, of the centre crop.

They depend on clip and encoders alone, to the last digit: not on threads or workers, nor on the order of the clips.
M modality, N clip, B sample, T frame, X input channel, F feature.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.compute.device import to_device
from cmd_tune.compute.threads import run_shared, steady
from cmd_tune.data.store import Store
from cmd_tune.data.views.crop_shear import centre_crop, crop_resize
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.model.encoders import Encoder
from cmd_tune.train.distributed import sum_over_workers, world

_BATCH, _GPU_BATCH = 64, 256  # a thread of a CPU has a batch of its own

Views = Callable[[Tensor], Tensor]  # places in a list of clips (B) → what the encoders see of them, (B, T, V, C, P)


def centre_views(store: Store, clips_B: Tensor, frames: int, device: torch.device, share: float = 0.95) -> Tensor:
    """The evaluation view of clips, (B, T, V, C, P): the middle `share` of the frames, resized."""
    start_B, length_B = centre_crop(store.length_N[clips_B], share)
    x_BTX = crop_resize(store.rows_FX, store.start_N[clips_B] + start_B, length_B, frames)
    return to_device(x_BTX, device).unflatten(2, store.frame_shape())


def extract_features(
    encoders: Encoder,
    store: Store,
    clips_N: NDArray[np.int64],
    *,
    modalities: Sequence[str],
    frames: int,
    batch_size: int | None = None,
    views: Views | None = None,
) -> Tensor:
    """Features of the clips, (M, N, 2H) on the encoders' device; the workers share the work and all get the result.

    views: makes the views of some of the clips, by their positions in clips_N; None: their centre crops.
    """
    # Batches are of the clips in the store's order, each as large as the others: products of other shapes, or a row's
    # place in them, may round otherwise.
    encoders.eval()
    device = encoders.device
    on_cpu = device.type == "cpu"
    size = batch_size or (_BATCH if on_cpu else _GPU_BATCH)
    rank, workers = world()
    clip_N = torch.from_numpy(clips_N)
    order_N = torch.from_numpy(np.argsort(clips_N, kind="stable"))
    features_MNF = torch.zeros(
        len(modalities), len(clips_N), encoders.feature_size, dtype=encoders.feature_dtype, device=device
    )

    @torch.no_grad()
    def extract(start: int) -> None:
        place_B = order_N[start : start + size]
        whole_B = torch.cat((place_B, place_B[-1:].expand(size - len(place_B))))
        x_BTVCP = views(whole_B) if views else centre_views(store, clip_N[whole_B], frames, device)
        features_MBF = encoders.features(stack_modalities(x_BTVCP, modalities, store.layout))
        features_MNF[:, to_device(place_B, device)] = features_MBF[:, : len(place_B)]

    batches = [partial(extract, start) for start in range(rank * size, len(clips_N), workers * size)]
    if on_cpu:
        with steady():
            run_shared(batches)
    else:
        for batch in batches:
            batch()
    return sum_over_workers(features_MNF)
