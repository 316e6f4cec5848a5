"""Nearest skeletons in blocks, against all of them at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.data.splits import split_store
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.evaluate.features import centre_views
from cmd_tune.evaluate.knn import vote_predictions
from cmd_tune.evaluate.raw_skeletons import RAW_FRAMES, raw_predictions

MODALITIES = ("joint", "motion", "bone")


@pytest.mark.parametrize("block", [1, 5, 17, 4096])
def test_blocks_find_what_the_whole_finds(tiny_store, block):
    """Every clip has a label of its own, so that labels tell clips."""
    (part,) = split_store(tiny_store, "xview")[1].test
    store = replace(tiny_store, label_N=np.arange(len(tiny_store), dtype=np.int32))

    def whole(clips_N):
        x = centre_views(tiny_store, torch.from_numpy(clips_N), RAW_FRAMES, torch.device("cpu"), share=1.0)
        return stack_modalities(x, MODALITIES, tiny_store.layout).flatten(2)

    label_G = torch.from_numpy(store.label_N[part.gallery_N]).long()
    expected = vote_predictions(whole(part.gallery_N), whole(part.query_N), label_G, (1,))[1]
    ours = raw_predictions(store, part, MODALITIES, block=block)
    assert ours.shape == (5, len(part.query_N))
    assert torch.equal(ours, expected)
    assert len({tuple(row) for row in ours.tolist()}) > 1
