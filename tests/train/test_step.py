"""One training step, operation by operation: what moves, in which order, and the sums of an epoch.

tests/test_gpu.py holds captured steps to these. M modality, B sample, T frame, X input channel.
"""

import copy

import pytest
import torch

from cmd_tune.model.objectives import Base
from cmd_tune.train.loop import build_optimizer, build_pretrainer
from cmd_tune.train.step import TrainingStep, means_of, state_in_numbers, take_step, use_tensor_rates

CPU = torch.device("cpu")
CHANNELS = 12


@pytest.fixture
def build(tiny):
    """A pretrainer and its optimiser, the same ones each time."""

    def make(**changes):
        settings = tiny(optimizer="sgd", sgd_momentum=0, weight_decay=0, **changes)
        pretrainer = build_pretrainer(settings, CHANNELS).train()
        return pretrainer, build_optimizer(settings, pretrainer.online.parameters())

    return make


def views(seed, modalities=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(modalities, 8, 6, CHANNELS, generator=generator) for _ in range(2)]


def test_a_step_is_the_gradient_then_the_keys(build):
    """Plain SGD: weights less rate × gradient. The batch's keys enter the banks after they were compared with them."""
    pretrainer, optimizer = build()
    by_hand = copy.deepcopy(pretrainer)
    losses, key_MBD = by_hand(*views(0))
    losses.total.backward()
    optimizer.param_groups[0]["lr"] = 0.25
    taken = take_step(pretrainer, optimizer, *views(0))
    assert taken.total.item() == losses.total.item()
    for (name, ours), theirs in zip(pretrainer.online.named_parameters(), by_hand.online.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.25 * theirs.grad, msg=name)
    assert torch.equal(pretrainer.banks.keys_MKD[:, :8], key_MBD)
    assert torch.equal(pretrainer.banks.keys_MKD[:, 8:], by_hand.banks.keys_MKD[:, 8:])
    assert pretrainer.banks.pointer.item() == 8
    assert all(parameter.grad is None for parameter in pretrainer.momentum.parameters())


def test_gradients_of_one_step_are_gone_at_the_next(build):
    pretrainer, optimizer = build()
    optimizer.param_groups[0]["lr"] = 0.0
    take_step(pretrainer, optimizer, *views(0))
    fresh = copy.deepcopy(pretrainer)
    fresh.zero_grad()
    take_step(pretrainer, optimizer, *views(1))
    take_step(fresh, torch.optim.SGD(fresh.online.parameters(), lr=0.0), *views(1))
    for ours, theirs in zip(pretrainer.online.parameters(), fresh.online.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_sums_become_means_over_the_steps_of_an_epoch(build, tiny):
    """Of losses and of hits in percent, by modality; a new epoch begins at 0."""
    pretrainer, optimizer = build()
    other, its_optimizer = build()
    modalities = tiny().modalities
    step = TrainingStep(pretrainer, optimizer, lambda *given: given, CPU)
    for epoch in (1, 2):
        step.begin_epoch()
        taken = []
        for seed in range(3):
            step(views(10 * epoch + seed), 0.1)
            its_optimizer.param_groups[0]["lr"] = 0.1
            taken.append(take_step(other, its_optimizer, *views(10 * epoch + seed)))
        expected = {
            "loss/total": sum(losses.total.item() for losses in taken) / 3,
            "loss/cmd": sum(losses.cross_modal.item() for losses in taken) / 3,
        }
        for index, name in enumerate(modalities):
            expected[f"loss/{name}"] = sum(losses.contrastive_M[index].item() for losses in taken) / 3
        for index, name in enumerate(modalities):
            hits = sum(round(8 * losses.hit_share_M[index].item()) for losses in taken)  # of 8 samples a step
            expected[f"accuracy/{name}"] = 100 * hits / 24
        means = means_of(step.sums, 3, pretrainer.objective, modalities)
        assert list(means) == list(expected)
        assert means == pytest.approx(expected, rel=1e-5)


def test_an_objective_without_a_term_between_modalities_reports_none(build, tiny):
    pretrainer, optimizer = build()
    pretrainer.objective = Base(0.07)
    step = TrainingStep(pretrainer, optimizer, lambda *given: given, CPU)
    step(views(0), 0.1)
    means = means_of(step.sums, 1, pretrainer.objective, tiny().modalities)
    assert "loss/base" not in means
    assert means["loss/total"] == pytest.approx(sum(means[f"loss/{name}"] for name in tiny().modalities), rel=1e-5)


def test_views_are_made_of_the_arguments_of_the_step(build):
    pretrainer, optimizer = build()
    seen = []

    def make(seed, scale):
        seen.append((seed.item(), scale.item()))
        return tuple(scale * x for x in views(seed.item()))

    step = TrainingStep(pretrainer, optimizer, make, CPU)
    for seed, scale in ((3, 1.0), (4, 2.0)):
        step([torch.tensor(seed), torch.tensor(scale)], 0.1)
    assert seen == [(3, 1.0), (4, 2.0)]


def test_each_step_has_its_own_rate(build):
    """Two steps of rates 0.5 and 0: the second moves nothing but keys and statistics."""
    pretrainer, optimizer = build()
    step = TrainingStep(pretrainer, optimizer, lambda *given: given, CPU)
    before = pretrainer.online.head.bias_1.clone()
    step(views(0), 0.5)
    after = pretrainer.online.head.bias_1.clone()
    step(views(1), 0.0)
    assert not torch.equal(after, before)
    assert torch.equal(pretrainer.online.head.bias_1, after)
    assert pretrainer.banks.pointer.item() == 16
    assert state_in_numbers(optimizer, step.rates)["param_groups"][0]["lr"] == 0.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_checkpoint_has_numbers_whichever_way_steps_are_taken(tiny, optimizer):
    """On a GPU the rate is a tensor that the graph reads; what is saved loads into an optimiser of either way."""
    settings = tiny(optimizer=optimizer)
    pretrainer = build_pretrainer(settings, CHANNELS).train()
    used = build_optimizer(settings, pretrainer.online.parameters())
    step = TrainingStep(pretrainer, used, lambda *given: given, CPU)
    step(views(0), 0.125)
    eager = copy.deepcopy(state_in_numbers(used, step.rates))
    rates = torch.tensor([9.0])
    use_tensor_rates(used, rates)
    (group,) = used.param_groups
    assert group["lr"].data_ptr() == rates.data_ptr()
    assert group.get("capturable") == (True if optimizer == "adamw" else None)
    captured = state_in_numbers(used, step.rates)
    assert captured["param_groups"] == eager["param_groups"]
    assert type(captured["param_groups"][0]["lr"]) is float
    assert captured["param_groups"][0].get("capturable") == (False if optimizer == "adamw" else None)
    assert group["lr"].data_ptr() == rates.data_ptr()  # what is saved is a copy
    again = build_optimizer(settings, pretrainer.online.parameters())
    again.load_state_dict(captured)
    assert again.param_groups[0]["lr"] == 0.125


def test_a_rate_in_a_tensor_is_the_rate(build):
    """The same numbers, and those of the moment: what the tensor holds when the step is taken."""
    found = []
    for as_tensor in (False, True):
        pretrainer, optimizer = build()
        rates = torch.zeros(1)
        if as_tensor:
            use_tensor_rates(optimizer, rates)
            rates.fill_(0.25)
        else:
            optimizer.param_groups[0]["lr"] = 0.25
        take_step(pretrainer, optimizer, *views(0))
        found.append(pretrainer.online.head.weight_1.detach())
    torch.testing.assert_close(*found)
