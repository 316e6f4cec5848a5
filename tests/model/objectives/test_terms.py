"""Objectives as the numbers that kernels read."""

import pytest
import torch

from cmd_tune.model.objectives import CMD, MCL, Base, CrosSCLR
from cmd_tune.model.objectives.terms import NUMBERS, numbers


def test_the_numbers_are_inverse_temperatures_weights_and_topk():
    objectives = [CMD(0.5, 0.25, 0.125, topk, weight) for topk, weight in ((3, 0.75), (7, 0.0))]
    expected = [[2.0, 8.0, 4.0, 1.0, 0.0, 0.75, 3.0], [2.0, 8.0, 4.0, 1.0, 0.0, 0.0, 7.0]]
    found = numbers(objectives, 7)
    assert (found.tolist(), found.dtype) == (expected, torch.float32)
    assert found.shape[1] == len(NUMBERS)


def test_the_forms_of_mutual_contrast_are_weights():
    found = numbers((MCL(0.25, "added"), MCL(0.5, "instead")), 9)
    assert found[:, NUMBERS.index("contrast_colder")].tolist() == [4.0, 2.0]
    assert found[:, NUMBERS.index("itself")].tolist() == [1.0, 0.0]
    assert found[:, NUMBERS.index("others")].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("topk", [2**24 - 1, 2**17 + 1])
def test_a_large_topk_is_exact(topk):
    assert numbers((CMD(0.1, 0.1, 0.1, topk, 1.0),), topk)[0, NUMBERS.index("topk")].item() == topk


def test_objectives_without_terms_have_none():
    assert numbers((CrosSCLR(0.1, 2, "with"), CrosSCLR(0.2, 3, "without")), 9) is None


@pytest.mark.parametrize(
    "other",
    [Base(0.1), MCL(0.1, "added"), CrosSCLR(0.1, 2, "with"), CMD(0.1, 0.1, 0.1, 2, 1.0, "consensus")],
    ids=lambda of: of.name,
)
def test_objectives_that_differ_in_more_than_numbers_are_refused(other):
    with pytest.raises(ValueError, match="differ in more than the numbers"):
        numbers((CMD(0.1, 0.1, 0.1, 2, 1.0), other), 9)


def test_more_neighbours_than_rows_are_refused_in_any_trial():
    with pytest.raises(ValueError, match="topk 10 exceeds the 9 rows of a bank"):
        numbers([CMD(0.1, 0.1, 0.1, topk, 1.0) for topk in (9, 10)], 9)
