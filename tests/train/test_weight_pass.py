"""Optimiser, key encoders and rounded copies in one pass: the same weights, keys and state as one after the other.

The kernels are interpreted here; tests/test_gpu.py has them compiled, within captured steps.
P trial, M modality, B sample, T frame, X input channel.
"""

import copy
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from cmd_tune.compute.optimizers import SGD, AdamW
from cmd_tune.errors import Diverged
from cmd_tune.model.encoders import ENCODERS, GRUEncoder
from cmd_tune.model.fused_pretrainer import FusedPretrainer
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.settings import make_settings
from cmd_tune.train import weight_pass as module
from cmd_tune.train.loop import build_encoder, build_optimizer, build_pretrainer, objective_at
from cmd_tune.train.slot_optimizer import SlotOptimizer
from cmd_tune.train.step import TrainingStep, state_in_numbers
from cmd_tune.train.weight_pass import weight_pass
from tests.train.test_fused import assert_same, fused_works, side_by_side, train, varied

CPU = torch.device("cpu")
CHANNELS = 12
OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "sgd_momentum": 0.9},
    "sgd without momentum": {"optimizer": "sgd", "sgd_momentum": 0.0},
    "adamw": {"optimizer": "adamw"},
}


@pytest.fixture(scope="module")
def code():
    return pytest.importorskip("tests.model.interpreted").weight_pass_kernels


@pytest.fixture
def in_one_pass(code, monkeypatch):
    """Steps of this process go by the pass, as they do on a GPU with Triton."""
    monkeypatch.setattr(module, "LEAST_ALONE", 0)
    monkeypatch.setattr(code, "BLOCK", 2**16)  # the interpreter takes as long for a small one
    monkeypatch.setattr(module, "kernels", lambda name, x: code if name == code.__name__ else None)


@contextmanager
def without_pass(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "kernels", lambda *_: None)
        yield


def numbers(code, *trials):
    return torch.tensor([[of.get(name, 0.0) for name in code.NUMBERS] for of in trials])


def tensors(count, *shape):
    generator = torch.Generator().manual_seed(len(shape))
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def exact(*given):
    return [x.double().numpy().copy() for x in given]


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 3 * 1024 + 5])
def test_a_step_of_sgd_by_its_formula(code, size):
    """Two trials of different numbers, of a size that no block divides."""
    trials = [
        {"rate": 0.1, "weight_decay": 0.01, "momentum": 0.9, "key_share": 0.001},
        {"rate": 0.5, "weight_decay": 0.0, "momentum": 0.5, "key_share": 0.75},
    ]
    weight, grad, kept, key = tensors(4, 2, size)
    w, g, b, k = exact(weight, grad, kept, key)
    copies = torch.zeros(2, 2, size, dtype=torch.bfloat16)
    code.sgd(weight, grad, kept, key, tuple(copies), numbers(code, *trials))
    for p, of in enumerate(trials):
        b[p] = of["momentum"] * b[p] + g[p] + of["weight_decay"] * w[p]
        w[p] -= of["rate"] * b[p]
        k[p] += of["key_share"] * (w[p] - k[p])
    for ours, theirs in ((weight, w), (kept, b), (key, k)):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)
    assert torch.equal(copies[0], weight.bfloat16())
    assert torch.equal(copies[1], key.bfloat16())


