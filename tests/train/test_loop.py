"""The training loop: rates, divergence, what is refused, when it validates and saves."""

import math
from itertools import pairwise, product

import pytest
import torch

from cmd_tune.errors import Diverged, UsageError
from cmd_tune.model.objectives import CMD, MCL, Base, CrosSCLR
from cmd_tune.train.checkpoint import load_checkpoint
from cmd_tune.train.loop import CHECKPOINT, build_optimizer, build_pretrainer, learning_rate, objective_at, pretrain

CPU = torch.device("cpu")


# Rates


@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_the_papers_schedule(tiny, scale):
    """451 epochs, a tenth of the rate once 351 are done."""
    settings = tiny(schedule="step", epochs=451, step_epoch=351, learning_rate=scale)
    rates = {epoch: learning_rate(settings, epoch, 3, 10) for epoch in (1, 2, 350, 351, 352, 451)}
    assert rates == pytest.approx({1: scale, 2: scale, 350: scale, 351: scale, 352: scale / 10, 451: scale / 10})


def test_the_cosine_falls_from_the_rate_to_zero_over_all_steps(tiny):
    settings = tiny(schedule="cosine", epochs=6, learning_rate=0.2)
    steps = 5
    rates = [learning_rate(settings, epoch, step, steps) for epoch in range(1, 7) for step in range(steps)]
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * done / 30)) for done in range(30)])
    assert rates[0] == pytest.approx(0.2)
    assert rates[15] == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_the_optimiser_gets_the_rate_of_each_step(tiny, tiny_store, worker, tmp_path, schedule):
    settings = tiny(schedule=schedule, step_epoch=2, optimizer="sgd", learning_rate=0.01)
    records = []
    worker.train(settings, tiny_store, tmp_path, records.append)
    last = [learning_rate(settings, epoch, 3, 4) for epoch in (1, 2, 3)]
    assert [record["learning_rate"] for record in records] == pytest.approx(last)
    group = load_checkpoint(tmp_path / CHECKPOINT)["optimizer"]["param_groups"][0]
    assert group["lr"] == pytest.approx(last[-1])


def test_optimisers_get_their_own_numbers_and_every_parameter(tiny):
    settings = tiny(optimizer="sgd", sgd_momentum=0.8, weight_decay=0.02, learning_rate=0.3)
    pretrainer = build_pretrainer(settings, 60)
    (group,) = build_optimizer(settings, pretrainer.online.parameters()).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.3, 0.8, 0.02, False)
    assert len(group["params"]) == len(list(pretrainer.online.parameters()))
    adamw = build_optimizer(settings.model_copy(update={"optimizer": "adamw"}), pretrainer.online.parameters())
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.param_groups[0]["lr"], adamw.param_groups[0]["weight_decay"]) == (0.3, 0.02)


# One epoch, spelt out


def test_an_epoch_is_its_steps(tiny, tiny_store, worker, tmp_path):
    """The same batches through a loop written here: same weights, same banks, same means of the losses."""
    settings = tiny(epochs=1, optimizer="sgd", learning_rate=0.05)
    records = []
    ours = worker.train(settings, tiny_store, tmp_path, records.append)

    pretrainer = build_pretrainer(settings, tiny_store.width)
    batches = worker.make_batches(settings, tiny_store)
    optimizer = torch.optim.SGD(
        pretrainer.online.parameters(), momentum=settings.sgd_momentum, weight_decay=settings.weight_decay
    )
    totals, contrastive, distillation, hits = 0.0, torch.zeros(3), 0.0, torch.zeros(3)
    for step, (query, key) in enumerate(batches.epoch(1)):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 4)) / 2
        losses, keys = pretrainer(query, key)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        pretrainer.banks.enqueue(keys)
        totals += losses.total.item() / 4
        contrastive += losses.contrastive_M.detach() / 4
        distillation += losses.cross_modal.item() / 4
        hits += 25 * losses.hit_share_M
    for name, value in pretrainer.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=lambda m, n=name: f"{n}: {m}")
    (record,) = records
    assert record["loss/total"] == pytest.approx(totals, rel=1e-5)
    assert record["loss/cmd"] == pytest.approx(distillation, rel=1e-5)
    for index, name in enumerate(settings.modalities):
        assert record[f"loss/{name}"] == pytest.approx(contrastive[index].item(), rel=1e-5)
        assert record[f"accuracy/{name}"] == pytest.approx(hits[index].item(), rel=1e-5)
    parts = sum(record[f"loss/{name}"] for name in settings.modalities) + settings.distill_weight * record["loss/cmd"]
    assert record["loss/total"] == pytest.approx(parts, rel=1e-5)


