"""Objectives and similarities that one_pass.cpp, and one_pass_kernels.py interpreted and on a GPU, are tested with.

P trials, M modalities, G of all trials, A that ask a bank, B samples, K bank rows, R rows of similarities.
"""

from dataclasses import replace

import torch

from cmd_tune.model.batch_loss import _losses_in_blocks
from cmd_tune.model.objectives import CMD, MCL, Base
from cmd_tune.model.objectives.terms import NUMBERS, numbers


def similarities(objective, M, B, K, seed=0, spread=0.3):
    """(positive_MAB, similarities_MRK) in float32, as BatchLoss has them."""
    generator = torch.Generator().manual_seed(seed)
    A = M if objective.asks_every_bank else 1
    rows = A * B + (B if objective.uses_keys else 0)
    positive, both = (torch.randn(*s, generator=generator).mul(spread).clamp(-1, 1) for s in ((M, A, B), (M, rows, K)))
    return positive, both


def of_one(losses):
    """A function of P trials as one of a single trial: (objective, positive_MAB, similarities_MRK)."""

    def of_it(objective, positive_MAB, similarities_MRK):
        found = losses((objective,), positive_MAB, similarities_MRK)
        return found and (found[0][0], found[1][0], found[2])

    return of_it


def by_kernels(launched):
    """one_pass_launch.losses as a function of what one_pass.losses is."""

    def losses(objectives, positive_GAB, similarities_GRK):
        numbers_PN = numbers(objectives, similarities_GRK.shape[2])
        if numbers_PN is None:
            numbers_PN = torch.empty(len(objectives), len(NUMBERS))
        return launched(objectives, numbers_PN.to(positive_GAB.device), positive_GAB, similarities_GRK)

    return losses


def compare(losses, objective, positive_MAB, similarities_MRK, within=2e-6):
    """Loss, figures and gradients against float64's; returns the gradient in the queries' similarities.

    A processor with eight lanes of float32 adds K terms in K / 8 steps, each of which rounds by half a unit in the last
    place of a sum that is half of the whole on average.
    """
    M, A, B = positive_MAB.shape
    exact_MRK, ours_MRK = similarities_MRK.double(), similarities_MRK.clone()
    loss, figures, grad_positive = _losses_in_blocks(objective, positive_MAB.double(), exact_MRK)
    ours = losses(objective, positive_MAB, ours_MRK)
    assert ours is not None
    within = max(within, similarities_MRK.shape[-1] / 16 * 2**-24)
    torch.testing.assert_close(ours[0].double(), loss, rtol=within, atol=1e-6)
    torch.testing.assert_close(ours[1].double(), figures, rtol=within, atol=1e-6)
    of_queries = slice(0, A * B)
    for mine, right in ((ours[2], grad_positive), (ours_MRK[:, of_queries], exact_MRK[:, of_queries])):
        assert (mine.double() - right).norm() <= within * right.norm() + 1e-12
    return ours_MRK[:, of_queries].view(M, A, B, -1)


def every_objective(topk, **temperatures):
    cold = {"contrast_temperature": 0.07, "teacher_temperature": 0.05, "student_temperature": 0.1, **temperatures}
    contrast = cold["contrast_temperature"]
    return {
        "base": Base(contrast),
        "mcl": MCL(contrast, "added"),
        "mcl instead": MCL(contrast, "instead"),
        "cmd": CMD(**cold, topk=topk, distill_weight=0.7),
        "consensus": CMD(**cold, topk=topk, distill_weight=0.7, distillation="consensus"),
        "weight 0": CMD(**cold, topk=topk, distill_weight=0.0),
    }


NAMES = tuple(every_objective(1))


KINDS = ("base", "mcl", "cmd", "consensus")


def of_trials(kind, P, most):
    """Objectives of P trials, which differ in every number, of MCL's in the form; topk goes from 1 to most."""
    trials = []
    for p in range(P):
        warmer = {"contrast_temperature": 0.07 + 0.02 * p, "student_temperature": 0.1 + 0.03 * p}
        warmer["teacher_temperature"] = 0.05 + 0.01 * p
        objective = every_objective(1 + (most - 1) * p // max(1, P - 1), **warmer)[kind]
        other = {"base": {}, "mcl": {"mcl_form": ("added", "instead")[p % 2]}}
        trials.append(replace(objective, **other.get(kind, {"distill_weight": 0.7 + 0.4 * p})))
    return trials


def side_by_side(objectives, M, B, K):
    """(positive_GAB, similarities_GRK), each trial's with a seed of its own."""
    trials = [similarities(objective, M, B, K, seed) for seed, objective in enumerate(objectives)]
    return [torch.cat(x) for x in zip(*trials, strict=True)]
