"""Launches one_pass_kernels.py: three kernels for CMD pair by pair, five by consensus, two for the others, each for all
trials.

P trial, M modality of a bank, G of all trials' modalities (a trial's M follow each other), A modality that asks a bank,
B sample, K bank row, R row of similarities, F figure, N number.
"""

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from cmd_tune.model.objectives.objective import Objective
from cmd_tune.model.objectives.one_pass_kernels import _learn, _look, _sum_other_teachers, _sum_up
from cmd_tune.model.objectives.terms import NUMBERS, Terms

MOST_ROWS = 2**17  # of a bank; above 2**14 a part of a row is kept in memory, since registers do not suffice
COLUMNS = 256  # per program of _sum_other_teachers
SUMMED = 128  # terms of a modality that _sum_up adds at a time


def losses(
    objectives: Sequence[Objective], numbers_PN: Tensor, positive_GAB: Tensor, similarities_GRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """`one_pass.losses` on a GPU; None for CrosSCLR, for other types than float32 and for banks above MOST_ROWS.

    numbers_PN: `terms.numbers` of the objectives on the device, from where alone the kernels read what may differ
    between the trials. The host does not wait. Raises ValueError if topk exceeds the rows.
    """
    P, (G, A, B), (R, K) = len(objectives), positive_GAB.shape, similarities_GRK.shape[1:]
    M = G // P
    of = terms_of(objectives, positive_GAB.dtype, K)
    if of is None:
        return None
    if numbers_PN.shape != (P, len(NUMBERS)):
        raise ValueError(f"numbers of shape {tuple(numbers_PN.shape)} are not those of {P} objectives")
    positive_GAB = positive_GAB.contiguous()
    grad_positive_GAB, contrast_GAB = torch.empty_like(positive_GAB), torch.empty_like(positive_GAB)
    hit_GB, distilled_GB = positive_GAB.new_empty(2, G, B)
    neighbours_2GB = positive_GAB.new_empty(2, G, B, dtype=torch.int32)
    softmax_2GB = positive_GAB.new_empty(2, G, B)
    asked = (similarities_GRK, numbers_PN)
    row = in_registers(K)

    def look(choose: bool, exponential: bool) -> None:
        flags = {"choose": choose, "exponential": exponential}
        _look[(B, G)](*asked, neighbours_2GB, softmax_2GB, M, R, K, **flags, **row)

    if of.distillation == "pairwise":
        look(choose=True, exponential=True)
    if of.distillation == "consensus":
        look(choose=False, exponential=True)
        _sum_other_teachers[(triton.cdiv(K, COLUMNS), B, P)](
            *(*asked, softmax_2GB, M, R, K), modalities=triton.next_power_of_2(M), columns=COLUMNS
        )
        look(choose=True, exponential=False)
    _learn[(B, G * A)](
        *(*asked, positive_GAB, neighbours_2GB, softmax_2GB),
        *(grad_positive_GAB, contrast_GAB, hit_GB, distilled_GB, A, R, K),
        M=M,
        distillation=of.distillation,
        **row,
    )
    loss_P, figures_PF = positive_GAB.new_empty(P), positive_GAB.new_empty(P, 1 + 2 * M)
    _sum_up[(P,)](
        *(numbers_PN, contrast_GAB, hit_GB, distilled_GB, loss_P, figures_PF, M, A, B),
        modalities=triton.next_power_of_2(M),
        distills=of.distillation is not None,
        columns=SUMMED,
    )
    return loss_P, figures_PF, grad_positive_GAB


def terms_of(objectives: Sequence[Objective], dtype: torch.dtype, rows: int) -> Terms | None:
    """The terms that the launches compute; None if they cannot compute these objectives. rows: K."""
    return objectives[0].terms(rows) if dtype == torch.float32 and rows <= MOST_ROWS else None


def in_registers(rows: int) -> dict[str, int]:
    """The size of a program that holds a row of a bank's similarities: 16 values per thread, with up to 32 warps."""
    block = triton.next_power_of_2(rows)
    return {"block": block, "num_warps": min(max(block // 512, 4), 32)}
