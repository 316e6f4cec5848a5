"""Nearest neighbours by cosine similarity, in blocks of matrix products.

S stream (see similarity.py), M modality, Q query, B query of a block, G gallery, F feature, N neighbour.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmd_tune.evaluate.similarity import similarity_blocks


@torch.no_grad()
def knn_predictions(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, block: int = 1024) -> Tensor:
    """Labels of the queries' nearest gallery rows, (M + 1, Q): by each modality, and last by their mean cosine."""
    blocks = similarity_blocks(gallery_MGF, query_MQF, concatenated=False, block=block)
    return label_G[torch.cat([similarity_SBG.argmax(2) for similarity_SBG in blocks], dim=1)]


@torch.no_grad()
def vote_predictions(
    gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, ks: Sequence[int], block: int = 1024
) -> dict[int, Tensor]:
    """Labels by a vote of the k nearest gallery rows, (S, Q) for each k.

    Every neighbour has one vote; of classes with equal votes, the one with the nearest member wins. A k larger than the
    gallery takes all of it.
    """
    most = min(max(ks), len(label_G))
    labels = []
    for similarity_SBG in similarity_blocks(gallery_MGF, query_MQF, block=block):
        nearest_SBN = similarity_SBG.argmax(2)[..., None] if most == 1 else similarity_SBG.topk(most, dim=2).indices
        labels.append(label_G[nearest_SBN])
    label_SQN = torch.cat(labels, dim=1)
    return {k: _majority(label_SQN[..., :k]) for k in ks}


def _majority(label_SQN: Tensor) -> Tensor:
    """The label most frequent among neighbours sorted by distance; of equally frequent ones, the first."""
    votes_SQN = (label_SQN[..., :, None] == label_SQN[..., None, :]).sum(3)
    places_N = torch.arange(label_SQN.shape[2], 0, -1, device=label_SQN.device)
    winner_SQ1 = (votes_SQN * len(places_N) + places_N).argmax(2, keepdim=True)
    return label_SQN.gather(2, winner_SQ1)[..., 0]
