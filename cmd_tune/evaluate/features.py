"""Features of clips: the 2H vector before the head, in eval mode, of the centre crop.

M modality, N clip, B sample, T frame, X input channel, F feature.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.data.augment import centre_crop, crop_resize
from cmd_tune.data.modalities import stack_modalities
from cmd_tune.data.store import Store
from cmd_tune.data.transfer import onto
from cmd_tune.model.encoder import Encoders
from cmd_tune.train.distributed import sum_over_workers, world

Views = Callable[[Tensor], Tensor]  # places in a list of clips (B) → what the encoders see of them, (B, T, V, C, P)


def centre_views(store: Store, clips_B: Tensor, frames: int, device: torch.device, share: float = 0.95) -> Tensor:
    """The evaluation view of clips, (B, T, V, C, P): the middle `share` of the frames, resized."""
    start_B, length_B = centre_crop(store.length_N[clips_B], share)
    x_BTX = crop_resize(store.rows_FX, store.start_N[clips_B] + start_B, length_B, frames)
    return onto(x_BTX, device).unflatten(2, store.frame_shape())


@torch.no_grad()
def extract_features(
    encoders: Encoders,
    store: Store,
    clips_N: NDArray[np.int64],
    *,
    modalities: Sequence[str],
    frames: int,
    batch_size: int = 256,
    views: Views | None = None,
) -> Tensor:
    """Features of the clips, (M, N, 2H) on the encoders' device; the workers share the work and all get the result.

    views: of some of the clips, by their places in clips_N; the centre crop where it is None.
    """
    encoders.eval()
    device = encoders.input_norm.weight.device
    rank, workers = world()
    features_MNF: Tensor | None = None
    for start in range(rank * batch_size, len(clips_N), workers * batch_size):
        place_B = torch.arange(start, min(start + batch_size, len(clips_N)))
        clips_B = torch.from_numpy(clips_N)[place_B]
        x_BTVCP = views(place_B) if views else centre_views(store, clips_B, frames, device)
        features_MBF = encoders.features(stack_modalities(x_BTVCP, modalities, store.layout))
        if features_MNF is None:
            features_MNF = features_MBF.new_zeros(len(modalities), len(clips_N), features_MBF.shape[2])
        features_MNF[:, start : start + len(clips_B)] = features_MBF
    if features_MNF is None:
        features_MNF = torch.zeros(len(modalities), len(clips_N), encoders.feature_size, device=device)
    return sum_over_workers(features_MNF)
