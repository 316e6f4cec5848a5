"""The scaling of the two distillations: the fit, and rows at small sizes."""

import pytest
import torch

from benchmarks.objective import MODALITIES, Sizes, _AuthorsObjective, _Step, cmd, fit_exponent, objective_rows


def test_the_fit_is_exact_on_a_power_and_the_slope_between_two_points() -> None:
    assert fit_exponent(MODALITIES, [3.0 * M**1.7 for M in MODALITIES]) == pytest.approx(1.7)
    assert fit_exponent((2, 8), (1.0, 2.0)) == pytest.approx(0.5)
    # Pairs alone, M (M − 1), are steeper than M² where M is small.
    assert fit_exponent(MODALITIES, [M * (M - 1) for M in MODALITIES]) == pytest.approx(2.42, abs=0.01)


def test_a_row_for_each_number_of_modalities() -> None:
    rows = objective_rows(torch.device("cpu"), 2, Sizes(batch=4, part=2, embedding=4, queue_size=32, topk=8))
    compared = [row for row in rows if row.theirs]
    assert len(rows) == 3 * len(MODALITIES) + 1
    assert len(compared) == 2 * len(MODALITIES) + 1
    assert all(row.ratio and len(row.ours.runs) == 2 for row in compared)
    assert sum(row.note.startswith("grows as M^") for row in rows) == 2


def test_the_authors_objective_has_our_numbers() -> None:
    sizes = Sizes(batch=4, part=2, embedding=8, queue_size=32, topk=8)
    device = torch.device("cpu")
    theirs = _AuthorsObjective(sizes, device)
    ours = _Step(3, sizes, cmd("pairwise", sizes), device)
    contrastive, distillation = theirs.model.losses(theirs.query, theirs.key)
    losses = ours.pretrainer.losses(ours.query_MBD, ours.key_MBD)
    assert (contrastive + distillation).item() == pytest.approx(losses.total.item(), rel=1e-5)
