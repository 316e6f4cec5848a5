"""Which way the recurrences of a GPU go: what is chosen, when, and on which grounds."""

import copy
import gc
import time
import warnings
import weakref

import pytest
import torch

from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.encoders.gru_dispatch import choose, over_aliases
from cmd_tune.model.encoders.gru_layer import gru_pairs, gru_pairs_by_torch

pytestmark = pytest.mark.long

M, T, B, X, H = 2, 8, 4, 6, 16


def encoders(dtype=torch.float32, hidden_size=H, **changes):
    return GRUEncoder(
        M,
        X,
        hidden_size=hidden_size,
        embedding_size=5,
        compute_dtype=dtype,
        generator=torch.Generator().manual_seed(0),
        **changes,
    )


def inputs(model, frames=T, dtype=torch.float32):
    x_MTBX = torch.randn(M, frames, B, X, generator=torch.Generator().manual_seed(1)).to(dtype)
    return (x_MTBX, *model.recurrent_parameters().values())


def ways(model):
    return lambda x: model.recur(x, gru_pairs_by_torch), lambda x: model.recur(x, gru_pairs)


def slowly(run):
    def late(x):
        time.sleep(0.2)  # more than a busy machine makes of the other way
        return run(x)

    return late


@pytest.mark.parametrize("grad", [True, False])
def test_the_faster_of_two_that_agree(grad):
    model = encoders()
    calls, ours = ways(model)
    with warnings.catch_warnings(), torch.set_grad_enabled(grad):
        warnings.simplefilter("error")
        assert choose(slowly(calls), lambda: ours, inputs(model), tolerance=1e-4) == ("graph", ours)
        name, run = choose(calls, lambda: slowly(ours), inputs(model), tolerance=1e-4)
    assert (name, run) == ("calls", calls)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_faster_one_is_left_alone_where_its_output_differs():
    model = encoders()
    calls, ours = ways(model)
    with pytest.warns(UserWarning, match=r"differ by 1\.0e-03"):
        chosen = choose(slowly(calls), lambda: lambda x: 1.001 * ours(x), inputs(model), tolerance=1e-4)
    assert chosen[0] == "calls"


def test_or_one_gradient_alone():
    """One parameter's among fourteen, everything else equal."""
    model = encoders()
    calls, ours = ways(model)
    bias = model.gru[1].bias_hh

    def crooked(x):
        return ours(x) + (bias - bias.detach()).sum()

    assert torch.equal(crooked(inputs(model)[0]), ours(inputs(model)[0]))
    with pytest.warns(UserWarning, match="differ"):
        assert choose(slowly(calls), lambda: crooked, inputs(model), tolerance=0.05)[0] == "calls"


def test_or_is_not_a_number():
    """In the output's gradients, behind numbers that agree."""
    model = encoders()
    calls, ours = ways(model)

    def spoilt(x):
        out = ours(x)
        out.register_hook(lambda grad: grad * float("nan"))
        return out

    with pytest.warns(UserWarning, match="differ by nan"):
        assert choose(slowly(calls), lambda: spoilt, inputs(model), tolerance=0.05)[0] == "calls"


def test_where_no_graph_can_be_made_the_calls_remain():
    model = encoders()
    calls, _ = ways(model)

    def cannot():
        raise RuntimeError("CUDA error: out of memory")

    with pytest.warns(UserWarning, match="could not be captured: CUDA error: out of memory"):
        assert choose(calls, cannot, inputs(model), tolerance=0.05) == ("calls", calls)


def test_what_cudnn_says_of_itself_is_no_fault_of_the_graph():
    model = encoders()
    _, ours = ways(model)

    def broken(x):
        raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")

    with pytest.raises(RuntimeError, match="CUDNN_STATUS_NOT_SUPPORTED"):
        choose(broken, lambda: ours, inputs(model), tolerance=0.05)


@pytest.mark.parametrize("slow", [True, False], ids=["slower", "differing"])
def test_a_graph_that_is_not_taken_leaves_nothing(slow):
    """A graph's memory is the card's; what PyTorch captures holds itself in a circle, as this does."""
    model = encoders()
    calls, ours = ways(model)

    class Graph:
        def __init__(self):
            self.itself = self

        def __call__(self, x):
            return slowly(ours)(x) if slow else 2 * ours(x)

    graphs = []

    def make():
        graph = Graph()
        graphs.append(weakref.ref(graph))
        return graph

    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert choose(calls, make, inputs(model), tolerance=0.05)[0] == "calls"
        assert graphs[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("frozen", [True, False])
def test_over_aliases_it_is_the_model_and_its_gradients_are_the_parameters(frozen):
    model = encoders().requires_grad_(not frozen)
    x_MTBX, *parameters = inputs(model)
    run, aliases = over_aliases(model)
    assert [x.requires_grad for x in aliases] == [not frozen] * len(parameters)
    assert all(a is not p and a.data_ptr() == p.data_ptr() for a, p in zip(aliases, parameters, strict=True))
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(0.9)
    expected = model.recur(x_MTBX, gru_pairs)
    for given in (aliases, parameters):
        out = run(x_MTBX, *given)
        assert torch.equal(out, expected)
        if not frozen:
            ours, theirs = (
                torch.autograd.grad(y.square().sum(), of, retain_graph=False)
                for y, of in ((out, given), (model.recur(x_MTBX, gru_pairs), parameters))
            )
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(parameter.grad is None for parameter in parameters)


def test_bfloat16_agrees_well_within_its_tolerance():
    """Of 0.05, over the paper's 64 frames and three layers; and float32 within its own of 1e-4."""
    for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float32, 1e-4)):
        model = encoders(dtype, hidden_size=64)
        calls, ours = ways(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            choose(calls, lambda ours=ours: ours, inputs(model, 64, dtype), tolerance=tolerance / 2)


def test_a_copied_model_chooses_anew():
    """A graph reads the parameters that it was captured with."""
    model = encoders()
    model.recurrence.chosen["a shape"] = ("graph", lambda x: x)
    copied = copy.deepcopy(model)
    assert copied.recurrence.chosen == {}
    assert len(model.recurrence.chosen) == 1
