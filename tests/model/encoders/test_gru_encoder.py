"""The encoder against PyTorch's modules, called the way the authors call them."""

from math import sqrt

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
