"""Chooses how the recurrences run: GRUPairs on a CPU; on a GPU the faster of cuDNN's calls and our captured graph.

Which is faster depends on card, widths and precision, so both are timed once for each shape of input. The graph must
first have given cuDNN's numbers. If it cannot be captured, or differs, cuDNN's calls remain.
M modality, T frame, B sample, X input channel, H hidden.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cmd_tune.compute.slower import warn_slower
from cmd_tune.model.encoders.gru_layer import LayerFunction, gru_pairs, gru_pairs_by_torch

Run = Callable[[Tensor], Tensor]  # (M, T, B, X) inputs → (M, B, 2H) of the last frame, by the way chosen

ROUNDS = 5


class Recurrent(Protocol):
    """An encoder with recurrences, as this file sees it."""

    def recur(self, x_MTBX: Tensor, run_layer: LayerFunction) -> Tensor:
        """All layers, each by `run_layer`: (M, T, B, X) → (M, B, 2H) of the last frame."""

    def recurrent_parameters(self) -> Mapping[str, nn.Parameter]:
        """All that `recur` uses, by their names in the model. Their values may change, their addresses may not."""


class Recurrence:
    """Runs a model's recurrences, and remembers the choice for each shape of input."""

    def __init__(self) -> None:
        self.chosen: dict[object, tuple[str, Run]] = {}
        self.part_of_graph = False  # training steps are captured whole, recurrences and all

    def __deepcopy__(self, memo: object) -> "Recurrence":
        """A copied model has parameters of its own, which no graph knows."""
        return Recurrence()

    def __call__(self, model: Recurrent, x_MTBX: Tensor, *, training: bool) -> Tensor:
        """training: the shape of the input will come again, so that a choice pays. Evaluation has batches of many
        sizes, each once or twice, and uses cuDNN's calls.
        """
        if not x_MTBX.is_cuda:
            return model.recur(x_MTBX, gru_pairs)
        if not training:
            return model.recur(x_MTBX, gru_pairs_by_torch)
        if self.part_of_graph:
            return model.recur(x_MTBX, gru_pairs)
        tf32 = torch.backends.cuda.matmul.allow_tf32
        key = (x_MTBX.shape, x_MTBX.dtype, torch.is_grad_enabled(), tf32)
        if key not in self.chosen:
            exact = x_MTBX.dtype == torch.float32 and not tf32
            self.chosen[key] = choose(
                lambda x: model.recur(x, gru_pairs_by_torch),
                lambda: capture(model, x_MTBX),
                (x_MTBX, *model.recurrent_parameters().values()),
                tolerance=1e-4 if exact else 0.05,
            )
        return self.chosen[key][1](x_MTBX)


def choose(calls: Run, make_graph: Callable[[], Run], inputs: Sequence[Tensor], *, tolerance: float) -> tuple[str, Run]:
    """("graph", the graph) if it can be made, agrees with the calls and is faster; otherwise ("calls", the calls).

    inputs: the input, then the parameters. tolerance: of outputs and gradients, norm of the difference over the norm.
    """
    gc.collect()  # graphs of a trial that this process ran before keep their memory until then
    expected = _numbers(calls, inputs)
    graph, complaint = _agreeing_graph(make_graph, inputs, expected, tolerance)
    if graph is not None:
        seconds = {"graph": _seconds(graph, inputs), "calls": _seconds(calls, inputs)}
        if seconds["graph"] < seconds["calls"]:
            return "graph", graph
    else:
        warn_slower(f"the recurrences go by cuDNN{complaint}")
    del graph
    gc.collect()  # what a graph that is not taken holds on the card
    return "calls", calls


def _agreeing_graph(
    make_graph: Callable[[], Run], inputs: Sequence[Tensor], expected: list[Tensor], tolerance: float
) -> tuple[Run | None, str]:
    """The graph, or None and the reason in words."""
    try:
        graph = make_graph()
        differing = _difference(_numbers(graph, inputs), expected)
    except Exception as error:  # whatever a compiler, a driver or a full GPU says of it: there is another way
        return None, f", since they could not be captured: {error}"
    return (graph, "") if differing <= tolerance else (None, f": captured, they differ by {differing:.1e}")


def capture(model: Recurrent, x_MTBX: Tensor) -> Run:
    """The model's recurrences by GRUPairs as CUDA graphs, forward and backward.

    Graphs reuse their memory: an output is valid until the next call, gradients until the next backward pass, so that
    gradients of several passes cannot be summed.
    """
    run, aliases = over_aliases(model)
    sample = x_MTBX.detach().clone()  # the graph's own input, which later ones are copied into
    with torch.cuda.stream(torch.cuda.current_stream(x_MTBX.device)):  # a capture that fails may leave its own behind
        graphed = torch.cuda.make_graphed_callables(run, (sample, *aliases))
    parameters = tuple(model.recurrent_parameters().values())
    return lambda x: cast(Tensor, graphed(x, *parameters))


def over_aliases(model: Recurrent) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """The model's recurrences as a function of the input and of its parameters; and aliases of the parameters.

    An alias has a parameter's memory but is another tensor for autograd, so that neither a capture nor an earlier step
    ties the parameters' gradients to a stream.
    """
    parameters = model.recurrent_parameters()
    whole = _Recurrences(model)

    def run(x_MTBX: Tensor, *given: Tensor) -> Tensor:
        in_place_of = {f"model.{name}": x for name, x in zip(parameters, given, strict=True)}
        return functional_call(whole, in_place_of, (x_MTBX,))

    return run, tuple(x.detach().requires_grad_(x.requires_grad) for x in parameters.values())


class _Recurrences(nn.Module):
    """A module whose forward pass is a model's recurrences."""

    def __init__(self, model: Recurrent) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_MTBX: Tensor) -> Tensor:
        return self.model.recur(x_MTBX, gru_pairs)


def _numbers(run: Run, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The output and, if it has any, its gradients in the parameters."""
    x, *parameters = inputs
    out = run(x)
    if not out.requires_grad:
        return [out.clone()]
    generator = torch.Generator(x.device).manual_seed(0)
    pull = torch.randn(out.shape, device=x.device, generator=generator)
    return [x.detach().clone() for x in (out, *torch.autograd.grad(out, parameters, pull))]


def _difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest norm of a difference over its norm; nan if any of them is nan."""
    shares = [(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(shares).max().item()


def _seconds(run: Run, inputs: Sequence[Tensor]) -> float:
    """Median time of a forward pass, and of the backward pass if there are gradients; includes the host's time."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        _numbers(run, inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize(inputs[0].device)
        times.append(perf_counter() - start)
    return median(times)
