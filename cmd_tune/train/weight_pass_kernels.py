"""A step of the optimiser, of the key encoders and of the rounded copies as one Triton kernel per tensor of weights.

Each number is read and written once, and what comes of it goes on in registers. The formulas are those of PyTorch's SGD
and AdamW, and of `Tensor.lerp_` for the keys.
P trial, N number of a trial; `size` is the part of a tensor that is one trial's.
"""

import triton
import triton.language as tl
from torch import Tensor

# What the kernels read of each trial, from a tensor (P, N) in float32. Of AdamW's two decays they need the logarithms:
# cards for graphics have next to no units for float64, and float32's 0.999 has lost digits of 1 − 0.999.
NUMBERS = ("rate", "weight_decay", "key_share", "momentum", "eps", "log_first", "log_second")
BLOCK = 1024

Rounded = tuple[Tensor, Tensor] | None  # copies of a weight and of its key's in another dtype, of the same shape


def move_keys(weight: Tensor, key: Tensor, rounded: Rounded, numbers_PN: Tensor) -> None:
    """The key goes its share of the way to the weight; both are copied."""
    grid, given = _launch(weight, key, rounded, numbers_PN)
    _move_keys[grid](**given)


def sgd(weight: Tensor, grad: Tensor, sum: Tensor | None, key: Tensor, rounded: Rounded, numbers_PN: Tensor) -> None:
    """The same after a step of SGD. sum: of gradients, which momentum keeps; None without."""
    grid, given = _launch(weight, key, rounded, numbers_PN)
    _sgd[grid](grad=grad, sum=weight if sum is None else sum, keeps=sum is not None, **given)


def adamw(
    weight: Tensor,
    grad: Tensor,
    steps_P: Tensor,
    mean: Tensor,
    square: Tensor,
    key: Tensor,
    rounded: Rounded,
    numbers_PN: Tensor,
) -> None:
    """The same after a step of AdamW. steps_P: float32, this one counted. mean, square: of gradients."""
    grid, given = _launch(weight, key, rounded, numbers_PN)
    _adamw[grid](grad=grad, steps=steps_P, mean=mean, square=square, **given)


def _launch(
    weight: Tensor, key: Tensor, rounded: Rounded, numbers_PN: Tensor
) -> tuple[tuple[int, int], dict[str, object]]:
    """Grid, and the arguments that all kernels have."""
    P, size = len(numbers_PN), weight.numel() // len(numbers_PN)
    copy, key_copy = rounded or (weight, key)
    given = {"weight": weight, "key": key, "copy": copy, "key_copy": key_copy, "numbers": numbers_PN, "size": size}
    return (triton.cdiv(size, BLOCK), P), {**given, "rounds": rounded is not None, "block": BLOCK}


@triton.jit  # type: ignore[untyped-decorator]
def _place(size, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where a program's numbers are, and which of them are there."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    return tl.program_id(1).to(tl.int64) * size + at, at < size


@triton.jit  # type: ignore[untyped-decorator]
def _number(numbers, n: tl.constexpr):  # type: ignore[no-untyped-def]
    """Number n of the program's trial, of the 7 of NUMBERS."""
    return tl.load(numbers + tl.program_id(1) * 7 + n)


@triton.jit
def _one_minus_power(steps, log_decay):  # type: ignore[no-untyped-def]
    """1 − decay^steps. By Taylor's series where a difference from 1 would cancel."""
    exponent = steps * log_decay
    x = tl.maximum(exponent, -0.5)
    series = 1 + x * (1 / 6) * (1 + x * (1 / 7) * (1 + x * (1 / 8)))
    series = 1 + x * (1 / 2) * (1 + x * (1 / 3) * (1 + x * (1 / 4) * (1 + x * (1 / 5) * series)))
    return tl.where(exponent > -0.5, -x * series, 1 - tl.exp(exponent))


@triton.jit  # type: ignore[untyped-decorator]
def _finish(w, at, there, key, copy, key_copy, numbers, rounds: tl.constexpr):  # type: ignore[no-untyped-def]
    """What follows from the new weights."""
    k = tl.load(key + at, mask=there, other=0.0)
    share = _number(numbers, 2)
    k = tl.where(share < 0.5, k + share * (w - k), w - (w - k) * (1 - share))
    tl.store(key + at, k, mask=there)
    if rounds:
        tl.store(copy + at, w.to(copy.dtype.element_ty), mask=there)
        tl.store(key_copy + at, k.to(key_copy.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _move_keys(  # type: ignore[no-untyped-def]
    weight, key, copy, key_copy, numbers, size, rounds: tl.constexpr, block: tl.constexpr
):
    at, there = _place(size, block)
    w = tl.load(weight + at, mask=there, other=0.0)
    _finish(w, at, there, key, copy, key_copy, numbers, rounds)


@triton.jit  # type: ignore[untyped-decorator]
def _sgd(  # type: ignore[no-untyped-def]
    weight,
    grad,
    sum,
    key,
    copy,
    key_copy,
    numbers,
    size,
    keeps: tl.constexpr,
    rounds: tl.constexpr,
    block: tl.constexpr,
):
    at, there = _place(size, block)
    w = tl.load(weight + at, mask=there, other=0.0)
    g = tl.load(grad + at, mask=there, other=0.0) + _number(numbers, 1) * w
    if keeps:
        g += _number(numbers, 3) * tl.load(sum + at, mask=there, other=0.0)
        tl.store(sum + at, g, mask=there)
    w -= _number(numbers, 0) * g
    tl.store(weight + at, w, mask=there)
    _finish(w, at, there, key, copy, key_copy, numbers, rounds)


@triton.jit  # type: ignore[untyped-decorator]
def _adamw(  # type: ignore[no-untyped-def]
    weight,
    grad,
    steps,
    mean,
    square,
    key,
    copy,
    key_copy,
    numbers,
    size,
    rounds: tl.constexpr,
    block: tl.constexpr,
):
    rate, log_first, log_second = _number(numbers, 0), _number(numbers, 5), _number(numbers, 6)
    step = tl.load(steps + tl.program_id(1))
    length, root = rate / _one_minus_power(step, log_first), tl.sqrt(_one_minus_power(step, log_second))
    at, there = _place(size, block)
    w = tl.load(weight + at, mask=there, other=0.0)
    g = tl.load(grad + at, mask=there, other=0.0)
    m = tl.load(mean + at, mask=there, other=0.0)
    v = tl.load(square + at, mask=there, other=0.0)
    m += _one_minus_power(1, log_first) * (g - m)
    share = _one_minus_power(1, log_second)
    v = (1 - share) * v + share * g * g
    tl.store(mean + at, m, mask=there)
    tl.store(square + at, v, mask=there)
    w -= rate * _number(numbers, 1) * w
    w -= length * m / (tl.sqrt(v) / root + _number(numbers, 4))
    tl.store(weight + at, w, mask=there)
    _finish(w, at, there, key, copy, key_copy, numbers, rounds)