@pytest.mark.parametrize("decays", [(0.9, 0.999), (0.5, 0.99999), (0.0, 0.9), (0.999, 0.0)], ids=str)
@pytest.mark.parametrize("taken", [0, 1, 5, 6, 499, 999, 100_000])
def test_a_step_of_adamw_by_its_formula(code, taken, decays):
    """After so many steps; the decays and bias corrections are where float32 would lose digits of 1 − decay^step."""
    first, second = decays
    told = module._numbers_of({"lr": 0.002, "weight_decay": 0.05, "betas": decays, "eps": 1e-8})
    of = {**told, "key_share": 0.01}
    weight, grad, mean, key = tensors(4, 1, 500)
    weight[:, :250] = 0.0  # what is left of a step that begins there is its length, every digit of it
    square = mean**2 + 1e-3
    w, g, m, v, k = exact(weight, grad, mean, square, key)
    code.adamw(weight, grad, torch.tensor([taken + 1.0]), mean, square, key, None, numbers(code, of))
    m = first * m + (1 - first) * g
    v = second * v + (1 - second) * g * g
    w -= 0.002 * 0.05 * w
    corrected = m / (1 - first ** (taken + 1)), v / (1 - second ** (taken + 1))
    moved = 0.002 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    w -= moved
    k += 0.01 * (w - k)
    for ours, theirs in ((mean, m), (square, v), (weight, w), (key, k)):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(weight.numpy()[:, :250], -moved[:, :250], rtol=2e-6, atol=1e-9)


def test_a_share_of_one_makes_the_key_the_weight_and_of_nothing_leaves_it(code):
    (weight, key), before = tensors(2, 2, 40), tensors(2, 2, 40)[1]
    code.move_keys(weight, key, None, numbers(code, {"key_share": 1.0}, {"key_share": 0.0}))
    assert torch.equal(key[0], weight[0])
    assert torch.equal(key[1], before[1])


def views(seed, modalities=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(modalities, 8, 6, CHANNELS, generator=generator) for _ in range(2)]


def steps_of(settings):
    pretrainer = build_pretrainer(settings, CHANNELS).train()
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    return pretrainer, optimizer, TrainingStep(pretrainer, optimizer, lambda *given: given, CPU)


