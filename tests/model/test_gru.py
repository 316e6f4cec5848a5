"""The grouped GRU against PyTorch's own, forward and backward."""

import pytest
import torch
from torch import nn

from cmd_tune.model.gru import GroupedGRU

G, T, B, I, H = 4, 7, 3, 5, 6


def inputs(dtype=torch.float64, shape=(G, T, B, I, H)):
    """x, weight_ih, weight_hh, bias_ih, bias_hh of independent groups."""
    G, T, B, I, H = shape
    generator = torch.Generator().manual_seed(0)
    shapes = [(G, T, B, I), (G, 3 * H, I), (G, 3 * H, H), (G, 3 * H), (G, 3 * H)]
    return [torch.randn(*s, generator=generator, dtype=dtype).div(2).requires_grad_() for s in shapes]


def torch_gru(group, tensors):
    """nn.GRU holding one group's weights, and its input."""
    x, *weights = (tensor.detach()[group] for tensor in tensors)
    gru = nn.GRU(x.shape[2], weights[1].shape[1]).to(x.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    gru.load_state_dict(dict(zip(names, weights, strict=True)))
    return gru, x.clone().requires_grad_(), [getattr(gru, name) for name in names]


def test_each_group_is_torchs_gru_forward_and_backward():
    tensors = inputs()
    pull_GTBH = torch.randn(G, T, B, H, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hidden_GTBH = GroupedGRU.apply(*tensors)
    hidden_GTBH.backward(pull_GTBH)
    for group in range(G):
        gru, x, weights = torch_gru(group, tensors)
        theirs, _ = gru(x)
        theirs.backward(pull_GTBH[group])
        torch.testing.assert_close(hidden_GTBH[group], theirs, rtol=1e-12, atol=1e-13)
        for ours, other in zip(tensors, [x, *weights], strict=True):
            torch.testing.assert_close(ours.grad[group], other.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 2, 3, 2), (1, 1, 1, 1, 1), (2, 4, 1, 2, 3)])
def test_gradients_are_those_of_finite_differences(shape):
    assert torch.autograd.gradcheck(GroupedGRU.apply, inputs(shape=shape))


def test_gradient_of_the_last_frame_alone():
    """What training asks for: only the last output is used, the rest of the incoming gradient is 0."""
    tensors = inputs()
    GroupedGRU.apply(*tensors)[:, -1].square().sum().backward()
    for group in range(G):
        gru, x, weights = torch_gru(group, tensors)
        gru(x)[0][-1].square().sum().backward()
        for ours, other in zip(tensors, [x, *weights], strict=True):
            torch.testing.assert_close(ours.grad[group], other.grad, rtol=1e-10, atol=1e-12)


def test_backward_does_not_spoil_what_it_saved():
    """Twice through one graph gives the same gradients twice."""
    tensors = inputs()
    loss = GroupedGRU.apply(*tensors).square().sum()
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    second = torch.autograd.grad(loss, tensors)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_an_input_without_gradient_changes_no_weight_gradient():
    with_x, without_x = inputs(), inputs()
    without_x[0].requires_grad_(False)
    for tensors in (with_x, without_x):
        GroupedGRU.apply(*tensors).square().sum().backward()
    assert without_x[0].grad is None
    for a, b in zip(with_x[1:], without_x[1:], strict=True):
        assert torch.equal(a.grad, b.grad)


def test_no_gradient_mode_gives_the_same_states():
    tensors = inputs(torch.float32)
    with torch.no_grad():
        plain = GroupedGRU.apply(*tensors)
    assert not plain.requires_grad
    assert torch.equal(plain, GroupedGRU.apply(*tensors))
    assert torch.equal(plain, GroupedGRU.apply(*(tensor.detach() for tensor in tensors)))


def test_its_inputs_are_not_changed():
    tensors = inputs()
    before = [tensor.detach().clone() for tensor in tensors]
    GroupedGRU.apply(*tensors).sum().backward()
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor.detach(), old)


def test_bfloat16_is_near():
    """Eight bits of mantissa: states within a few per cent, gradients within five of their size."""
    exact, rough = inputs(torch.float32), [x.detach().bfloat16().requires_grad_() for x in inputs(torch.float32)]
    hidden, hidden_rough = GroupedGRU.apply(*exact), GroupedGRU.apply(*rough)
    assert hidden_rough.dtype == torch.bfloat16
    torch.testing.assert_close(hidden_rough.float(), hidden, rtol=0, atol=0.03)
    for loss in (hidden.square().sum(), hidden_rough.float().square().sum()):
        loss.backward()
    for a, b in zip(exact, rough, strict=True):
        assert (a.grad - b.grad.float()).norm() < 0.05 * a.grad.norm()


def test_a_contiguous_state_is_not_needed():
    x, *weights = inputs(torch.float32)
    strided = x.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    assert torch.equal(GroupedGRU.apply(strided, *weights), GroupedGRU.apply(x, *weights))
