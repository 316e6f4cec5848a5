"""The baseline without an encoder: nearest neighbours among the skeletons themselves.

A clip is 64 frames × all coordinates, five times as long as the paper's features: NTU RGB+D 60 would be 6.5 GB in three
streams. So features are made for a few thousand clips at a time, and not kept.
S stream (see similarity.py), M modality, N clip, B query of a block, Q query, G gallery of a block, F = T·V·C·P.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.threads import run_shared, steadily
from cmd_tune.data.splits import GalleryAndQueries
from cmd_tune.data.store import Store
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.evaluate.features import centre_views
from cmd_tune.evaluate.similarity import similarity_blocks

RAW_FRAMES = 64  # raw skeletons are compared at the paper's length, whatever the encoder sees
_BLOCK, _PART = 2048, 256  # clips: compared at once; made at once by a thread


@torch.no_grad()
def raw_predictions(store: Store, part: GalleryAndQueries, modalities: Sequence[str], block: int = _BLOCK) -> Tensor:
    """Labels of the queries' nearest gallery clips by cosine of whole clips, (S, Q)."""
    gallery_N, query_N = torch.from_numpy(part.gallery_N), torch.from_numpy(part.query_N)
    nearest = []
    for query_B in query_N.split(block):
        query_MBF = _features(store, query_B, modalities)
        best_SB = torch.full((len(modalities) + 2, len(query_B)), -torch.inf)
        clip_SB = torch.zeros(best_SB.shape, dtype=torch.long)
        for gallery_G in gallery_N.split(block):
            similarity_SBG = next(similarity_blocks(_features(store, gallery_G, modalities), query_MBF, block=block))
            here_SB, place_SB = similarity_SBG.max(2)
            nearer_SB = here_SB > best_SB
            best_SB = torch.where(nearer_SB, here_SB, best_SB)
            clip_SB = torch.where(nearer_SB, gallery_G[place_SB], clip_SB)
        nearest.append(clip_SB)
    return torch.from_numpy(store.label_N).long()[torch.cat(nearest, dim=1)]


@steadily
def _features(store: Store, clips_N: Tensor, modalities: Sequence[str]) -> Tensor:
    """(M, N, F) of whole clips, resized."""
    parts = clips_N.split(_PART)
    made = [torch.empty(0)] * len(parts)

    def make(index: int) -> None:
        x_BTVCP = centre_views(store, parts[index], RAW_FRAMES, torch.device("cpu"), share=1.0)
        made[index] = stack_modalities(x_BTVCP, modalities, store.layout).flatten(2)

    run_shared([partial(make, index) for index in range(len(parts))])
    return torch.cat(made, dim=1)
