"""What each method makes of the similarities: which terms are in its loss, which are only reported."""

import pytest
import torch

from cmd_tune.model.objectives import CMD, MCL, Base, CrosSCLR
from cmd_tune.model.objectives.contrast import info_nce
from cmd_tune.model.objectives.crossclr import cross_view_contrast
from cmd_tune.model.objectives.distillation import consensus_distillation, pairwise_distillation

M, B, K = 3, 5, 16
TEMPERATURES = {"student_temperature": 0.1, "teacher_temperature": 0.05}


@pytest.fixture
def asked():
    """(positive_MAB, student_MABK, teacher_MBK) where each modality asks its own bank."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((M, 1, B), (M, 1, B, K), (M, B, K))
    return [2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1 for shape in shapes]


@pytest.fixture
def contrastive(asked):
    return info_nce(asked[0][:, 0], asked[1][:, 0], 0.07)


def test_base_is_the_contrastive_terms_alone(asked, contrastive):
    total, between, own = Base(0.07)(*asked)
    assert total.item() == pytest.approx(contrastive.sum().item())
    assert between.item() == 0.0
    assert torch.equal(own, contrastive)


@pytest.mark.parametrize(
    ("name", "function"), [("pairwise", pairwise_distillation), ("consensus", consensus_distillation)]
)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_cmd_adds_the_weighted_distillation(asked, contrastive, name, function, weight):
    expected = function(asked[1][:, 0], asked[2], 4, **TEMPERATURES)
    total, between, own = CMD(0.07, 0.05, 0.1, 4, weight, name)(*asked)
    assert between.item() == pytest.approx(expected.item())
    assert total.item() == pytest.approx((contrastive.sum() + weight * expected).item())
    assert torch.equal(own, contrastive)


@pytest.mark.parametrize("context", ["with", "without"])
def test_crossclr_takes_the_place_of_base(asked, contrastive, context):
    """The contrastive terms are reported, and have no gradient."""
    expected = cross_view_contrast(
        asked[0][:, 0], asked[1][:, 0], 2, context=context == "with", contrast_temperature=0.07
    )
    total, between, own = CrosSCLR(0.07, 2, context)(asked[0].requires_grad_(), asked[1].requires_grad_(), asked[2])
    assert total.item() == between.item() == pytest.approx(expected.sum().item())
    torch.testing.assert_close(own, contrastive)
    assert not own.requires_grad


@pytest.mark.parametrize("form", ["added", "instead"])
def test_mcl_is_added_or_instead(form):
    generator = torch.Generator().manual_seed(0)
    positive, student = (torch.rand(M, M, B, *rest, generator=generator).double() for rest in ((), (K,)))
    pairs = info_nce(positive, student, 0.07)
    total, between, own = MCL(0.07, form)(positive, student, student[:, 0, :0])
    assert torch.equal(own, pairs.diagonal())
    assert between.item() == pytest.approx(pairs.sum().item() - own.sum().item())
    assert total.item() == pytest.approx(pairs.sum().item() if form == "added" else between.item())
