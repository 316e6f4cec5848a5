"""What only a GPU can show: kernels, graphs, numbers beside the CPU's, and that no step waits for the host."""

import copy
import gc
from contextlib import contextmanager
from importlib import import_module

import numpy as np
import pytest
import torch

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.views.crop_shear import CropShear
from cmd_tune.model import batch_loss
from cmd_tune.model.batch_loss import BatchLoss
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.encoders.gru_dispatch import capture
from cmd_tune.model.encoders.gru_layer import GRUPairs, gru_pairs, gru_pairs_by_torch
from cmd_tune.model.objectives import terms
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.fused_probe import time_fused
from cmd_tune.train.loop import build_batches, build_optimizer, build_pretrainer, objective_at, pretrain, round_products
from cmd_tune.train.step import WARM_UP, TrainingStep, state_in_numbers, take_step
from tests.model.objectives.cases import (
    KINDS,
    NAMES,
    by_kernels,
    compare,
    every_objective,
    of_one,
    of_trials,
    side_by_side,
    similarities,
)
from tests.train.test_fused import assert_same, train, varied
from tests.train.test_fused import side_by_side as fused_side_by_side

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

GPU = torch.device("cuda")
M, S = 3, 2
# The paper's layers, the quick preset's, the largest and others of all frames at once, and odd sizes: (T, B, I, H)
SHAPES = [(64, 64, 150, 1024), (16, 32, 60, 64), (9, 64, 60, 128), (7, 33, 40, 100), (5, 37, 11, 19), (1, 1, 1, 1)]


@contextmanager
def tf32(allowed):
    """PyTorch's two switches, as the settings' precision sets them."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def layer(shape, dtype):
    """x and parameters of a layer whose states neither die nor saturate, on the GPU."""
    T, B, I, H = shape
    generator = torch.Generator().manual_seed(0)
    sizes = [(M, T, B, I), (M, S, 3 * H, I), (M, S, 3 * H, H), (M, S, 3 * H), (M, S, 3 * H)]
    scales = [1, I**-0.5, H**-0.5, 0.3, 0.3]
    made = [scale * torch.randn(size, generator=generator) for scale, size in zip(scales, sizes, strict=True)]
    return [x.to(GPU, dtype if i == 0 else torch.float32).requires_grad_() for i, x in enumerate(made)]


def numbers(way, tensors, last_only):
    out = way(*tensors, last_only)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out, *torch.autograd.grad(out, tensors, pull)]


def exactly(tensors, last_only):
    """The same in float64, by PyTorch's operations."""
    return numbers(GRUPairs.apply, [x.detach().double().requires_grad_() for x in tensors], last_only)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "rounded", "tolerance"),
    [(torch.float32, False, 1e-5), (torch.float32, True, 1e-2), (torch.bfloat16, False, 3e-2)],
    ids=["float32", "tf32", "bfloat16"],
)
@pytest.mark.parametrize("way", ["kernels", "kernels, frame by frame", "cuDNN"])
def test_a_layer_and_its_gradients_are_those_of_float64(way, dtype, rounded, tolerance, shape, last_only, monkeypatch):
    if way == "kernels, frame by frame":
        monkeypatch.setattr("cmd_tune.model.encoders.gru_sequence_kernels.SIZES", {})
    run_layer = gru_pairs_by_torch if way == "cuDNN" else GRUPairs.apply
    tensors = layer(shape, dtype)
    with tf32(rounded):
        found = numbers(run_layer, tensors, last_only)
    for a, b in zip(found, exactly(tensors, last_only), strict=True):
        assert (a.double() - b).norm() <= tolerance * b.norm()


@pytest.fixture
def objective_losses():
    """one_pass_launch.py's: imported where Triton compiles."""
    return by_kernels(import_module("cmd_tune.model.objectives.one_pass_launch").losses)


# (M, B, K, topk): the quick preset's, the paper's, odd ones, and a row that registers do not hold
@pytest.mark.parametrize(
    "sizes", [(3, 64, 192, 32), (3, 64, 16384, 8192), (7, 5, 333, 100), (2, 1, 1, 1), (2, 3, 70000, 5000)], ids=str
)
@pytest.mark.parametrize("name", NAMES)
def test_an_objectives_numbers_are_those_of_float64(objective_losses, name, sizes):
    M, B, K, topk = sizes
    objective = every_objective(topk)[name]
    tensors = (x.to(GPU) for x in similarities(objective, M, B, K))
    compare(of_one(objective_losses), objective, *tensors, within=2e-5)


