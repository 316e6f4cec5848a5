"""The norm of the input, by C++, by PyTorch and by a GPU's kernels, against PyTorch's batch norm."""

import pytest
import torch
from torch import nn

from cmd_tune.compute import native
from cmd_tune.model.encoders.input_norm import InputNorm

M, B, T, X = 3, 5, 6, 10


@pytest.fixture(params=["C++", "torch"])
def way(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    return request.param


def batch(seed=1, frames=T):
    """Channels of very different means and spreads."""
    generator = torch.Generator().manual_seed(seed)
    x_MBTX = torch.randn(M, B, frames, X, generator=generator)
    return x_MBTX * torch.linspace(0.1, 3, X) + torch.linspace(-5, 5, M)[:, None, None, None]


def test_input_norm_is_batch_norm_in_both_modes(way):
    """Three training batches, then evaluation: outputs, running statistics, gradients of scale and shift."""
    ours = InputNorm(M, X)
    theirs = [nn.BatchNorm1d(X) for _ in range(M)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        ours.weight.copy_(torch.rand(M, X, generator=generator) + 0.5)
        ours.bias.copy_(torch.randn(M, X, generator=generator))
        for modality, norm in enumerate(theirs):
            norm.weight.copy_(ours.weight[modality])
            norm.bias.copy_(ours.bias[modality])
    for training, seed in [(True, 1), (True, 2), (True, 3), (False, 4)]:
        x_MBTX = batch(seed)
        pull = torch.randn(M, B, T, X, generator=generator)
        ours.train(training)
        ours.zero_grad()
        y_MBTX = ours(x_MBTX)
        y_MBTX.backward(pull)
        for modality, norm in enumerate(theirs):
            norm.train(training)
            norm.zero_grad()
            y_BXT = norm(x_MBTX[modality].transpose(1, 2))
            y_BXT.backward(pull[modality].transpose(1, 2))
            torch.testing.assert_close(y_MBTX[modality], y_BXT.transpose(1, 2), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(ours.weight.grad[modality], norm.weight.grad, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(ours.bias.grad[modality], norm.bias.grad, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(ours.running_mean[modality], norm.running_mean, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(ours.running_var[modality], norm.running_var, rtol=1e-5, atol=1e-6)
            assert ours.num_batches_tracked == norm.num_batches_tracked


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frames", [1, T, 37])
def test_recurrences_get_it_frames_first(way, training, frames):
    """In one piece, and of every other frame; a value that is not a number spoils its channel."""
    for x_MBTX in (batch(frames=frames), batch(frames=2 * frames)[:, :, ::2, :]):
        x_MBTX = x_MBTX + 10
        found = InputNorm(M, X).train(training).frames_first(x_MBTX, torch.float32)
        exact = x_MBTX.double()
        if training:
            centred = exact - exact.mean((1, 2), keepdim=True)
            exact = centred / (centred.square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
        else:
            exact = exact / (1 + 1e-5) ** 0.5
        assert found.is_contiguous() or way == "torch"
        torch.testing.assert_close(found.double(), exact.transpose(1, 2), rtol=1e-5, atol=1e-4)
        x_MBTX[1, 2, 0, 3] = torch.nan
        lost = InputNorm(M, X).train(training).frames_first(x_MBTX, torch.bfloat16).isnan()
        assert lost[1, :, :, 3].all() if training else lost[1, 0, 2, 3]
        assert lost.sum() == (lost[1, :, :, 3].numel() if training else 1)


def test_a_channel_that_hardly_moves_is_not_blown_up(way):
    """±0.001 has variance 1e-6: over √(1e-6 + 1e-5) it is ±0.3015; a channel that is still is 0."""
    swing_MBTX = 0.001 * torch.tensor([1.0, -1.0]).view(1, 1, 2, 1).expand(1, 8, 2, 1)
    ours = InputNorm(1, 2)(torch.cat((swing_MBTX, torch.full((1, 8, 2, 1), 3.0)), dim=3))
    torch.testing.assert_close(ours[..., 0], 301.5113 * swing_MBTX[..., 0], rtol=1e-5, atol=0)
    assert not ours[..., 1].any()


def test_evaluation_leaves_the_running_statistics():
    norm = InputNorm(M, X)
    norm(batch())
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.eval()(batch(9))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_a_large_offset_costs_no_digits_of_the_variance(way):
    """One-pass variance of 1000 + U(0, 1) in float32 would be off by several per cent."""
    x = torch.rand(1, 64, 32, 1, generator=torch.Generator().manual_seed(0)) + 1000
    norm = InputNorm(1, 1)
    norm(x)
    expected = x.double().var().item()
    assert (norm.running_var.item() - 0.9) / 0.1 == pytest.approx(expected, rel=1e-4)


def test_statistics_are_of_all_workers(way):
    """A worker of 2 of 5 samples, told what three workers found in 2, 1 and 2, norms like one that holds the whole.

    Means far apart: what is between the workers is most of the variance. And one far from 0, which costs no digits.
    """
    x_MBTX = batch() + torch.tensor([0.0, 1, 40, -7, 2])[:, None, None]
    x_MBTX[..., 3] += 1000
    whole = InputNorm(M, X)
    expected = whole(x_MBTX)
    shares = x_MBTX.split((2, 1, 2), dim=1)
    part = InputNorm(M, X)
    statistics_WS = torch.stack([part.statistics(share) for share in shares])
    assert statistics_WS.shape == (3, 2 * M * X + 1)
    assert statistics_WS[:, -1].tolist() == [2 * T, T, 2 * T]
    ours = part(shares[0], statistics_WS)
    torch.testing.assert_close(ours, expected[:, :2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(part.running_var, whole.running_var, rtol=1e-5, atol=0)
    torch.testing.assert_close(part.running_mean, whole.running_mean)
    expected = x_MBTX[0, ..., 3].double().var().item()
    assert (part.running_var[0, 3].item() - 0.9) / 0.1 == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_gpus_kernels_are_the_same_norm(dtype, workers):
    """By Triton's interpreter: frames first, channels of 0 up to a multiple of 8, the same running statistics."""
    kernels = pytest.importorskip("tests.model.interpreted").input_norm_kernels
    ours, theirs = InputNorm(M, X), InputNorm(M, X)
    frames = 27  # 135 rows are 5 parts of 32, the last of 7
    for seed in (1, 2):
        x_MBTX = batch(seed, frames) + 100
        expected = theirs.standardise(x_MBTX).transpose(1, 2)
        if workers == 1:
            parts = kernels.statistics(x_MBTX)
        else:
            parts = ours.parts(torch.stack([ours.statistics(share) for share in x_MBTX.split((2, 3), dim=1)]))
        found = kernels.standardise(
            x_MBTX,
            parts,
            (ours.running_mean, ours.running_var, ours.num_batches_tracked),
            eps=ours.eps,
            momentum=ours.momentum,
            dtype=dtype,
        )
        assert found.dtype == dtype
        assert found.shape == (M, frames, B, 16)
        assert not found[..., X:].any()
        rounding = 2**-8 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(found[..., :X].float(), expected, rtol=rounding, atol=2e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)
