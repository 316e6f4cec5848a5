"""Similarities that the methods are asked with."""

import pytest
import torch

from cmd_tune.model.objectives.contrast import info_nce


@pytest.fixture
def asked():
    """(positive_MAB, student_MABK, teacher_MBK) of three modalities that each ask their own bank."""
    generator = torch.Generator().manual_seed(0)
    M, B, K = 3, 5, 16
    shapes = ((M, 1, B), (M, 1, B, K), (M, B, K))
    return [2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1 for shape in shapes]


@pytest.fixture
def contrastive(asked):
    """What a method reports of each modality by itself, (M,), at temperature 0.07."""
    return info_nce(asked[0][:, 0], asked[1][:, 0], 0.07)