def assert_equal_states(ours, theirs):
    for name, x in theirs[0].state_dict().items():
        torch.testing.assert_close(ours[0].state_dict()[name], x, rtol=1e-5, atol=2e-6, msg=name)
    mine, its = (state_in_numbers(way[1], way[2].rates) for way in (ours, theirs))
    assert mine["param_groups"] == its["param_groups"]
    assert mine["state"].keys() == its["state"].keys()
    for index, state in its["state"].items():
        assert mine["state"][index].keys() == state.keys()
        for name, x in state.items():
            if isinstance(x, torch.Tensor):
                assert mine["state"][index][name].shape == x.shape
                torch.testing.assert_close(mine["state"][index][name], x, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_pytorchs_optimiser_and_of_the_momentum_update(tiny, in_one_pass, monkeypatch, optimizer):
    """After every step that is said to be the last; between them the key encoder alone is a step ahead."""
    settings = tiny(**OPTIMIZERS[optimizer], weight_decay=0.01, key_momentum=0.9)
    ours = steps_of(settings)
    with without_pass(monkeypatch):
        theirs = steps_of(settings)
    assert ours[2].in_one_pass is not None
    assert theirs[2].in_one_pass is None
    for taken, goes_on in enumerate((True, True, False, False, True, False)):
        rate = 0.02 / (1 + taken)
        ours[2](views(taken), rate, goes_on=[goes_on])
        theirs[2](views(taken), rate)
        if goes_on:
            ahead = copy.deepcopy(theirs[0])
            ahead.update_momentum()
            for key, its in zip(ours[0].momentum.parameters(), ahead.momentum.parameters(), strict=True):
                torch.testing.assert_close(key, its, rtol=1e-5, atol=2e-6)
        else:
            assert_equal_states(ours, theirs)
    torch.testing.assert_close(ours[2].sums, theirs[2].sums, rtol=1e-5, atol=1e-6)


def test_both_encoders_read_copies_that_are_the_weights_of_the_moment(tiny, in_one_pass):
    settings = tiny(precision="bfloat16", key_momentum=0.5, optimizer="sgd")
    pretrainer, _, step = steps_of(settings)
    seen = []
    for encoder in (pretrainer.online, pretrainer.momentum):
        encoder.register_forward_pre_hook(
            lambda its, _: seen.append(
                {name: (x.clone(), its.get_parameter(name).bfloat16()) for name, x in its.rounded.items()}
            )
        )
    for taken, goes_on in enumerate((True, False, True, True)):
        step(views(taken), 0.1, goes_on=[goes_on])
    assert len(seen) == 8
    for copies in seen:
        assert set(copies) == {"gru.0.weight_hh", "gru.1.weight_ih", "gru.1.weight_hh"}
        assert all(torch.equal(x, rounded) for x, rounded in copies.values())
    assert not pretrainer.online.rounded  # evaluation rounds what the weights are then


def test_weights_that_are_changed_between_steps_are_found(tiny, in_one_pass):
    """As where a slot gets another trial: its keys and copies are made anew from what is there."""
    settings = tiny(precision="bfloat16", key_momentum=0.9, optimizer="sgd")
    ours, other = steps_of(settings), steps_of(settings)
    ours[2](views(0), 0.1, goes_on=[True])
    state = copy.deepcopy(other[0].state_dict())
    ours[0].load_state_dict(state)
    for group in ours[1].param_groups:
        for x in group["params"]:
            ours[1].state[x]["momentum_buffer"].zero_()
    ours[2].weights_changed(0)
    ours[2](views(1), 0.1)
    other[2](views(1), 0.1)
    for (name, x), its in zip(ours[0].state_dict().items(), other[0].state_dict().values(), strict=True):
        assert torch.equal(x, its), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_weight_without_a_gradient_stays_and_has_no_state(tiny, in_one_pass, optimizer):
    """As PyTorch leaves it: no decay either. Its key still moves towards it."""
    settings = tiny(**OPTIMIZERS[optimizer], weight_decay=0.5, key_momentum=0.75)
    pretrainer, used, step = steps_of(settings)
    unused = pretrainer.online.head.bias_1
    with torch.no_grad():
        pretrainer.momentum.head.bias_1.add_(1.0)
    unused.requires_grad_(False)
    before, key_before = unused.clone(), pretrainer.momentum.head.bias_1.clone()
    step(views(0), 0.1, goes_on=[True])
    assert torch.equal(unused, before)
    assert unused not in used.state
    expected = before + 0.75**2 * (key_before - before)  # once before the step, once after it
    torch.testing.assert_close(pretrainer.momentum.head.bias_1, expected)


def test_numbers_are_read_when_a_step_is_taken(tiny, in_one_pass):
    """Decay and betas of a group may change between steps without another capture."""
    settings = tiny(optimizer="adamw")
    pretrainer, used, step = steps_of(settings)
    step(views(0), 0.0)
    constants = step.optimizer.constants
    weight = pretrainer.online.head.bias_1.clone()
    used.param_groups[0].update(weight_decay=0.5, betas=(1.0 - 1e-9, 0.999))
    for x in used.param_groups[0]["params"]:
        used.state[x]["exp_avg"].zero_()
    step(views(1), 0.1)
    # Next to no gradient is taken up by the mean, which its correction makes up for: g / (√v̂ + ε) of a mean of 1e-9 g.
    assert step.optimizer.constants == constants
    moved = (pretrainer.online.head.bias_1 - 0.95 * weight).abs()
    assert 0 < moved.max() < 0.2


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_from_a_checkpoint_of_either_way(
    tiny, tiny_store, tmp_path, in_one_pass, monkeypatch, first, optimizer
):
    """Stopped after an epoch by one way, resumed by the other: records and checkpoint are those without the pass."""
    settings = tiny(optimizer=optimizer, layers=1, epochs=2)
    with without_pass(monkeypatch) if not first else nullcontext():
        train(settings, tiny_store, tmp_path / "both", stop_after=1)
    with without_pass(monkeypatch) if first else nullcontext():
        found = train(settings, tiny_store, tmp_path / "both")
    with without_pass(monkeypatch):
        assert_same(found, train(settings, tiny_store, tmp_path / "without"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trials_side_by_side_have_the_numbers_of_each_alone(
    tiny, tiny_store, tmp_path, in_one_pass, monkeypatch, optimizer
):
    """Three slots in one pass; each alone without it."""
    cases = [varied(tiny, index, **OPTIMIZERS[optimizer], layers=1, epochs=1 + index % 2) for index in range(3)]
    found = side_by_side(3, tiny_store, fused_works(cases, tmp_path))
    with without_pass(monkeypatch):
        for index, fused in enumerate(found):
            assert_same(fused, train(cases[index], tiny_store, tmp_path / f"a{index}"), within=5e-5)


def test_a_slot_changes_between_trials_with_momentum_and_without(tiny, tiny_store, tmp_path, in_one_pass, monkeypatch):
    momenta = (0.0, 0.9, 0.5, 0.0)
    cases = [varied(tiny, i, optimizer="sgd", sgd_momentum=m, layers=1, epochs=1) for i, m in enumerate(momenta)]
    works = fused_works(cases, tmp_path)

    def two(first):
        return lambda steps_by, store: [works[i](steps_by, store) for i in (first, first + 1)]

    found = [outcome for slot in side_by_side(2, tiny_store, [two(0), two(2)]) for outcome in slot]
    with without_pass(monkeypatch):
        for index, fused in enumerate(found):
            assert_same(fused, train(cases[index], tiny_store, tmp_path / f"a{index}"), within=5e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of numbers that are none
@pytest.mark.parametrize(("precision", "within"), [("float32", 5e-5), ("bfloat16", 1e-2)])
def test_a_trial_that_diverges_touches_neither_its_fellow_nor_the_next_in_its_slot(
    tiny, tiny_store, tmp_path, in_one_pass, monkeypatch, precision, within
):
    """Its weights and sums are no numbers; the next one's momentum of 0 must not be multiplied with them.

    In bfloat16 a digit that is rounded the other way is one of 2^-8.
    """
    common = {"optimizer": "sgd", "layers": 1, "precision": precision}
    fellow = varied(tiny, 0, **common, sgd_momentum=0.9, epochs=4)
    wild = varied(tiny, 1, **common, sgd_momentum=0.9, epochs=2, learning_rate=1e30, contrast_temperature=1e-30)
    after = varied(tiny, 2, **common, sgd_momentum=0.0, epochs=2)

    def two(steps_by, store):
        with pytest.raises(Diverged):
            train(wild, store, tmp_path / "wild", steps_by)
        return train(after, store, tmp_path / "after", steps_by)

    found = side_by_side(2, tiny_store, [two, lambda by, store: train(fellow, store, tmp_path / "fellow", by)])
    with without_pass(monkeypatch):
        for name, settings, fused in (("a", after, found[0]), ("b", fellow, found[1])):
            assert_same(fused, train(settings, tiny_store, tmp_path / name), within=within)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_of_another_layout_and_kind_is_read_by_its_places(tiny, in_one_pass, monkeypatch, optimizer):
    """As a checkpoint may bring it: moments with other strides, counts of steps in float64."""
    settings = tiny(**OPTIMIZERS[optimizer])

    def resumed(change):
        made = steps_of(settings)
        made[0].load_state_dict(copy.deepcopy(before[0].state_dict()))
        made[1].load_state_dict(copy.deepcopy(state_in_numbers(before[1], before[2].rates)))
        for of_weight in made[1].state.values():
            of_weight.update({name: change(name, x) for name, x in of_weight.items()})
        made[2](views(1), 0.1)
        return made

    def changed(name, x):
        return x.double() if name == "step" else x.mT.contiguous().mT if x.ndim > 1 else x

    with without_pass(monkeypatch):
        before = steps_of(settings)
        before[2](views(0), 0.1)
        theirs = resumed(lambda name, x: x)
    assert_equal_states(resumed(changed), theirs)


class Renamed(GRUEncoder):
    """It names a parameter that it rounds by its second name."""

    def __init__(self, modalities, channels, **own):
        super().__init__(modalities, channels, **own)
        self.same = self.gru[1].weight_hh

    def rounds(self):
        return {**super().rounds(), "same": self.compute_dtype}


def test_copies_are_of_names_that_the_encoder_lists(tiny, in_one_pass, monkeypatch):
    """A shared parameter has one copy, by the first of its names; by the other there is none, instead of noise."""
    monkeypatch.setitem(ENCODERS, "gru", Renamed)
    pretrainer, _, step = steps_of(tiny(precision="bfloat16"))
    seen = []
    pretrainer.online.register_forward_pre_hook(lambda its, _: seen.append(dict(its.rounded)))
    step(views(0), 0.1)
    assert set(seen[0]) == {"gru.0.weight_hh", "gru.1.weight_ih", "same"}


def test_there_is_none_without_triton_or_for_other_weights(tiny, code, monkeypatch):
    settings = tiny()
    pretrainer = build_pretrainer(settings, CHANNELS)
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    assert weight_pass(pretrainer, optimizer) is None  # a CPU
    monkeypatch.setattr(module, "kernels", lambda *_: code)
    size = sum(x.numel() for x in pretrainer.online.parameters())
    monkeypatch.setattr(module, "LEAST_ALONE", size + 1)
    assert weight_pass(pretrainer, optimizer) is None
    monkeypatch.setattr(module, "LEAST_ALONE", size)
    assert weight_pass(pretrainer, optimizer) is not None
    assert weight_pass(pretrainer.double(), optimizer) is None


def test_the_papers_encoder_has_one_and_the_quick_presets_beside_others(code, monkeypatch):
    """On a GPU: a small encoder by itself takes fewer launches without."""
    monkeypatch.setattr(module, "kernels", lambda *_: code)
    for preset, alone in (("quick", False), ("paper", True)):
        settings = make_settings(preset)
        with torch.device("meta"):
            online = build_encoder(settings, 150)
            M, size = len(settings.modalities), settings.queue_size
            banks = MemoryBanks(M, size, settings.embedding_size)
            pretrainer = Pretrainer(online, banks, objective_at(settings, 1), 0.99)
        assert (weight_pass(pretrainer, build_optimizer(settings, online.parameters())) is not None) == alone
    settings = make_settings("quick")
    two = build_encoder(settings, 150, trials=2)
    banks = MemoryBanks(2 * M, settings.queue_size, settings.embedding_size, trials=2)
    fused = FusedPretrainer(two, banks, [objective_at(settings, 1)] * 2)
    slots = SlotOptimizer(two.parameters(), 2, lambda groups: build_optimizer(settings, groups))
    assert weight_pass(fused, slots) is not None


def test_there_is_none_for_optimisers_of_other_formulas(tiny, code, monkeypatch):
    """Its own step is taken then, as on a CPU: never the kernels' in place of it."""
    monkeypatch.setattr(module, "kernels", lambda *_: code)
    monkeypatch.setattr(module, "LEAST_ALONE", 0)
    pretrainer = build_pretrainer(tiny(), CHANNELS)
    parameters = list(pretrainer.online.parameters())
    in_two_groups = [{"params": parameters[:3]}, {"params": parameters[3:], "weight_decay": 0.0}]
    for other in (
        torch.optim.NAdam(parameters),
        torch.optim.RMSprop(parameters, momentum=0.9),
        SGD(parameters, momentum=0.9, nesterov=True),
        SGD(parameters, momentum=0.9, dampening=0.1),
        AdamW(parameters, amsgrad=True),
        AdamW(parameters, maximize=True),
        SGD(in_two_groups),
        SGD(parameters[1:]),
        SlotOptimizer(parameters, 1, torch.optim.Adam),
    ):
        assert weight_pass(pretrainer, other) is None
    assert weight_pass(pretrainer, SlotOptimizer(parameters, 1, AdamW)) is not None
