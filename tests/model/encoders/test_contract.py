"""What base.py promises of an encoder, for every one that is registered."""

import copy
from threading import Barrier, Thread

import pytest
import torch

from cmd_tune.model.encoders import ENCODERS, Encoder
from cmd_tune.settings import Settings
from cmd_tune.train.loop import build_encoder

B, T, X = 6, 5, 12
MODALITIES = ("joint", "motion", "bone")
M = len(MODALITIES)


def build(tiny, name, seed=0, **changes):
    settings = tiny(encoder=name, modalities=MODALITIES, embedding_size=7, **changes)
    return build_encoder(settings, X, torch.Generator().manual_seed(seed))


@pytest.fixture(params=ENCODERS)
def encoder(request, tiny) -> Encoder:
    return build(tiny, request.param)


def inputs(seed=0, samples=B):
    return 2 + 3 * torch.randn(M, samples, T, X, generator=torch.Generator().manual_seed(seed))


def gradients(encoder, out):
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    return torch.autograd.grad((out * pull).sum(), list(encoder.parameters()))


@pytest.mark.parametrize("train", [True, False])
def test_shapes_and_unit_norm(encoder, train):
    encoder.train(train)
    x_MBTX = inputs()
    features, embeddings = copy.deepcopy(encoder).features(x_MBTX), encoder(x_MBTX)
    assert features.shape == (M, B, encoder.feature_size)
    assert features.dtype == encoder.feature_dtype
    assert embeddings.shape == (M, B, 7)
    torch.testing.assert_close(embeddings.norm(dim=2), torch.ones(M, B))
    assert (encoder.modalities, encoder.channels, encoder.device) == (M, X, torch.device("cpu"))


