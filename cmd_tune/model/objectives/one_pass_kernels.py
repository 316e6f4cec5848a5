"""The objectives' losses and gradients as Triton kernels: what one_pass.cpp does on a CPU, with the same numbers.

one_pass_launch.py launches them. One program has one row of a bank's similarities, in registers. No row is gathered: a
teacher's neighbours are the rows above a bound, which bisection finds, and among the rows equal to the bound those
before an end. Whatever differs between trials is read from memory.
P trial, M modality of a bank, G of all trials' modalities (a trial's M follow each other), A modality that asks a bank,
B sample, K bank row, R row of similarities, N number.
"""

import triton
import triton.language as tl

from cmd_tune.model.objectives import terms

LEAST = tl.constexpr(-(2**31))
NOWHERE = tl.constexpr(-1e20)  # a similarity to no neighbour, whose exponential is 0: finite, hence times 0 is 0

# where a trial's numbers lie
NUMBERS = tl.constexpr(len(terms.NUMBERS))
CONTRAST_COLDER = tl.constexpr(terms.NUMBERS.index("contrast_colder"))
STUDENT_COLDER = tl.constexpr(terms.NUMBERS.index("student_colder"))
TEACHER_COLDER = tl.constexpr(terms.NUMBERS.index("teacher_colder"))
ITSELF = tl.constexpr(terms.NUMBERS.index("itself"))
OTHERS = tl.constexpr(terms.NUMBERS.index("others"))
DISTILL_WEIGHT = tl.constexpr(terms.NUMBERS.index("distill_weight"))
TOPK = tl.constexpr(terms.NUMBERS.index("topk"))


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


@triton.jit(do_not_specialize=["M", "R"])  # type: ignore[untyped-decorator]
def _look(  # type: ignore[no-untyped-def]
    similarities,  # (G, R, K) the last B of R are of the keys
    numbers,  # (P, N)
    neighbours,  # (2, G, B) bound and end, as _choose has them, with choose
    softmax,  # (2, G, B) the largest number, with exponential; and the sum over the neighbours, or over all rows
    M,
    R,
    K,
    choose: tl.constexpr,
    exponential: tl.constexpr,  # the sum is of exponentials, as for a softmax
    block: tl.constexpr,
):
    """A teacher's neighbours of a sample, and what their distribution is divided by."""
    b, g, B, G = tl.program_id(0), tl.program_id(1), tl.num_programs(0), tl.num_programs(1)
    mine = numbers + g // M * NUMBERS
    j = tl.arange(0, block)
    there = j < K
    row = similarities + ((g + 1).to(tl.int64) * R - B + b) * K
    x = tl.load(row + j, mask=there, other=float("-inf"))
    at = g * B + b
    chosen = there
    if choose:
        key = _keys(x, there)
        bound, end = _choose(key, j, tl.load(mine + TOPK).to(tl.int32), block)
        tl.store(neighbours + at, bound)
        tl.store(neighbours + G * B + at, end)
        chosen = (key > bound) | ((key == bound) & (j < end))
        x = tl.where(there, _in_order(key).to(tl.float32, bitcast=True), float("-inf"))
    if exponential:
        top = tl.max(x, 0)
        tl.store(softmax + at, top)
        x = tl.exp((x - top) * tl.load(mine + TEACHER_COLDER))
    tl.store(softmax + G * B + at, tl.sum(tl.where(chosen, x, 0.0), 0))


@triton.jit
def _probabilities(similarities, softmax, colder, p, a, b, j, M, G, B, R, K):  # type: ignore[no-untyped-def]
    """Of trial p's teachers a on rows j; 0 for teachers that there are not. The last term is distillation.py's."""
    known = (a >= 0) & (a < M)
    there = known & (j < K)
    g = p * M + a
    t = tl.load(similarities + ((g + 1).to(tl.int64) * R - B + b) * K + j, mask=there, other=0.0)
    at = softmax + g * B + b
    top, total = tl.load(at, mask=known, other=0.0), tl.load(at + G * B, mask=known, other=1.0)
    return tl.where(there, tl.exp((t - top) * colder) / total + 1e-37 * (1.0 + t), 0.0)


