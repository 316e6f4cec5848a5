"""1-nearest-neighbour accuracy by cosine similarity, in blocks of matrix products.

M modality, Q query, G gallery, F feature.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def knn_predictions(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, block: int = 1024) -> Tensor:
    """Labels of the queries' nearest gallery rows, (M + 1, Q): by each modality, and last by their mean cosine."""
    gallery_MGF, query_MQF = F.normalize(gallery_MGF, dim=2), F.normalize(query_MQF, dim=2)
    gallery_MFG = gallery_MGF.transpose(1, 2)
    nearest = []
    for query_MBF in query_MQF.split(block, dim=1):
        cosine_MBG = query_MBF @ gallery_MFG
        nearest.append(torch.cat((cosine_MBG.argmax(2), cosine_MBG.mean(0).argmax(1)[None])))
    return label_G[torch.cat(nearest, dim=1)]
