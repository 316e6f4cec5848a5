"""Joints that were not seen, and bodies that are not there."""

import numpy as np

from cmd_tune.data.readers.confidences import without_unseen


def test_a_joint_of_no_confidence_is_nan_and_a_body_of_none_is_absent() -> None:
    x_PTVC = np.arange(1, 17, dtype=np.float64).reshape(2, 2, 2, 2)
    score_PTV = np.array([[[0.5, 0], [1, 1e-6]], [[0, 0], [np.nan, 0.1]]])
    nan = np.nan
    expected = [[[[1, 2], [nan, nan]], [[5, 6], [7, 8]]], [[[0, 0], [0, 0]], [[nan, nan], [15, 16]]]]
    ours = without_unseen(x_PTVC, score_PTV)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)


def test_what_stands_in_the_place_of_an_unseen_joint_does_not_matter() -> None:
    x_VC = np.array([[np.nan, np.inf], [3, 4]])
    np.testing.assert_array_equal(without_unseen(x_VC, np.array([0, 1])), [[np.nan, np.nan], [3, 4]])
    assert not without_unseen(x_VC, np.zeros(2)).any()