@triton.jit(do_not_specialize=["M", "R"])  # type: ignore[untyped-decorator]
def _sum_other_teachers(  # type: ignore[no-untyped-def]
    similarities,  # (G, R, K) the last B of R are of the keys; afterwards the sums of the others' distributions
    numbers,  # (P, N)
    softmax,  # (2, G, B) _look's, over all rows
    M,
    R,
    K,
    modalities: tl.constexpr,  # M or more
    columns: tl.constexpr,
):
    """distillation.py's sums of a sample in a block of columns: what stands before one's own, and what after it."""
    b, B = tl.program_id(1), tl.num_programs(1)
    p, G = tl.program_id(2), tl.num_programs(2) * M
    colder = tl.load(numbers + p * NUMBERS + TEACHER_COLDER)
    m = tl.arange(0, modalities)[:, None]
    j = tl.program_id(0) * columns + tl.arange(0, columns)[None, :]
    before = tl.cumsum(_probabilities(similarities, softmax, colder, p, m - 1, b, j, M, G, B, R, K), 0)
    after = tl.cumsum(_probabilities(similarities, softmax, colder, p, m + 1, b, j, M, G, B, R, K), 0, reverse=True)
    tl.debug_barrier()  # what one thread writes another may have to read first
    row = similarities + ((p * M + m + 1).to(tl.int64) * R - B + b) * K
    tl.store(row + j, before + after, mask=(m < M) & (j < K))


@triton.jit(do_not_specialize=["A", "R"])  # type: ignore[untyped-decorator]
def _learn(  # type: ignore[no-untyped-def]
    similarities,  # (G, R, K) of queries, (A, B) of the R, and of keys; afterwards those of queries are the gradient
    numbers,  # (P, N)
    positive,  # (G, A, B)
    neighbours,  # (2, G, B) _look's
    softmax,  # (2, G, B) _look's
    grad_positive,  # (G, A, B)
    contrast,  # (G, A, B)
    hit,  # (G, B) 1 if the positive beats the whole bank
    distilled,  # (G, B) what the student learns from all its teachers, with a distillation
    A,
    R,
    K,
    M: tl.constexpr,
    distillation: tl.constexpr,
    block: tl.constexpr,
):
    """The terms of a query and a bank, and their gradient, which is added up in memory: a row more would not fit."""
    b, B = tl.program_id(0), tl.num_programs(0)
    g, a, G = tl.program_id(1) // A, tl.program_id(1) % A, tl.num_programs(1) // A
    m = g % M
    its_own = (A == 1) | (a == m)
    mine = numbers + g // M * NUMBERS
    j = tl.arange(0, block)
    there = j < K
    row = similarities + (g.to(tl.int64) * R + a * B + b) * K
    x = tl.load(row + j, mask=there, other=float("-inf"))

    contrast_colder = tl.load(mine + CONTRAST_COLDER)
    at = tl.program_id(1) * B + b
    of_positive = tl.load(positive + at)
    in_bank = tl.max(x, 0)
    top = tl.maximum(of_positive, in_bank)
    e = tl.exp((x - top) * contrast_colder)
    of_bank = tl.sum(e, 0)
    total = of_bank + tl.exp((of_positive - top) * contrast_colder)
    weight = tl.load(mine + tl.where(its_own, ITSELF, OTHERS)) / B
    by = weight * contrast_colder / total
    tl.store(row + j, by * e, mask=there)
    tl.store(contrast + at, tl.log(total) - (of_positive - top) * contrast_colder)
    tl.store(grad_positive + at, -by * of_bank)
    if its_own:
        tl.store(hit + g * B + b, (of_positive > in_bank).to(tl.float32))

    if distillation is not None:
        apart = 0.0
        pairs = M - 1 if distillation == "consensus" else 1  # that a teacher stands for
        student_colder = tl.load(mine + STUDENT_COLDER)
        by = pairs * tl.load(mine + DISTILL_WEIGHT) / B * student_colder
        for i in range(1 if distillation == "consensus" else M - 1):
            t = g if distillation == "consensus" else g - m + i + (i >= m).to(tl.int32)
            taught = t * B + b
            y = tl.load(similarities + ((t + 1).to(tl.int64) * R - B + b) * K + j, mask=there, other=0.0)
            key, bound, end = _keys(y, there), tl.load(neighbours + taught), tl.load(neighbours + G * B + taught)
            chosen = (key > bound) | ((key == bound) & (j < end))
            top_s = tl.max(tl.where(chosen, x, NOWHERE), 0)
            y = tl.where(chosen, y, NOWHERE)
            total_t = tl.load(softmax + G * B + taught)
            if distillation == "consensus":
                p = tl.maximum(y, 0.0) / total_t
                log_p = tl.log(tl.where(p > 0, p, 1.0))
            else:
                log_p = (y - tl.load(softmax + taught)) * tl.load(mine + TEACHER_COLDER)
                p = tl.exp(log_p) / total_t
                log_p -= tl.log(total_t)
            log_s = (tl.where(y > NOWHERE, x, NOWHERE) - top_s) * student_colder
            s = tl.exp(log_s)
            total_s = tl.sum(s, 0)
            apart += pairs * (tl.sum(p * (log_p - log_s), 0) + tl.log(total_s))
            tl.debug_barrier()  # what was written may have been another thread's
            gradient = tl.load(row + j, mask=there, other=0.0)
            tl.store(row + j, gradient + by * (s / total_s - p), mask=there)
        tl.store(distilled + g * B + b, apart)


