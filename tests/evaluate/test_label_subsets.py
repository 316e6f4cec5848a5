import numpy as np
import pytest

from cmd_tune.evaluate.label_subsets import stratified_subset

LABELS = np.repeat(np.arange(4, dtype=np.int32), [200, 100, 30, 2])[np.random.default_rng(0).permutation(332)]


@pytest.mark.parametrize(("share", "counts"), [(0.01, [2, 1, 1, 1]), (0.1, [20, 10, 3, 1]), (1.0, [200, 100, 30, 2])])
def test_the_same_share_of_every_class_and_at_least_one(share, counts):
    places = stratified_subset(LABELS, share, 0)
    assert np.bincount(LABELS[places]).tolist() == counts
    assert (np.diff(places) > 0).all()


def test_decided_by_the_key():
    assert stratified_subset(LABELS, 0.1, 0, 1).tolist() == stratified_subset(LABELS, 0.1, 0, 1).tolist()
    assert stratified_subset(LABELS, 0.1, 0, 1).tolist() != stratified_subset(LABELS, 0.1, 0, 2).tolist()
