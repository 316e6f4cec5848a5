"""Retrieval: training clips sorted by similarity to each test clip; those of its class should come first.

S stream (see similarity.py), M modality, Q query, B query of a block, G gallery in the order of similarity, F feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cmd_tune.evaluate.similarity import similarity_blocks

_BLOCK = 256  # queries; a sorted block is held with the places of its rows


@dataclass(frozen=True)
class Ranking:
    """Results per query. average_precision_SQ: 0 to 1. rank_SQ: the rank, from 1, of the first clip of its class."""

    average_precision_SQ: Tensor
    rank_SQ: Tensor

    def hits(self, k: int) -> Tensor:
        """Whether a clip of the query's class is among the first k, (S, Q): what recall@k counts."""
        return self.rank_SQ <= k


@torch.no_grad()
def rank(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, label_Q: Tensor) -> Ranking:
    """Sort the gallery by cosine for every query.

    Average precision is the mean, over the gallery's clips of the query's class, of the share of that class among the
    clips down to that one. A query whose class the gallery lacks has 0 and a rank behind all.
    """
    precision: list[Tensor] = []
    ranks: list[Tensor] = []
    place_G = torch.arange(1, len(label_G) + 1, device=label_G.device)
    start = 0
    for similarity_SBG in similarity_blocks(gallery_MGF, query_MQF, block=_BLOCK):
        label_B = label_Q[start : start + similarity_SBG.shape[1]]
        start += len(label_B)
        right_SBG = label_G[similarity_SBG.argsort(dim=2, descending=True)] == label_B[:, None]
        found_SBG = right_SBG.cumsum(2)
        total_SB = found_SBG[..., -1]
        sum_SB = (found_SBG / place_G * right_SBG).sum(2)
        precision.append(sum_SB / total_SB.clamp(min=1))
        ranks.append(torch.where(total_SB > 0, right_SBG.byte().argmax(2) + 1, len(label_G) + 1))
    return Ranking(torch.cat(precision, dim=1), torch.cat(ranks, dim=1))


def recall_ks(gallery: int) -> Sequence[int]:
    """The k of recall@k, up to the size of the gallery."""
    return [k for k in (1, 5, 10) if k <= gallery]
