"""How the recurrences run: on a CPU by GRUPairs; on a GPU by the faster of cuDNN's calls and a captured graph of ours.

Which is faster depends on card, widths and precision, so both are timed once, when a model first meets inputs of a
shape. The graph must first have shown cuDNN's numbers; where it cannot be captured, or differs, cuDNN's calls remain.
M modality, T frame, B sample, X input channel, H hidden.
"""

import gc
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import cast

import torch
from torch import Tensor

from cmd_tune.model.gru import GRUPairs, Pairs, pairs_by_torch

Recur = Callable[[Tensor, Pairs], Tensor]  # (M, T, B, X) inputs and a way to run a layer → (M, B, 2H) of the last frame
Run = Callable[[Tensor], Tensor]  # the same with the way chosen

ROUNDS = 5


class Recurrence:
    """Runs a model's recurrences, and remembers the choice for each shape of input."""

    def __init__(self) -> None:
        self.chosen: dict[object, tuple[str, Run]] = {}

    def __deepcopy__(self, memo: object) -> "Recurrence":
        """A copied model has parameters of its own, which no graph knows."""
        return Recurrence()

    def __call__(self, recur: Recur, x_MTBX: Tensor, parameters: Sequence[Tensor], *, training: bool) -> Tensor:
        """parameters: all that `recur` uses; their values may change, not where they lie.

        training: the inputs' shape will come again. Evaluation meets batches of many sizes, each once or twice: they go
        by cuDNN's calls.
        """
        if not x_MTBX.is_cuda:
            return recur(x_MTBX, GRUPairs.apply)
        if not training:
            return recur(x_MTBX, pairs_by_torch)
        tf32 = torch.backends.cuda.matmul.allow_tf32
        key = (x_MTBX.shape, x_MTBX.dtype, torch.is_grad_enabled(), tf32)
        if key not in self.chosen:
            exact = x_MTBX.dtype == torch.float32 and not tf32
            self.chosen[key] = choose(
                lambda x: recur(x, pairs_by_torch),
                lambda: capture(lambda x: recur(x, GRUPairs.apply), x_MTBX, parameters),
                (x_MTBX, *parameters),
                tolerance=1e-4 if exact else 0.05,
            )
        return self.chosen[key][1](x_MTBX)


def choose(calls: Run, make_graph: Callable[[], Run], inputs: Sequence[Tensor], *, tolerance: float) -> tuple[str, Run]:
    """("graph", the graph) where it can be made, agrees with the calls and is faster; else ("calls", the calls).

    inputs: what is given to either, then the parameters. tolerance: of outputs and gradients, as the norm of a
    difference over a norm.
    """
    gc.collect()  # graphs of a trial that this process ran before keep their memory until then
    try:
        graph = make_graph()
        differing = _difference(_numbers(graph, inputs), _numbers(calls, inputs))
    except Exception as error:  # whatever a compiler, a driver or a full GPU says of it: there is another way
        warnings.warn(f"the recurrences go by cuDNN, since they could not be captured: {error}", stacklevel=2)
        return "calls", calls
    if not differing <= tolerance:
        warnings.warn(f"the recurrences go by cuDNN: captured, they differ by {differing:.1e}", stacklevel=2)
        return "calls", calls
    seconds = {"graph": _seconds(graph, inputs), "calls": _seconds(calls, inputs)}
    return ("graph", graph) if seconds["graph"] < seconds["calls"] else ("calls", calls)


def capture(run: Run, x_MTBX: Tensor, parameters: Sequence[Tensor]) -> Run:
    """`run` as CUDA graphs, forward and backward.

    Their memory is theirs for good: an output lasts until the next call, gradients until the next backward pass, so
    that they cannot be summed over several.
    """
    sample = x_MTBX.detach().clone()  # the graph's own input, which later ones are copied into
    graphed = torch.cuda.make_graphed_callables(lambda x, *_: run(x), (sample, *parameters))
    return lambda x: cast(Tensor, graphed(x, *parameters))


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