def test_its_sizes_are_told_by_settings_and_tensors(encoder):
    assert set(encoder.settings) <= set(Settings.model_fields)
    assert type(encoder).channels_of(encoder.state_dict()) == X
    assert type(encoder).channels_of({"conv1.weight": torch.zeros(1)}) is None
    assert all(len(parameter) == M for parameter in encoder.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_the_generator_alone_decides_initial_values(tiny, name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, other = (build(tiny, name, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("changed", range(M))
def test_a_modality_depends_on_its_own_input_and_parameters(encoder, train, changed):
    """Another input for one modality changes that output alone; an output's gradient is in that modality alone."""
    encoder.train(train)
    x_MBTX = inputs()
    y_MBTX = x_MBTX.clone()
    y_MBTX[changed] = inputs(seed=1)[changed]
    one, other = encoder(x_MBTX), encoder(y_MBTX)
    for m in range(M):
        assert torch.allclose(one[m], other[m], rtol=0, atol=1e-6) == (m != changed)
    for gradient in gradients(encoder, one[changed]):
        assert not any(gradient[m].any() for m in range(M) if m != changed)


def test_every_parameter_learns(encoder):
    for gradient in gradients(encoder.train(), encoder(inputs())):
        assert gradient.isfinite().all()
        assert gradient.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_gradient_is_the_slope(tiny, name):
    """Along a random direction in all parameters, in float64."""
    settings, kind = tiny(), ENCODERS[name]
    own = {key: getattr(settings, key) for key in kind.settings}
    generator = torch.Generator().manual_seed(0)
    encoder = kind(M, X, embedding_size=7, compute_dtype=torch.float64, generator=generator, **own).double()
    x_MBTX, parameters = inputs().double(), list(encoder.parameters())
    along = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients(encoder, encoder(x_MBTX)), along, strict=True))
    pull = torch.randn(M, B, 7, generator=torch.Generator().manual_seed(9))
    values = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            torch._foreach_add_(parameters, along, alpha=step)
            values.append((encoder(x_MBTX) * pull).sum().item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope.item(), rel=1e-6)


def test_a_copy_shares_nothing(encoder):
    encoder.train()
    twin = copy.deepcopy(encoder).requires_grad_(False)
    before = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        for tensor in twin.parameters():
            tensor.add_(1.0)
    assert not twin(inputs()).requires_grad
    assert all(torch.equal(x, before[key]) for key, x in encoder.state_dict().items())
    assert encoder(inputs()).requires_grad


@pytest.mark.parametrize("name", ENCODERS)
def test_its_state_is_of_modalities_or_counts_passes_or_is_constant(tiny, name):
    """Of twice as many modalities it is twice as long; so is the encoder of trials side by side."""
    encoder = build(tiny, name).train()
    kind, own = ENCODERS[name], {key: getattr(tiny(), key) for key in ENCODERS[name].settings}
    twice = kind(2 * M, X, embedding_size=7, generator=torch.Generator().manual_seed(1), **own).state_dict()
    before = copy.deepcopy(encoder.state_dict())
    encoder(inputs())
    for key, x in encoder.state_dict().items():
        if x.ndim and len(x) % M == 0 and len(twice[key]) == 2 * len(x):
            continue
        counts = not (x.ndim or x.is_floating_point())
        assert torch.equal(x, before[key] + 1 if counts else before[key]), key
        assert torch.equal(twice[key], before[key]), key


def test_a_state_gives_the_same_features_in_another_encoder(encoder, tiny):
    encoder.train()
    encoder(inputs(seed=4))  # running statistics
    name = next(key for key, kind in ENCODERS.items() if type(encoder) is kind)
    other = build(tiny, name, seed=5)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other.eval().features(inputs()), encoder.eval().features(inputs()))


def test_in_eval_mode_a_sample_is_alone(encoder):
    encoder.eval()
    x_MBTX = inputs()
    whole, part = encoder.features(x_MBTX), encoder.features(x_MBTX[:, [4, 1]])
    torch.testing.assert_close(part, whole[:, [4, 1]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_with_equal_shares_are_as_good_as_one(encoder, workers):
    """Outputs, running statistics and the mean of the gradients."""
    encoder.train()
    copies = [copy.deepcopy(encoder) for _ in range(workers)]
    barrier, given = Barrier(workers), [torch.empty(0)] * workers
    outs, found = [None] * workers, [None] * workers
    x_MBTX = inputs()

    def work(rank):
        def gather(x):
            given[rank] = x
            barrier.wait(60)
            all_W = torch.stack([part.detach() for part in given])
            barrier.wait(60)
            return all_W

        torch.set_num_threads(1)
        own_MBTX = x_MBTX.chunk(workers, dim=1)[rank]
        out = copies[rank](own_MBTX, gather(copies[rank].statistics(own_MBTX)), gather)
        pull = torch.randn(M, B, 7, generator=torch.Generator().manual_seed(9)).chunk(workers, dim=1)[rank]
        outs[rank] = out.detach()
        found[rank] = torch.autograd.grad((out * pull).sum(), list(copies[rank].parameters()))

    threads = [Thread(target=work, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = encoder(x_MBTX)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(zip(*found, strict=True), gradients(encoder, whole), strict=True):
        assert (sum(ours) - theirs).norm() <= 1e-4 * theirs.norm()
    for one in copies:
        for (key, ours), theirs in zip(one.state_dict().items(), encoder.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=key)


def test_the_capture_of_steps_changes_no_number(encoder):
    encoder.eval()
    before = encoder(inputs())
    encoder.expect_capture(True)
    during = encoder(inputs())
    encoder.expect_capture(False)
    assert torch.equal(before, during)
    assert torch.equal(before, encoder(inputs()))


@pytest.mark.parametrize("name", ENCODERS)
def test_copies_of_parameters_are_read_in_place_of_them(tiny, name):
    """Right ones change no number, neither of a gradient; any other changes the output; afterwards none is read."""
    encoder = build(tiny, name, precision="bfloat16").train()
    copies = {name: encoder.get_parameter(name).detach().to(dtype) for name, dtype in encoder.rounds().items()}
    without = encoder.features(inputs())
    with encoder.reading(copies):
        out = encoder.features(inputs())
    assert torch.equal(out, without)
    for ours, theirs in zip(*(torch.autograd.grad(x.sum(), features_of(encoder)) for x in (out, without)), strict=True):
        assert torch.equal(ours, theirs)
    for changed, x in copies.items():
        with encoder.reading({**copies, changed: 2 * x}):
            assert not torch.equal(encoder.features(inputs()), without), changed
    assert torch.equal(encoder.features(inputs()), without)
    assert not build(tiny, name).rounds()


def features_of(encoder):
    """The parameters that features are of."""
    return [x for name, x in encoder.named_parameters() if not name.startswith("head.")]