def test_initial_values_depend_on_the_seed_alone(tiny):
    torch.manual_seed(1)
    one = build_pretrainer(tiny(), 60).state_dict()
    torch.manual_seed(2)
    again = build_pretrainer(tiny(teacher_temperature=0.01, learning_rate=1.0), 60).state_dict()
    other = build_pretrainer(tiny(seed=1), 60).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["online.head.weight_0"], other["online.head.weight_0"])
    assert not torch.equal(one["banks.keys_MKD"], other["banks.keys_MKD"])


# Objectives and stages


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"objective": "base"}, Base(0.2)),
        ({"objective": "mcl"}, MCL(0.2, "added")),
        ({"objective": "mcl", "mcl_form": "instead"}, MCL(0.2, "instead")),
        ({"objective": "crossclr"}, CrosSCLR(0.2, 1, "with")),
        ({"objective": "crossclr", "crossclr_topk": 3, "crossclr_context": "without"}, CrosSCLR(0.2, 3, "without")),
        ({}, CMD(0.2, 0.01, 0.3, 5, 0.7, "pairwise")),
        ({"distillation": "consensus"}, CMD(0.2, 0.01, 0.3, 5, 0.7, "consensus")),
    ],
)
def test_settings_say_what_is_minimised(tiny, changes, expected):
    numbers = {"teacher_temperature": 0.01, "student_temperature": 0.3, "topk": 5, "distill_weight": 0.7}
    settings = tiny(contrast_temperature=0.2, **numbers, **changes)
    assert objective_at(settings, 1) == objective_at(settings, settings.epochs) == expected


@pytest.mark.parametrize(
    ("switch", "epochs", "of_base"),
    [(0.5, 300, 150), (0.5, 5, 2), (0.29, 100, 29), (0.3, 10, 3), (0.999, 10, 9), (0.0, 4, 0), (1.0, 4, 4)],
)
def test_the_objective_takes_over_after_its_share_of_the_epochs(tiny, switch, epochs, of_base):
    """CrosSCLR's own: from epoch 151 of 300 on."""
    settings = tiny(objective="crossclr", stages="two", stage_switch=switch, epochs=epochs)
    kinds = [type(objective_at(settings, epoch)) for epoch in range(1, epochs + 1)]
    assert kinds == [Base] * of_base + [CrosSCLR] * (epochs - of_base)