@triton.jit(do_not_specialize=["M", "A", "B"])  # type: ignore[untyped-decorator]
def _sum_up(  # type: ignore[no-untyped-def]
    numbers,  # (P, N)
    contrast,  # (G, A, B)
    hit,  # (G, B)
    distilled,  # (G, B), with distills
    loss,  # (P,)
    figures,  # (P, 1 + 2M)
    M,
    A,
    B,
    modalities: tl.constexpr,  # M or more
    distills: tl.constexpr,
    columns: tl.constexpr,
):
    """A trial's loss and figures of the batch, of each sample's."""
    p = tl.program_id(0)
    mine = numbers + p * NUMBERS
    m = tl.arange(0, modalities)
    rows = m[:, None]
    g = p * M + rows
    own = tl.zeros((modalities, columns), tl.float32)
    mutual = tl.zeros((modalities, columns), tl.float32)
    hits = tl.zeros((modalities, columns), tl.float32)
    apart = tl.zeros((modalities, columns), tl.float32)
    start = tl.full((), 0, tl.int32)
    while start < A * B:
        i = start + tl.arange(0, columns)[None, :]
        asked = tl.load(contrast + g * A * B + i, mask=(rows < M) & (i < A * B), other=0.0)
        its_own = (A == 1) | (i // B == rows)
        own += tl.where(its_own, asked, 0.0)
        mutual += tl.where(its_own, 0.0, asked)
        a_sample = (rows < M) & (i < B)
        hits += tl.load(hit + g * B + i, mask=a_sample, other=0.0)
        if distills:
            apart += tl.load(distilled + g * B + i, mask=a_sample, other=0.0)
        start += columns
    own_M = tl.sum(own, 1) / B
    cross_modal = tl.load(mine + OTHERS) * tl.sum(tl.sum(mutual, 1), 0) / B
    distance = tl.sum(tl.sum(apart, 1), 0) / B
    weighed = tl.load(mine + ITSELF) * tl.sum(own_M, 0) + cross_modal + tl.load(mine + DISTILL_WEIGHT) * distance
    tl.store(loss + p, weighed)
    figures += p * (1 + 2 * M)
    tl.store(figures, cross_modal + distance)
    tl.store(figures + 1 + m, own_M, mask=m < M)
    tl.store(figures + 1 + M + m, tl.sum(hits, 1) / B, mask=m < M)
