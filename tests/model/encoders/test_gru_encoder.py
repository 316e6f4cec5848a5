"""The encoder against PyTorch's modules, called the way the authors call them."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cmd_tune.model.encoders.gru_encoder import GRUEncoder, GRULayer
from cmd_tune.model.encoders.gru_layer import gru_pairs
from cmd_tune.model.encoders.input_norm import InputNorm

M, B, T, X, H, D, LAYERS = 3, 5, 6, 10, 4, 7, 3


def encoders(seed=0, **changes):
    sizes = {"hidden_size": H, "embedding_size": D, "layers": LAYERS, **changes}
    return GRUEncoder(M, X, generator=torch.Generator().manual_seed(seed), **sizes)


def batch(seed=1, frames=T):
    """Channels of very different means and spreads."""
    generator = torch.Generator().manual_seed(seed)
    x_MBTX = torch.randn(M, B, frames, X, generator=generator)
    return x_MBTX * torch.linspace(0.1, 3, X) + torch.linspace(-5, 5, M)[:, None, None, None]


# Batch norm of the input


def test_input_norm_is_batch_norm_in_both_modes():
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


def test_a_channel_that_hardly_moves_is_not_blown_up():
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


def test_a_large_offset_costs_no_digits_of_the_variance():
    """One-pass variance of 1000 + U(0, 1) in float32 would be off by several per cent."""
    x = torch.rand(1, 64, 32, 1, generator=torch.Generator().manual_seed(0)) + 1000
    norm = InputNorm(1, 1)
    norm(x)
    expected = x.double().var().item()
    assert (norm.running_var.item() - 0.9) / 0.1 == pytest.approx(expected, rel=1e-4)


def test_statistics_are_of_all_workers():
    """A worker that holds one half, told the sums of both, norms like one that holds the whole."""
    x_MBTX = batch()
    whole = InputNorm(M, X)
    expected = whole(x_MBTX)
    mine, other = x_MBTX[:, :2], x_MBTX[:, 2:]
    mean_MX = x_MBTX.mean((1, 2))
    of_the_other = iter([
        torch.cat((other.sum((1, 2)).flatten(), torch.tensor([3.0 * T]))),
        (other - mean_MX[:, None, None]).square().sum((1, 2)),
    ])  # fmt: skip
    half = InputNorm(M, X)
    ours = half(mine, lambda sums: sums + next(of_the_other))
    torch.testing.assert_close(ours, expected[:, :2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(half.running_var, whole.running_var)
    torch.testing.assert_close(half.running_mean, whole.running_mean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("together", [True, False], ids=["in parts", "given"])
def test_a_gpus_kernels_are_the_same_norm(dtype, together):
    """By Triton's interpreter: frames first, channels of 0 up to a multiple of 8, the same running statistics."""
    kernels = pytest.importorskip("tests.model.interpreted").input_norm_kernels
    ours, theirs = InputNorm(M, X), InputNorm(M, X)
    frames = 27  # 135 rows are 5 parts of 32, the last of 7
    for seed in (1, 2):
        x_MBTX = batch(seed, frames) + 100
        expected = theirs.standardise(x_MBTX).transpose(1, 2)
        if together:
            statistics = kernels.statistics(x_MBTX)
        else:
            var_MX, mean_MX = torch.var_mean(x_MBTX, (1, 2), correction=0, keepdim=True)
            count = torch.tensor([float(B * frames)])
            statistics = (mean_MX[:, 0], count * var_MX[:, 0], count)
        found = kernels.standardise(
            x_MBTX,
            statistics,
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


def test_channels_of_0_change_nothing():
    """As a GPU's norm leaves them behind the others: outputs and gradients of a layer are the same."""
    layer = GRULayer(M, X, H, torch.Generator().manual_seed(0))
    norm = InputNorm(M, X)
    x_MTBX = torch.randn(M, T, B, X, generator=torch.Generator().manual_seed(1))
    found = []
    for x in (x_MTBX, F.pad(x_MTBX, (0, 6))):
        layer.zero_grad()
        out = layer(x, gru_pairs, norm=norm)
        out.square().sum().backward()
        found.append([out.detach(), layer.weight_ih.grad.clone()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


# Two GRUs a layer, both forward in time


def authors_features(model, modality, x_BTX):
    """The authors' way: nn.GRU(bidirectional=True) called one frame at a time, its hidden state carried on."""
    gru = nn.GRU(X, H, num_layers=LAYERS, bidirectional=True, batch_first=True)
    state = {}
    for index, layer in enumerate(model.gru):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for direction, end in enumerate(("", "_reverse")):
                state[f"{name}_l{index}{end}"] = getattr(layer, name)[modality, direction]
    gru.load_state_dict(state)
    carried = torch.zeros(2 * LAYERS, len(x_BTX), H)
    for frame in range(x_BTX.shape[1]):
        output, carried = gru(x_BTX[:, frame : frame + 1], carried)
    return output[:, -1]


def test_features_are_those_of_the_authors_calls():
    model = encoders().eval()
    x_MBTX = batch()
    with torch.no_grad():
        features_MBF = model.features(x_MBTX)
        for modality in range(M):
            theirs = authors_features(model, modality, model.input_norm(x_MBTX)[modality])
            torch.testing.assert_close(features_MBF[modality], theirs, rtol=1e-4, atol=1e-6)


def test_features_are_not_those_of_a_whole_sequence_call():
    """The difference that makes it another model: a real backward direction ends at the first frame."""
    model = encoders(layers=1).eval()
    x_MBTX = batch()
    gru = nn.GRU(X, H, bidirectional=True, batch_first=True)
    layer = model.gru[0]
    names = [f"{n}_l0{end}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for end in ("", "_reverse")]
    parts = [part for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for part in getattr(layer, n).detach()[0]]
    gru.load_state_dict(dict(zip(names, parts, strict=True)))
    with torch.no_grad():
        whole, _ = gru(model.input_norm(x_MBTX)[0])
        ours = model.features(x_MBTX)[0]
    torch.testing.assert_close(ours[:, :H], whole[:, -1, :H], rtol=1e-4, atol=1e-6)
    assert (ours[:, H:] - whole[:, -1, H:]).abs().max() > 0.01


def test_no_output_knows_a_later_frame():
    layer = GRULayer(M, X, H, torch.Generator().manual_seed(0))
    x_MTBX = batch().transpose(1, 2)
    changed = x_MTBX.clone()
    changed[:, 4] += 1
    before, after = layer(x_MTBX, gru_pairs), layer(changed, gru_pairs)
    assert torch.equal(before[:, :4], after[:, :4])
    differs_MTBG = (before != after).unflatten(3, (2, H)).any(4)
    assert differs_MTBG[:, 4:].all()


def test_every_frame_reaches_the_features():
    model = encoders()
    x_MBTX = batch().requires_grad_()
    model.eval().features(x_MBTX).sum().backward()
    assert (x_MBTX.grad.abs().amax(3) > 0).all()


# Head and embeddings


def test_embeddings_are_unit_vectors_of_the_head():
    model = encoders().eval()
    with torch.no_grad():
        x_MBTX = batch()
        features_MBF, embedding_MBD = model.features(x_MBTX), model(x_MBTX)
        head = model.head
        for modality in range(M):
            hidden = F.linear(features_MBF[modality], head.weight_0[modality], head.bias_0[modality]).relu()
            plain = F.linear(hidden, head.weight_1[modality], head.bias_1[modality])
            torch.testing.assert_close(
                embedding_MBD[modality], plain / plain.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-6
            )
    assert model.feature_size == features_MBF.shape[2] == 2 * H
    assert embedding_MBD.shape == (M, B, D)


def test_modalities_do_not_know_each_other():
    """Another input, or other weights, of one modality change its own embedding alone."""
    model = encoders()
    x_MBTX = batch()
    before = model(x_MBTX)
    changed = x_MBTX.clone()
    changed[1, :, 2] += 1
    after = model(changed)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])
    after[1].sum().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.grad[[0, 2]].any(), name


def test_bfloat16_recurrences_give_float32_embeddings_near_the_exact_ones():
    exact, rough = encoders(), encoders(compute_dtype=torch.bfloat16)
    a, b = exact(batch()), rough(batch())
    assert b.dtype == torch.float32
    assert 1e-4 < (a - b).abs().max() < 0.05
    assert {p.dtype for p in rough.parameters()} == {torch.float32}
    b.sum().backward()
    assert {p.grad.dtype for p in rough.parameters()} == {torch.float32}


# Initial values


def test_initial_values_have_the_authors_bounds():
    """Xavier-uniform for GRU matrices and the last head layer, ±1/√fan for the rest, as PyTorch does by default."""
    hidden, channels, size = 32, 60, 24
    model = GRUEncoder(M, channels, hidden_size=hidden, embedding_size=size, generator=torch.Generator().manual_seed(0))
    bounds = {"head.weight_0": 1 / sqrt(2 * hidden), "head.bias_0": 1 / sqrt(2 * hidden)}
    bounds |= {"head.weight_1": sqrt(6 / (size + 2 * hidden)), "head.bias_1": 1 / sqrt(2 * hidden)}
    for layer, width in enumerate((channels, 2 * hidden, 2 * hidden)):
        bounds[f"gru.{layer}.weight_ih"] = sqrt(6 / (3 * hidden + width))
        bounds[f"gru.{layer}.weight_hh"] = sqrt(6 / (3 * hidden + hidden))
        bounds |= {f"gru.{layer}.bias_ih": 1 / sqrt(hidden), f"gru.{layer}.bias_hh": 1 / sqrt(hidden)}
    parameters = dict(model.named_parameters())
    assert set(parameters) == {*bounds, "input_norm.weight", "input_norm.bias"}
    for name, bound in bounds.items():
        values = parameters[name].detach().flatten()
        assert values.abs().max() <= bound * (1 + 1e-6), name
        assert values.abs().max() > bound * (1 - 10 / len(values)), name
        # Uniform: variance bound²/3, that of the estimate about 0.9/√n of it.
        assert abs(values.square().mean() / (bound**2 / 3) - 1) < 5 * 0.9 / sqrt(len(values)), name
    assert (model.input_norm.weight == 1).all()
    assert (model.input_norm.bias == 0).all()


def test_no_two_groups_start_alike():
    model = encoders()
    for layer in model.gru:
        groups = layer.weight_hh.flatten(0, 1)
        assert len({tuple(group.flatten().tolist()) for group in groups}) == 2 * M


def test_the_generator_decides_the_initial_values():
    one, again, other = encoders(0), encoders(0), encoders(1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.head.weight_0, other.head.weight_0)