def test_base_is_weight_zero_and_one_neighbour(tiny, tiny_store, worker, tmp_path):
    """Whose KL is 0: these two to the bit, Base within the rounding of products of fewer rows."""
    changes = {"base": {"objective": "base"}, "weight": {"distill_weight": 0}, "neighbour": {"topk": 1}}
    states = {}
    for name, change in changes.items():
        settings = tiny(optimizer="sgd", learning_rate=0.05, **change)
        states[name] = worker.train(settings, tiny_store, tmp_path / name).state_dict()
    for key, value in states["weight"].items():
        assert torch.equal(states["neighbour"][key], value), key
        torch.testing.assert_close(states["base"][key], value, rtol=1e-4, atol=5e-5, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize(
    ("objective", "stages"), [("base", "one"), *product(("mcl", "crossclr", "cmd"), ("one", "two"))]
)
def test_what_is_recorded_of_each_stage(tiny, tiny_store, worker, tmp_path, objective, stages):
    """The cross-modal term under the objective's name, in the epochs that have one; every modality's always."""
    settings = tiny(objective=objective, stages=stages, epochs=2)
    records = []
    worker.train(settings, tiny_store, tmp_path, records.append)
    own = {f"{kind}/{name}" for kind in ("loss", "accuracy") for name in settings.modalities}
    for record in records:
        of_base = objective == "base" or (stages == "two" and record["epoch"] == 1)
        losses = {key for key in record if key.startswith(("loss/", "accuracy/"))}
        assert losses == own | {"loss/total"} | (set() if of_base else {f"loss/{objective}"})
        parts = sum(record[f"loss/{name}"] for name in settings.modalities)
        if not of_base:
            parts = record[f"loss/{objective}"] + (0 if objective == "crossclr" else parts)
        assert record["loss/total"] == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("objective", ["mcl", "crossclr", "cmd"])
def test_every_key_encoder_moves_in_every_stage(tiny, tiny_store, worker, tmp_path, objective):
    """Every parameter of every branch's twin, epoch by epoch, the rate of the schedule as if there were one stage."""
    settings = tiny(objective=objective, stages="two", epochs=4)
    kept, records = [], []

    def report(record):
        records.append(record)
        state = load_checkpoint(tmp_path / CHECKPOINT)["pretrainer"]
        kept.append({name: value for name, value in state.items() if name.startswith("momentum.") and "weight" in name})

    worker.train(settings, tiny_store, tmp_path, report)
    kept.insert(0, {name: build_pretrainer(settings, tiny_store.width).state_dict()[name] for name in kept[0]})
    for before, after in pairwise(kept):
        for name, value in after.items():
            for branch in range(3):
                assert not torch.equal(value[branch], before[name][branch]), f"{name}, branch {branch}"
    rates = [learning_rate(settings, epoch, 3, 4) for epoch in range(1, 5)]
    assert [record["learning_rate"] for record in records] == pytest.approx(rates)


# Divergence and refusals


@pytest.mark.parametrize(
    "changes", [{"optimizer": "sgd", "learning_rate": 1e30}, {"student_temperature": 1e-40}], ids=lambda c: [*c][-1]
)
def test_a_loss_that_is_not_finite_names_the_epoch(tiny, tiny_store, worker, tmp_path, changes):
    reported = []
    with pytest.raises(Diverged, match=r"(nan|inf) in epoch 1; lower learning_rate") as caught:
        worker.train(tiny(**changes), tiny_store, tmp_path, reported.append)
    assert "\n" not in str(caught.value)
    assert not reported
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_loss_that_diverges_later_leaves_the_last_good_checkpoint(tiny, tiny_store, worker, tmp_path):
    """Weights that are not finite from the second epoch on, put there between the epochs."""
    settings = tiny(optimizer="sgd", learning_rate=0.01)
    spoilt = []

    def evaluate(encoders):
        spoilt.append(1)
        if len(spoilt) == 2:
            with torch.no_grad():
                encoders.head.bias_1.fill_(math.nan)
        return {}

    clips_N = worker.make_batches(settings, tiny_store).clips_N.numpy()
    reported = []
    run = {"folder": tmp_path, "evaluate": evaluate, "report": reported.append, "device": CPU}
    with pytest.raises(Diverged, match="nan in epoch 3"):
        pretrain(settings, tiny_store, clips_N, **run)
    assert [record["epoch"] for record in reported] == [1, 2]
    assert len(load_checkpoint(tmp_path / CHECKPOINT)["history"]) == 2


def test_a_batch_larger_than_the_data_is_refused(tiny, tiny_store, worker, tmp_path):
    with pytest.raises(UsageError, match=r"batch_size 37.*only 36 clips") as caught:
        worker.train(tiny(batch_size=37), tiny_store, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_batch_of_all_the_data_is_one_step(tiny, tiny_store, worker):
    assert len(worker.make_batches(tiny(batch_size=36), tiny_store)) == 1


# When


def test_when_it_validates_and_saves(tiny, tiny_store, worker, tmp_path):
    """Validation every second epoch, a checkpoint every third, both at the last."""
    settings = tiny(epochs=7, evaluate_every=2, checkpoint_every=3)
    saved, records = [], []

    def report(record):
        records.append(record)
        path = tmp_path / CHECKPOINT
        saved.append(len(load_checkpoint(path)["history"]) if path.exists() else 0)

    worker.train(settings, tiny_store, tmp_path, report)
    assert ["val/knn/fused" in record for record in records] == [False, True, False, True, False, True, True]
    assert saved == [0, 0, 3, 3, 3, 6, 7]


def test_validation_does_not_touch_training(tiny, tiny_store, worker, tmp_path):
    """Running statistics, draws and all: validated every epoch or only at the end, the weights are the same."""
    states = []
    for every in (1, 3):
        settings = tiny(evaluate_every=every)
        states.append(worker.train(settings, tiny_store, tmp_path / str(every)).state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_products_are_rounded_where_asked_alone(tiny, tiny_store, worker, tmp_path, precision):
    """cuDNN would round to TF32 by default; on a CPU tf32 is float32, to the bit."""
    pretrainer = worker.train(tiny(epochs=1, precision=precision), tiny_store, tmp_path / precision)
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")
    exact = worker.train(tiny(epochs=1), tiny_store, tmp_path / "exact").state_dict()
    same = all(torch.equal(value, exact[name]) for name, value in pretrainer.state_dict().items())
    assert same == (precision != "bfloat16")
