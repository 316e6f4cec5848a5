"""The objectives' losses and gradients as Triton kernels: what one_pass.cpp does on a CPU, with the same numbers.

Three kernels for CMD pair by pair, five by consensus, two for the others. One program has one row of a bank's
similarities, in registers. No row is gathered: a teacher's neighbours are the rows above a bound, which bisection
finds, and among the rows equal to the bound those before an end.
M modality of a bank, A modality that asks it, B sample, K bank row, R row of similarities.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmd_tune.model.objectives.objective import Objective

MOST_ROWS = 2**17  # of a bank; above 2**14 a part of a row is kept in memory, since registers do not suffice
COLUMNS = 256  # per program of _sum_other_teachers
SUMMED = 128  # terms of a modality that _sum_up adds at a time
LEAST = tl.constexpr(-(2**31))
NOWHERE = tl.constexpr(-1e20)  # a similarity to no neighbour, whose exponential is 0: finite, hence times 0 is 0


def losses(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """`one_pass.losses` on a GPU; None for CrosSCLR, for other types than float32 and for banks above MOST_ROWS.

    The host does not wait. Raises ValueError if topk exceeds the rows.
    """
    M, A, B = positive_MAB.shape
    R, K = similarities_MRK.shape[1:]
    of = objective.terms(K)
    if of is None or positive_MAB.dtype != torch.float32 or K > MOST_ROWS:
        return None
    positive_MAB = positive_MAB.contiguous()
    grad_positive_MAB, contrast_MAB = torch.empty_like(positive_MAB), torch.empty_like(positive_MAB)
    hit_MB, distilled_MB = positive_MAB.new_empty(2, M, B)
    neighbours_2MB = positive_MAB.new_empty(2, M, B, dtype=torch.int32)
    softmax_2MB = positive_MAB.new_empty(2, M, B)
    colder = 1 / of.teacher_temperature
    row = in_registers(K)

    def look(choose: bool, exponential: bool) -> None:
        _look[(B, M)](
            *(similarities_MRK, neighbours_2MB, softmax_2MB, colder, of.topk, R, K),
            choose=choose,
            exponential=exponential,
            **row,
        )

    if of.distillation == "pairwise":
        look(choose=True, exponential=True)
    if of.distillation == "consensus":
        look(choose=False, exponential=True)
        _sum_other_teachers[(triton.cdiv(K, COLUMNS), B)](
            *(similarities_MRK, softmax_2MB, colder, M, R, K), modalities=triton.next_power_of_2(M), columns=COLUMNS
        )
        look(choose=True, exponential=False)
    _learn[(B, M * A)](
        *(similarities_MRK, positive_MAB, neighbours_2MB, softmax_2MB),
        *(grad_positive_MAB, contrast_MAB, hit_MB, distilled_MB),
        *(1 / of.contrast_temperature, 1 / of.student_temperature, colder),
        *(of.itself / B, of.others / B, of.distill_weight / B, A, R, K),
        M=M,
        distillation=of.distillation,
        **row,
    )
    loss, figures = positive_MAB.new_empty(()), positive_MAB.new_empty(1 + 2 * M)
    _sum_up[(1,)](
        *(contrast_MAB, hit_MB, distilled_MB, loss, figures, of.itself, of.others, of.distill_weight, M, A, B),
        modalities=triton.next_power_of_2(M),
        distills=of.distillation is not None,
        columns=SUMMED,
    )
    return loss, figures, grad_positive_MAB


def in_registers(rows: int) -> dict[str, int]:
    """The size of a program that holds a row of a bank's similarities: 16 values per thread, with up to 32 warps."""
    block = triton.next_power_of_2(rows)
    return {"block": block, "num_warps": min(max(block // 512, 4), 32)}


@triton.jit
def _in_order(bits):  # type: ignore[no-untyped-def]
    """From a float32's bits to an integer in the order of the numbers, and back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _keys(x, there):  # type: ignore[no-untyped-def]
    """Integers in the order of x; the least one outside the row."""
    return tl.where(there, _in_order(x.to(tl.int32, bitcast=True)), LEAST)


@triton.jit
def _count(of):  # type: ignore[no-untyped-def]
    return tl.sum(of.to(tl.int32), 0)


@triton.jit  # type: ignore[untyped-decorator]
def _choose(key, j, topk, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """(bound, end): the topk largest are the keys above the bound, and those equal to it at a j below end."""
    bound = tl.full((), LEAST, tl.int32)
    reached = tl.full((), block, tl.int32)
    one = tl.full((), 1, tl.int32)
    bit = tl.full((), 31, tl.int32)
    while (bit >= 0) & (reached != topk):
        tried = bound ^ (one << bit)
        count = _count(key >= tried)
        bound = tl.where(count >= topk, tried, bound)
        reached = tl.where(count >= topk, count, reached)
        bit -= 1
    end = tl.full((), block, tl.int32)
    if reached > topk:
        room = topk - _count(key > bound)
        end = end - block
        step = tl.full((), block, tl.int32)
        while step > 0:
            fits = _count((key == bound) & (j < end + step)) <= room
            end = tl.where(fits, end + step, end)
            step = step // 2
    return bound, end


@triton.jit(do_not_specialize=["topk", "R"])  # type: ignore[untyped-decorator]
def _look(  # type: ignore[no-untyped-def]
    similarities,  # (M, R, K) the last B of R are of the keys
    neighbours,  # (2, M, B) bound and end, as _choose has them, with choose
    softmax,  # (2, M, B) the largest number, with exponential; and the sum over the neighbours, or over all rows
    colder,  # 1 / the teacher's temperature
    topk,
    R,
    K,
    choose: tl.constexpr,
    exponential: tl.constexpr,  # the sum is of exponentials, as for a softmax
    block: tl.constexpr,
):
    """A teacher's neighbours of a sample, and what their distribution is divided by."""
    b, m, B, M = tl.program_id(0), tl.program_id(1), tl.num_programs(0), tl.num_programs(1)
    j = tl.arange(0, block)
    there = j < K
    row = similarities + ((m + 1).to(tl.int64) * R - B + b) * K
    x = tl.load(row + j, mask=there, other=float("-inf"))
    at = m * B + b
    chosen = there
    if choose:
        key = _keys(x, there)
        bound, end = _choose(key, j, topk, block)
        tl.store(neighbours + at, bound)
        tl.store(neighbours + M * B + at, end)
        chosen = (key > bound) | ((key == bound) & (j < end))
        x = tl.where(there, _in_order(key).to(tl.float32, bitcast=True), float("-inf"))
    if exponential:
        top = tl.max(x, 0)
        tl.store(softmax + at, top)
        x = tl.exp((x - top) * colder)
    tl.store(softmax + M * B + at, tl.sum(tl.where(chosen, x, 0.0), 0))


@triton.jit
def _probabilities(similarities, softmax, colder, a, b, j, M, B, R, K):  # type: ignore[no-untyped-def]
    """Of teachers a on rows j; 0 for teachers that there are not. The last term is distillation.py's."""
    there = (a >= 0) & (a < M) & (j < K)
    t = tl.load(similarities + ((a + 1).to(tl.int64) * R - B + b) * K + j, mask=there, other=0.0)
    at, known = softmax + a * B + b, (a >= 0) & (a < M)
    top, total = tl.load(at, mask=known, other=0.0), tl.load(at + M * B, mask=known, other=1.0)
    return tl.where(there, tl.exp((t - top) * colder) / total + 1e-37 * (1.0 + t), 0.0)


@triton.jit(do_not_specialize=["M", "R"])  # type: ignore[untyped-decorator]
def _sum_other_teachers(  # type: ignore[no-untyped-def]
    similarities,  # (M, R, K) the last B of R are of the keys; afterwards the sums of the others' distributions
    softmax,  # (2, M, B) _look's, over all rows
    colder,
    M,
    R,
    K,
    modalities: tl.constexpr,  # M or more
    columns: tl.constexpr,
):
    """distillation.py's sums of a sample in a block of columns: what stands before one's own, and what after it."""
    b, B = tl.program_id(1), tl.num_programs(1)
    m = tl.arange(0, modalities)[:, None]
    j = tl.program_id(0) * columns + tl.arange(0, columns)[None, :]
    before = tl.cumsum(_probabilities(similarities, softmax, colder, m - 1, b, j, M, B, R, K), 0)
    after = tl.cumsum(_probabilities(similarities, softmax, colder, m + 1, b, j, M, B, R, K), 0, reverse=True)
    tl.debug_barrier()  # what one thread writes another may have to read first
    row = similarities + ((m + 1).to(tl.int64) * R - B + b) * K
    tl.store(row + j, before + after, mask=(m < M) & (j < K))


@triton.jit(do_not_specialize=["A", "R"])  # type: ignore[untyped-decorator]
def _learn(  # type: ignore[no-untyped-def]
    similarities,  # (M, R, K) of queries, (A, B) of the R, and of keys; afterwards those of queries are the gradient
    positive,  # (M, A, B)
    neighbours,  # (2, M, B) _look's
    softmax,  # (2, M, B) _look's
    grad_positive,  # (M, A, B)
    contrast,  # (M, A, B)
    hit,  # (M, B) 1 if the positive beats the whole bank
    distilled,  # (M, B) what the student learns from all its teachers, with a distillation
    contrast_colder,  # 1 / temperatures
    student_colder,
    teacher_colder,
    itself,  # weights, by the samples
    others,
    distill,
    A,
    R,
    K,
    M: tl.constexpr,
    distillation: tl.constexpr,
    block: tl.constexpr,
):
    """The terms of a query and a bank, and their gradient, which is added up in memory: a row more would not fit."""
    b, B = tl.program_id(0), tl.num_programs(0)
    m, a = tl.program_id(1) // A, tl.program_id(1) % A
    its_own = (A == 1) | (a == m)
    j = tl.arange(0, block)
    there = j < K
    row = similarities + (m.to(tl.int64) * R + a * B + b) * K
    x = tl.load(row + j, mask=there, other=float("-inf"))

    at = tl.program_id(1) * B + b
    of_positive = tl.load(positive + at)
    in_bank = tl.max(x, 0)
    top = tl.maximum(of_positive, in_bank)
    e = tl.exp((x - top) * contrast_colder)
    of_bank = tl.sum(e, 0)
    total = of_bank + tl.exp((of_positive - top) * contrast_colder)
    by = tl.where(its_own, itself, others) * contrast_colder / total
    tl.store(row + j, by * e, mask=there)
    tl.store(contrast + at, tl.log(total) - (of_positive - top) * contrast_colder)
    tl.store(grad_positive + at, -by * of_bank)
    if its_own:
        tl.store(hit + m * B + b, (of_positive > in_bank).to(tl.float32))

    if distillation is not None:
        apart = 0.0
        pairs = M - 1 if distillation == "consensus" else 1  # that a teacher stands for
        by = pairs * distill * student_colder
        for i in range(1 if distillation == "consensus" else M - 1):
            t = m if distillation == "consensus" else i + (i >= m).to(tl.int32)
            taught = t * B + b
            y = tl.load(similarities + ((t + 1).to(tl.int64) * R - B + b) * K + j, mask=there, other=0.0)
            key, bound, end = _keys(y, there), tl.load(neighbours + taught), tl.load(neighbours + M * B + taught)
            chosen = (key > bound) | ((key == bound) & (j < end))
            top_s = tl.max(tl.where(chosen, x, NOWHERE), 0)
            y = tl.where(chosen, y, NOWHERE)
            total_t = tl.load(softmax + M * B + taught)
            if distillation == "consensus":
                p = tl.maximum(y, 0.0) / total_t
                log_p = tl.log(tl.where(p > 0, p, 1.0))
            else:
                log_p = (y - tl.load(softmax + taught)) * teacher_colder
                p = tl.exp(log_p) / total_t
                log_p -= tl.log(total_t)
            log_s = (tl.where(y > NOWHERE, x, NOWHERE) - top_s) * student_colder
            s = tl.exp(log_s)
            total_s = tl.sum(s, 0)
            apart += pairs * (tl.sum(p * (log_p - log_s), 0) + tl.log(total_s))
            tl.debug_barrier()  # what was written may have been another thread's
            gradient = tl.load(row + j, mask=there, other=0.0)
            tl.store(row + j, gradient + by * (s / total_s - p), mask=there)
        tl.store(distilled + m * B + b, apart)


@triton.jit(do_not_specialize=["M", "A", "B"])  # type: ignore[untyped-decorator]
def _sum_up(  # type: ignore[no-untyped-def]
    contrast,  # (M, A, B)
    hit,  # (M, B)
    distilled,  # (M, B), with distills
    loss,  # ()
    figures,  # (1 + 2M,)
    itself,
    others,
    distill,
    M,
    A,
    B,
    modalities: tl.constexpr,  # M or more
    distills: tl.constexpr,
    columns: tl.constexpr,
):
    """The loss and the figures of the batch, of each sample's."""
    m = tl.arange(0, modalities)
    rows = m[:, None]
    own = tl.zeros((modalities, columns), tl.float32)
    mutual = tl.zeros((modalities, columns), tl.float32)
    hits = tl.zeros((modalities, columns), tl.float32)
    apart = tl.zeros((modalities, columns), tl.float32)
    start = tl.full((), 0, tl.int32)
    while start < A * B:
        i = start + tl.arange(0, columns)[None, :]
        asked = tl.load(contrast + rows * A * B + i, mask=(rows < M) & (i < A * B), other=0.0)
        its_own = (A == 1) | (i // B == rows)
        own += tl.where(its_own, asked, 0.0)
        mutual += tl.where(its_own, 0.0, asked)
        a_sample = (rows < M) & (i < B)
        hits += tl.load(hit + rows * B + i, mask=a_sample, other=0.0)
        if distills:
            apart += tl.load(distilled + rows * B + i, mask=a_sample, other=0.0)
        start += columns
    own_M = tl.sum(own, 1) / B
    cross_modal = others * tl.sum(tl.sum(mutual, 1), 0) / B
    distance = tl.sum(tl.sum(apart, 1), 0) / B
    tl.store(loss, itself * tl.sum(own_M, 0) + cross_modal + distill * distance)
    tl.store(figures, cross_modal + distance)
    tl.store(figures + 1 + m, own_M, mask=m < M)
    tl.store(figures + 1 + M + m, tl.sum(hits, 1) / B, mask=m < M)
