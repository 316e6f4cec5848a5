"""A layer of GRU pairs against PyTorch's own GRU, forward and backward."""

import math

import pytest
import torch
from torch import nn

from cmd_tune.model.encoders import gru_layer, gru_whole_layer
from cmd_tune.model.encoders.gru_gates import Forward
from cmd_tune.model.encoders.gru_layer import gru_pairs, gru_pairs_by_torch

M, T, B, S, I, H = 3, 7, 5, 2, 4, 19  # H: more than one vector of any processor, and a rest
EXACT = {torch.float64: {"rtol": 1e-11, "atol": 1e-12}, torch.float32: {"rtol": 1e-4, "atol": 3e-6}}


def inputs(dtype=torch.float64, shape=(M, T, B, I, H)):
    """x, weight_ih, weight_hh, bias_ih, bias_hh; weights are in float32 where x is in bfloat16."""
    M, T, B, I, H = shape
    generator = torch.Generator().manual_seed(0)
    shapes = [(M, T, B, I), (M, S, 3 * H, I), (M, S, 3 * H, H), (M, S, 3 * H), (M, S, 3 * H)]
    tensors = [torch.randn(*s, generator=generator, dtype=torch.float64).div(2) for s in shapes]
    fine = torch.promote_types(dtype, torch.float32)
    return [x.to(dtype if i == 0 else fine).requires_grad_() for i, x in enumerate(tensors)]


def run(tensors, last_only=False):
    return gru_pairs(*tensors, last_only)


@pytest.mark.parametrize("last_only", [False, True])
def test_calls_of_torchs_gru_give_the_same(last_only):
    """The way that a GPU goes; here on the CPU, whose torch.gru has the same equations."""
    ours, calls = inputs(torch.float32), inputs(torch.float32)
    shape = (M, B, S * H) if last_only else (M, T, B, S * H)
    pull = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    outs = run(ours, last_only), gru_pairs_by_torch(*calls, last_only)
    torch.testing.assert_close(outs[1], outs[0], **EXACT[torch.float32])
    for out in outs:
        out.backward(pull)
    for a, b in zip(calls, ours, strict=True):
        torch.testing.assert_close(a.grad, b.grad, **EXACT[torch.float32])
    with torch.no_grad():
        torch.testing.assert_close(gru_pairs_by_torch(*calls, last_only), outs[0], **EXACT[torch.float32])


def torch_gru(modality, side, tensors):
    """nn.GRU holding one group's weights, and its input."""
    x = tensors[0].detach()[modality].clone().requires_grad_()
    weights = [tensor.detach()[modality, side] for tensor in tensors[1:]]
    gru = nn.GRU(x.shape[2], weights[1].shape[1]).to(x.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    gru.load_state_dict(dict(zip(names, weights, strict=True)))
    return gru, x, [getattr(gru, name) for name in names]


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_group_is_torchs_gru_forward_and_backward(way, dtype, last_only):
    tensors = inputs(dtype)
    shape = (M, B, S * H) if last_only else (M, T, B, S * H)
    pull = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    out = run(tensors, last_only)
    assert out.shape == shape
    out.backward(pull)
    grad_x = torch.zeros_like(tensors[0])
    for modality in range(M):
        for side in range(S):
            columns = slice(side * H, (side + 1) * H)
            gru, x, weights = torch_gru(modality, side, tensors)
            theirs = gru(x)[0]
            theirs = theirs[-1] if last_only else theirs
            theirs.backward(pull[modality][..., columns])
            torch.testing.assert_close(out[modality][..., columns], theirs, **EXACT[dtype])
            for ours, other in zip(tensors[1:], weights, strict=True):
                torch.testing.assert_close(ours.grad[modality, side], other.grad, **EXACT[dtype])
            grad_x[modality] += x.grad
    torch.testing.assert_close(tensors[0].grad, grad_x, **EXACT[dtype])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 1, 3, 2, 16), (1, 2, 1, 3, 33), (3, 2, 2, 1, 64)])
def test_sizes_of_one_and_odd_ones(way, shape):
    ours, exact = inputs(torch.float32, shape), inputs(torch.float64, shape)
    for tensors in (ours, exact):
        run(tensors).square().sum().backward()
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-5)


def test_a_second_backward_is_refused():
    """The gradients were written over the states: better no gradient than a wrong one."""
    tensors = inputs()
    loss = run(tensors).square().sum()
    torch.autograd.grad(loss, tensors, retain_graph=True)
    with pytest.raises(RuntimeError, match="run the forward pass again"):
        torch.autograd.grad(loss, tensors)


@pytest.mark.parametrize("last_only", [False, True])
def test_a_gradient_that_is_one_number_seen_everywhere(way, last_only):
    """What sum() sends back has strides of 0."""
    ours, exact = inputs(torch.float32), inputs(torch.float64)
    for tensors in (ours, exact):
        run(tensors, last_only).sum().backward()
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-5)


