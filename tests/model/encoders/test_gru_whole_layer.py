"""A layer in one call per thread: every remainder of its tiles, the same digits on any number of threads, its limits.

That a layer is PyTorch's GRU, and that this way of it agrees with the others, is in test_gru_layer.py.
"""

import math

import pytest
import torch
from torch import Tensor

from cmd_tune.compute import native
from cmd_tune.model.encoders import gru_layer, gru_whole_layer
from cmd_tune.model.encoders.gru_layer import gru_pairs

M, S = 3, 2


def inputs(T: int, B: int, I: int, H: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """x, weight_ih, weight_hh, bias_ih, bias_hh."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(M, T, B, I), (M, S, 3 * H, I), (M, S, 3 * H, H), (M, S, 3 * H), (M, S, 3 * H)]
    return [torch.randn(*s, generator=generator).div(2).to(dtype).requires_grad_() for s in shapes]


def layer(tensors: list[Tensor], *, last_only: bool = False) -> list[Tensor]:
    """The output, and the gradients of the sum of its squares."""
    out = gru_pairs(*tensors, last_only)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [x for x in tensors if x.requires_grad])]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def calls(monkeypatch):
    """How often gru_gates.cpp, or PyTorch, was asked for a pass over all frames."""
    asked = []
    for name in ("_run_forward", "_run_backward"):
        run = getattr(gru_layer, name)
        monkeypatch.setattr(gru_layer, name, lambda *given, run=run, name=name: asked.append(name) or run(*given))
    return asked


# Six rows and 8, 16 or 32 columns are computed at once: one of each remainder, and sizes of one.
@pytest.mark.parametrize("B", [1, 2, 3, 4, 5, 6, 13])
@pytest.mark.parametrize(("I", "H"), [(1, 1), (7, 9), (8, 8), (17, 31), (33, 32), (66, 65)])
def test_every_remainder_of_a_tile(calls, B, I, H):
    for last_only in (False, True):
        dtypes = (torch.float32, torch.float64)
        ours, exact = (layer(inputs(3, B, I, H, dtype), last_only=last_only) for dtype in dtypes)
        for a, b in zip(ours, exact, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)
    assert calls == ["_run_forward", "_run_backward"] * 2  # float64's


def test_no_digit_depends_on_the_number_of_threads(threads, calls):
    """A group is one thread's, forward and back. The input has no gradient: its product is shared out by rows."""
    tensors = inputs(9, 32, 20, 24)
    tensors[0].requires_grad_(False)
    results = []
    for number in (1, 2, 3, 4, 6, 8):
        threads(number)
        results.append(layer(tensors))
    assert calls == []
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("H", [3, 64])
@pytest.mark.parametrize("beyond", [300.0, math.inf])
def test_gates_far_out_are_at_their_limits(beyond, H, calls):
    """z of the inputs' negative: the first sample takes n = 1, the second, whose n is −1, keeps its state of 0."""
    x = torch.tensor([beyond, -beyond]).view(1, 1, 2, 1).expand(M, 4, 2, 1).clone()
    weight_ih = torch.ones(M, S, 3 * H, 1)
    weight_ih[:, :, H : 2 * H] = -1
    zero = torch.zeros(M, S, 3 * H)
    parameters = [weight_ih, zero[..., None].expand(M, S, 3 * H, H).clone(), zero, zero.clone()]
    out, *gradients = layer([x, *(parameter.requires_grad_() for parameter in parameters)])
    assert (out[:, :, 0] == 1).all()
    assert out[:, :, 1].abs().max() < 1e-30
    assert calls == []
    if math.isfinite(beyond):
        assert max(gradient.abs().max() for gradient in gradients) < 1e-30


def forward(x: Tensor, H: int, *, hidden: bool, keep: bool) -> gru_whole_layer.Forwarded | None:
    weight_ih, weight_hh = x.new_zeros(M, S * 3 * H, x.shape[3]), x.new_zeros(M * S, 3 * H, H)
    return gru_whole_layer.forward(x, weight_ih, weight_hh, x.new_zeros(M * S, 4 * H), hidden=hidden, keep=keep)


@pytest.mark.parametrize(("hidden", "keep"), [(False, False), (True, False), (False, True), (True, True)])
def test_only_what_is_read_afterwards_is_kept(hidden, keep):
    way = forward(torch.zeros(M, 4, 5, 6), 7, hidden=hidden, keep=keep)
    assert way is not None
    assert [x is not None for x in (way.hidden, way.gates, way.recurrent_n)] == [hidden or keep, keep, keep]


def test_what_is_left_to_the_other_ways(monkeypatch):
    """Weights above a mebibyte: 4·3·H·(I + H) bytes a group. Other dtypes, and machines without a compiler."""
    x = torch.zeros(M, 1, 1, 128)
    assert forward(x, 238, hidden=False, keep=False) is not None  # 1,045,296 bytes
    assert forward(x, 239, hidden=False, keep=False) is None  # 1,052,556
    for dtype in (torch.float64, torch.bfloat16):
        assert forward(x.to(dtype), 64, hidden=False, keep=False) is None
    monkeypatch.setattr(native, "library", lambda: None)
    assert forward(x, 64, hidden=False, keep=False) is None


@pytest.mark.parametrize("way", ["whole", "a call per frame"])
def test_a_layer_on_the_border_is_the_same_on_both_sides_of_it(monkeypatch, way, calls):
    tensors = inputs(4, 6, 10, 12)
    monkeypatch.setattr(gru_whole_layer, "_MOST_BYTES", 4 * 3 * 12 * 22 - (way != "whole"))
    exact = layer(inputs(4, 6, 10, 12, torch.float64))
    calls.clear()
    for a, b in zip(layer(tensors), exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)
    assert bool(calls) == (way != "whole")