@pytest.mark.parametrize(
    "temperatures",
    [
        {"teacher_temperature": 1e-3},
        {"teacher_temperature": 0.02, "student_temperature": 0.005},
        {"contrast_temperature": 5e-3},
        {"teacher_temperature": 1e3, "student_temperature": 1e3, "contrast_temperature": 1e3},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_an_objectives_numbers_at_cold_and_hot_temperatures(objective_losses, name, temperatures):
    objective = every_objective(50, **temperatures)[name]
    tensors = (x.to(GPU) for x in similarities(objective, 3, 8, 200, spread=0.5))
    compare(of_one(objective_losses), objective, *tensors, within=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("P", "queue_size"), [(1, 192), (3, 192), (8, 16384)])
def test_each_trial_has_the_numbers_of_it_alone(objective_losses, kind, P, queue_size):
    objectives = of_trials(kind, P, most=queue_size)
    positive, both = (x.to(GPU) for x in side_by_side(objectives, 3, 16, queue_size))
    alone = [(x.clone(), y.clone()) for x, y in zip(positive.chunk(P), both.chunk(P), strict=True)]
    loss_P, figures_PF, grad_positive = objective_losses(objectives, positive, both)
    found = zip(loss_P, figures_PF, grad_positive.chunk(P), both.chunk(P), strict=True)
    for objective, (one, similar), ours in zip(objectives, alone, found, strict=True):
        expected = (*of_one(objective_losses)(objective, one, similar), similar)
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("P", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_objective_is_the_eager_one(monkeypatch, kind, P):
    """BatchLoss and its gradient by the kernels, replayed with other embeddings and the numbers of other objectives."""
    monkeypatch.setattr(batch_loss, "_losses_in_blocks", None)
    objectives = of_trials(kind, P, most=32)
    generator = torch.Generator(GPU).manual_seed(0)
    shapes = ((P * 3, 64, 128), (P * 3, 64, 128), (P * 3, 192, 128))
    query, key, banks = (torch.randn(s, generator=generator, device=GPU).div_(128**0.5) for s in shapes)
    numbers_PN = terms.numbers(objectives, 192).to(GPU)

    def losses():
        asked = query.clone().requires_grad_()
        asked_PMBD = asked.unflatten(0, (P, 3))
        by_all = asked_PMBD[:, None].expand(P, 3, 3, 64, 128).flatten(0, 1)
        asked_GABD = by_all if objectives[0].asks_every_bank else asked[:, None]
        loss_P, figures_PF = BatchLoss.apply(asked_GABD, key, banks, objectives, numbers_PN)
        return loss_P, figures_PF, *torch.autograd.grad(loss_P.sum(), asked)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        losses()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = losses()
    for more in range(3):
        query.copy_(torch.randn(shapes[0], generator=generator, device=GPU).div_(128**0.5))
        objectives = of_trials(kind, P + more, most=32)[-P:]
        numbers_PN.copy_(terms.numbers(objectives, 192))
        graph.replay()
        for a, b in zip(captured, losses(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_captured_graph_follows_inputs_and_parameters(dtype):
    T, B, X = 8, 16, 12
    model = GRUEncoder(
        M,
        X,
        hidden_size=64,
        embedding_size=8,
        compute_dtype=dtype,
        generator=torch.Generator().manual_seed(0),
    ).to(GPU)
    parameters = tuple(model.recurrent_parameters().values())
    views = [torch.randn(M, T, B, X, device=GPU, dtype=dtype) for _ in range(3)]
    with tf32(False):
        graph = capture(model, views[0])
        for x_MTBX in views:
            eager = model.recur(x_MTBX, gru_pairs)
            captured = graph(x_MTBX)
            assert torch.equal(captured, eager)
            pull = torch.randn_like(eager)
            gradients = [torch.autograd.grad(out, parameters, pull) for out in (captured, eager)]
            for a, b in zip(*gradients, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(0.9)
        with torch.no_grad():
            frozen = capture(model, views[0])
            for x_MTBX in views:
                assert torch.equal(frozen(x_MTBX), model.recur(x_MTBX, gru_pairs))


@pytest.mark.parametrize("of", ["tiny_store", "flat_store"])
def test_views_are_those_of_the_cpu(request, of):
    here = request.getfixturevalue(of)
    near = here.on_device_if_it_fits(GPU)
    assert near.rows_FX.is_cuda
    clips_B = torch.arange(len(here))
    view = CropShear(4, 0.5, 1.0, 0.5)
    draws = view.draw(here.length_N, len(here.layout.joints), keyed_generator(0))
    views = [
        view.make(store.rows_FX, store.start_N[clips_B], draws, 16, store.frame_shape()).cpu() for store in (near, here)
    ]
    torch.testing.assert_close(*views, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_step_waits_for_the_host(tiny_store, tiny, precision):
    """CUDA's own word for it: an operation that would wait is an error."""
    settings = tiny(precision=precision, modalities=("joint", "motion", "bone"))
    round_products(settings)
    pretrainer = build_pretrainer(settings, tiny_store.width).to(GPU)
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    batches = build_batches(settings, tiny_store.on_device_if_it_fits(GPU), np.arange(len(tiny_store)), GPU)
    try:
        for step, (query_MBTX, key_MBTX) in enumerate(batches.epoch(1)):
            take_step(pretrainer, optimizer, query_MBTX, key_MBTX)
            if step == 1:  # the way has been chosen, and what is made once has been made
                torch.cuda.set_sync_debug_mode("error")
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def small_in_one_pass(monkeypatch):
    """Weights in one pass for small encoders, too."""
    monkeypatch.setattr("cmd_tune.train.weight_pass.LEAST_ALONE", 0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.usefixtures("small_in_one_pass")
def test_no_captured_step_waits_for_the_host(tiny_store, tiny, optimizer):
    """Neither with other rates, nor where the key encoders' update has a pass of its own."""
    settings = tiny(precision="bfloat16", optimizer=optimizer)
    pretrainer = build_pretrainer(settings, tiny_store.width).to(GPU).train()
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    batches = build_batches(settings, tiny_store.on_device_if_it_fits(GPU), np.arange(len(tiny_store)), GPU)
    step = TrainingStep(pretrainer, optimizer, batches.views, GPU)
    try:
        for taken, prepared in enumerate(batches.prepare(1)):
            if taken == WARM_UP + 1:  # the first one that does nothing but replay
                torch.cuda.set_sync_debug_mode("error")
            step(prepared, settings.learning_rate / (1 + taken), goes_on=[taken % 2 == 0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert step.captures
    assert taken > WARM_UP + 2


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("tf32", 0.03), ("bfloat16", 0.03)])
def test_a_run_has_the_cpus_losses(tiny_store, tiny, tmp_path, precision, tolerance):
    """Float32 on the CPU beside each of the GPU's precisions."""
    histories = {}
    for device, kind in ((torch.device("cpu"), "float32"), (GPU, precision)):
        history = histories[device.type] = []
        pretrain(
            tiny(precision=kind, epochs=3, evaluate_every=3),
            tiny_store.on_device_if_it_fits(device),
            np.arange(len(tiny_store)),
            folder=tmp_path / device.type,
            evaluate=lambda online: {},
            report=history.append,
            device=device,
        )
    for here, there in zip(histories["cpu"], histories["cuda"], strict=True):
        for name in (name for name in here if name.startswith("loss/")):
            assert there[name] == pytest.approx(here[name], rel=tolerance), name


def trained(settings, store, captured, steps=9, resume=None):
    """A pretrainer, its optimiser and the sums after some steps, by one graph or operation by operation."""
    round_products(settings)
    pretrainer = build_pretrainer(settings, store.width).to(GPU).train()
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    if resume:
        pretrainer.load_state_dict(resume["pretrainer"])
        optimizer.load_state_dict(copy.deepcopy(resume["optimizer"]))  # it keeps the tensors given
    step = TrainingStep(pretrainer, optimizer, lambda *views: views, GPU)
    if not captured:
        step.captures = False
        for encoders in (pretrainer.online, pretrainer.momentum):
            encoders.expect_capture(True)
    pretrainer.objective = objective_at(settings, settings.epochs)
    generator = torch.Generator(GPU).manual_seed(3)
    shape = (len(settings.modalities), settings.batch_size, settings.frames, store.width)
    for taken in range(steps):
        views = [torch.randn(shape, device=GPU, generator=generator) for _ in range(2)]
        step(views, settings.learning_rate / (1 + taken), goes_on=[taken + 1 < steps and taken % 3 < 2])
    assert step.captures == captured
    return pretrainer, optimizer, step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "objective",
    [
        {"objective": "base"},
        {"objective": "mcl"},
        {"objective": "crossclr"},
        {"objective": "cmd"},
        {"objective": "cmd", "distillation": "consensus"},
        {"objective": "cmd", "stages": "two"},
    ],
    ids=lambda given: "-".join(given.values()),
)
@pytest.mark.usefixtures("small_in_one_pass")
def test_a_captured_step_is_the_eager_one(tiny_store, tiny, objective, optimizer, precision):
    """Sums, weights, banks, pointer and optimiser's state after steps with a falling learning rate."""
    settings = tiny(precision=precision, optimizer=optimizer, **objective)
    eager, captured = (trained(settings, tiny_store, way) for way in (False, True))
    assert captured[2].in_one_pass
    assert_same_steps(captured, eager)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.usefixtures("small_in_one_pass")
def test_a_captured_step_may_be_of_pytorchs_optimiser(tiny_store, tiny, monkeypatch, optimizer):
    """As without Triton: weights and keys one after the other, rates in tensors. The pass has the same numbers.

    In float32 alone: a digit of a weight that is rounded the other way becomes one of bfloat16's, and AdamW makes as
    much of the smallest gradient as of the largest.
    """
    settings = tiny(optimizer=optimizer, precision="float32")
    in_one_pass = trained(settings, tiny_store, captured=True)
    monkeypatch.setattr("cmd_tune.train.weight_pass.kernels", lambda *_: None)
    eager, captured = (trained(settings, tiny_store, way) for way in (False, True))
    assert captured[2].in_one_pass is None
    assert_same_steps(captured, eager)
    assert_same_steps(in_one_pass, eager)


def assert_same_steps(captured, eager):
    torch.testing.assert_close(captured[2].sums, eager[2].sums, rtol=1e-4, atol=1e-5)
    for name, x in eager[0].state_dict().items():
        torch.testing.assert_close(captured[0].state_dict()[name], x, rtol=1e-3, atol=1e-4, msg=name)
    ours, theirs = (state_in_numbers(way[1], way[2].rates) for way in (captured, eager))
    assert ours["param_groups"] == theirs["param_groups"]
    for index, state in theirs["state"].items():
        for name, x in state.items():
            torch.testing.assert_close(ours["state"][index][name], x, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.usefixtures("small_in_one_pass")
def test_a_captured_step_goes_on_from_a_checkpoint_of_an_eager_one(tiny_store, tiny, optimizer):
    settings = tiny(optimizer=optimizer)
    before = trained(settings, tiny_store, captured=False)
    state = {"pretrainer": before[0].state_dict(), "optimizer": state_in_numbers(before[1], before[2].rates)}
    eager, captured = (trained(settings, tiny_store, way, resume=state) for way in (False, True))
    for name, x in eager[0].state_dict().items():
        torch.testing.assert_close(captured[0].state_dict()[name], x, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    "changes", [{}, {"objective": "base"}, {"objective": "crossclr"}, {"optimizer": "sgd"}], ids=str
)
@pytest.mark.parametrize("trials", [1, 3, 8])
def test_fused_trials_have_the_numbers_that_each_has_alone(tiny_store, tiny, tmp_path, trials, changes):
    """As one captured program, which slots change their trials in; alone each has a graph of its own."""
    cases = [varied(tiny, i % 8, **{"seed": i, "epochs": 4 + i % 3, **changes}) for i in range(2 * trials)]

    def two(first):
        return lambda steps_by, store: [
            train(cases[i], store, tmp_path / f"f{i}", steps_by, device=GPU) for i in (first, first + trials)
        ]

    found = fused_side_by_side(trials, tiny_store, [two(first) for first in range(trials)], GPU)
    for first, of_slot in enumerate(found):
        for index, fused in zip((first, first + trials), of_slot, strict=True):
            alone = train(cases[index], tiny_store.on_device_if_it_fits(GPU), tmp_path / f"a{index}", device=GPU)
            assert_same(fused, alone, within=1e-3)


def test_steps_and_memory_of_fused_trials_are_measured(tiny_store, tiny):
    """From an empty card on, as in a process of its own."""
    gc.collect()
    torch.cuda.empty_cache()
    one, best = time_fused(tiny(batch_size=8), DataSource(tiny_store.path, "xview"), 4, 1.0)
    assert one.memory > 0
    assert best.trials in (1, 2, 4)
    assert 0 < best.each <= one.each