def test_a_value_that_is_not_a_number_stays_one(way):
    for dtype in (torch.float32, torch.bfloat16):
        tensors = inputs(dtype)
        with torch.no_grad():
            tensors[0][1, 3, 2, 0] = math.nan
        out = run(tensors).isnan()
        assert out[1, 3:, 2].all()
        assert out.sum() == out[1, 3:, 2].numel()


def test_an_input_without_gradient_changes_no_weight_gradient(way):
    with_x, without_x = inputs(torch.float32), inputs(torch.float32)
    without_x[0].requires_grad_(False)
    for tensors in (with_x, without_x):
        run(tensors).square().sum().backward()
    assert without_x[0].grad is None
    for a, b in zip(with_x[1:], without_x[1:], strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("last_only", [False, True])
def test_no_gradient_mode_gives_the_same_states(way, last_only):
    tensors = inputs(torch.float32)
    with torch.no_grad():
        plain = run(tensors, last_only)
    assert not plain.requires_grad
    assert torch.equal(plain, run(tensors, last_only))
    assert torch.equal(plain, run([tensor.detach() for tensor in tensors], last_only))


def test_only_what_a_backward_pass_will_read_is_kept(monkeypatch):
    """Parameters that learn are no reason by themselves: a model that does is scored in a fraction of the memory."""
    ways = []
    monkeypatch.setattr(gru_whole_layer, "_MOST_BYTES", 0)
    monkeypatch.setattr(gru_layer, "Forward", lambda **parts: ways.append(Forward(**parts)) or ways[-1])
    tensors = inputs(torch.float32)
    run(tensors, last_only=True)
    with torch.no_grad():
        run(tensors, last_only=True)
    run([tensor.detach() for tensor in tensors], last_only=True)
    assert [way.recurrent_n is not None for way in ways] == [True, False, False]
    assert [way.hidden is not None for way in ways] == [True, False, False]


def test_its_inputs_are_not_changed(way):
    tensors = inputs(torch.float32)
    before = [tensor.detach().clone() for tensor in tensors]
    run(tensors).sum().backward()
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor.detach(), old)


def test_bfloat16_is_near(way):
    """Products of eight bits, a float32 state: the state within 0.01, gradients within 2 % of their size."""
    exact, rough = inputs(torch.float32), inputs(torch.bfloat16)
    hidden, hidden_rough = run(exact), run(rough)
    assert hidden_rough.dtype == torch.bfloat16
    torch.testing.assert_close(hidden_rough.float(), hidden, rtol=0, atol=0.01)
    for loss in (hidden.square().sum(), hidden_rough.float().square().sum()):
        loss.backward()
    for a, b in zip(exact, rough, strict=True):
        assert (a.grad - b.grad.float()).norm() < 0.02 * a.grad.norm()
        assert b.grad.dtype == b.dtype
    assert run(rough, last_only=True).dtype == torch.float32


ARGUMENTS = [0.0, 1e-30, 1e-6, 1e-3, 0.3, 0.34, 0.35, 1.0, 3.0, 9.0, 10.1, 20.0, 50.0, 88.0, 1e4, 3e38, math.inf]


def test_the_gates_over_the_whole_range_of_their_arguments(way):
    """One frame, no weights: r = σ(b_r), z = σ(b_z), h = (1 − z)·tanh(b_n + r·b_hn), to 3 units in the last place."""
    H = len(ARGUMENTS) * 2
    signed = torch.tensor([sign * a for a in ARGUMENTS for sign in (1, -1)])
    one, zero = torch.ones(H), torch.zeros(H)
    x = torch.zeros(1, 1, 1, 1)
    cases = [(zero, zero, signed, zero), (zero, signed, one, zero), (signed, zero, zero, one)]
    for r, z, n, from_h in cases:
        bias_ih, bias_hh = torch.cat((r, z, n)), torch.cat((zero, zero, from_h))
        weights = torch.zeros(1, 2, 3 * H, 1), torch.zeros(1, 2, 3 * H, H)
        out = run([x, *weights, *(bias.expand(1, 2, -1) for bias in (bias_ih, bias_hh))], last_only=True)
        r, z, n, from_h = (part.double() for part in (r, z, n, from_h))
        exact = (1 - z.sigmoid()) * (n + r.sigmoid() * from_h).tanh()
        atol = 6e-8 if z.any() else 1e-34  # 1 − z near z = 1 is what float32 can tell
        torch.testing.assert_close(out[0, 0, :H].double(), exact, rtol=4e-7, atol=atol)


def test_a_state_that_is_not_contiguous_will_do():
    x, *weights = inputs(torch.float32)
    strided = x.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    assert torch.equal(run([strided, *weights]), run([x, *weights]))


def test_the_number_of_threads_changes_nothing():
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3, 4, 8):
        torch.set_num_threads(threads)
        tensors = inputs(torch.float32)
        run(tensors).square().sum().backward()
        assert torch.get_num_threads() == threads
        results.append([tensor.grad for tensor in tensors])
    torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
