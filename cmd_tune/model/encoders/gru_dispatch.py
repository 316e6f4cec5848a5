"""How the recurrences run: on a CPU by GRUPairs; on a GPU by the faster of cuDNN's calls and a captured graph of ours.

Which is faster depends on card, widths and precision, so both are timed once, when a model first meets inputs of a
shape. The graph must first have shown cuDNN's numbers; where it cannot be captured, or differs, cuDNN's calls remain.
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
    """A model with recurrences."""

    def recur(self, x_MTBX: Tensor, run_layer: LayerFunction) -> Tensor:
        """The recurrences, with a way to run a layer."""

    def recurrent_parameters(self) -> Mapping[str, nn.Parameter]:
        """All that `recur` uses, by their names in the model. Their values may change, not where they lie."""


class Recurrence:
    """Runs a model's recurrences, and remembers the choice for each shape of input."""

    def __init__(self) -> None:
        self.chosen: dict[object, tuple[str, Run]] = {}
        self.part_of_graph = False  # training steps are captured whole, recurrences and all

    def __deepcopy__(self, memo: object) -> "Recurrence":
        """A copied model has parameters of its own, which no graph knows."""
        return Recurrence()

    def __call__(self, model: Recurrent, x_MTBX: Tensor, *, training: bool) -> Tensor:
        """training: the inputs' shape will come again. Evaluation meets batches of many sizes, each once or twice: they
        go by cuDNN's calls.
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
    """("graph", the graph) where it can be made, agrees with the calls and is faster; else ("calls", the calls).

    inputs: what is given to either, then the parameters. tolerance: of outputs and gradients, as the norm of a
    difference over a norm.
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
    """The graph, or what speaks against it."""
    try:
        graph = make_graph()
        differing = _difference(_numbers(graph, inputs), expected)
    except Exception as error:  # whatever a compiler, a driver or a full GPU says of it: there is another way
        return None, f", since they could not be captured: {error}"
    return (graph, "") if differing <= tolerance else (None, f": captured, they differ by {differing:.1e}")


def capture(model: Recurrent, x_MTBX: Tensor) -> Run:
    """The model's recurrences by GRUPairs as CUDA graphs, forward and backward.

    Their memory is theirs for good: an output lasts until the next call, gradients until the next backward pass, so
    that they cannot be summed over several.
    """
    run, aliases = over_aliases(model)
    sample = x_MTBX.detach().clone()  # the graph's own input, which later ones are copied into
    with torch.cuda.stream(torch.cuda.current_stream(x_MTBX.device)):  # a capture that fails may leave its own behind
        graphed = torch.cuda.make_graphed_callables(run, (sample, *aliases))
    parameters = tuple(model.recurrent_parameters().values())
    return lambda x: cast(Tensor, graphed(x, *parameters))


def over_aliases(model: Recurrent) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """The model's recurrences as a function of the inputs and of tensors in its parameters' place; and such tensors.

    These lie where the parameters do, but autograd knows them apart: nothing that a capture leaves behind, and nothing
    that an earlier step left, ties the parameters' gradients to a stream.
    """
    parameters = model.recurrent_parameters()
    whole = _Recurrences(model)

    def run(x_MTBX: Tensor, *given: Tensor) -> Tensor:
        in_place_of = {f"model.{name}": x for name, x in zip(parameters, given, strict=True)}
        return functional_call(whole, in_place_of, (x_MTBX,))

    return run, tuple(x.detach().requires_grad_(x.requires_grad) for x in parameters.values())


class _Recurrences(nn.Module):
    """A model's recurrences as all that it does."""

    def __init__(self, model: Recurrent) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_MTBX: Tensor) -> Tensor:
        return self.model.recur(x_MTBX, gru_pairs)


def _numbers(run: Run, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The output and, where there are any, its gradients in the parameters."""
    x, *parameters = inputs
    out = run(x)
    if not out.requires_grad:
        return [out.clone()]
    generator = torch.Generator(x.device).manual_seed(0)
    pull = torch.randn(out.shape, device=x.device, generator=generator)
    return [x.detach().clone() for x in (out, *torch.autograd.grad(out, parameters, pull))]


def _difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest of the norms of differences over norms; not a number where any of them is none."""
    shares = [(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(shares).max().item()


def _seconds(run: Run, inputs: Sequence[Tensor]) -> float:
    """Median of a few forward passes, with backward passes where there are gradients; the host's time included."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        _numbers(run, inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize(inputs[0].device)
        times.append(perf_counter() - start)
    return median(times)
