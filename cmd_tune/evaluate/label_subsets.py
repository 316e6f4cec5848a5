"""Random subsets of the labelled clips, for semi-supervised evaluation."""

import numpy as np
import torch
from numpy.typing import NDArray

from cmd_tune.compute.random_keys import keyed_generator


def stratified_subset(label_N: NDArray[np.int32], share: float, *key: int | str) -> NDArray[np.int64]:
    """Positions of a random `share` of each class's clips, at least one per class; sorted, and decided by the key."""
    chosen = []
    for label in np.unique(label_N):
        places = np.flatnonzero(label_N == label)
        order = torch.randperm(len(places), generator=keyed_generator(*key, "subset", int(label))).numpy()
        chosen.append(places[order[: max(1, round(share * len(places)))]])
    return np.sort(np.concatenate(chosen))
