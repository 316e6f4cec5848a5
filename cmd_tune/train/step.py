"""One training step: views, encoders, objective, backward, optimiser, enqueue and the epoch's sums, in one of two ways.

Eager: operation by operation, on any device. Captured: on a GPU the whole step, its views included, is one CUDA graph
that is replayed; a small encoder's step is a few hundred launches, which take the host many times longer than the card.
At each exchange between workers the graph ends and another begins, so that any backend may carry the exchange. Whatever
changes between steps is in tensors that the graph reads: choices of the views, learning rate, weights, banks, their
pointer. Each objective has a graph of its own, since it may change between epochs.
M modality, B sample, T frame, X input channel.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from cmd_tune.compute.slower import warn_slower
from cmd_tune.model.encoders.base import one_worker
from cmd_tune.model.objectives import Objective
from cmd_tune.model.pretrainer import Losses, Pretrainer
from cmd_tune.settings import Settings
from cmd_tune.train.batches import Batches
from cmd_tune.train.distributed import (
    Exchange,
    exchange_gradients,
    exchanges_by,
    gather_from_workers,
    sum_over_workers,
    world,
)
from cmd_tune.train.weight_pass import Optimizer, WeightPass, weight_pass

Views = Callable[..., tuple[Tensor, Tensor]]


class Steps(Protocol):
    """Takes the steps of a trial."""

    def epoch(self, epoch: int, rates: Sequence[float]) -> Tensor:
        """Take an epoch's steps at these learning rates. Returns the sums of `Losses.figures` over them, (2 + 2M,)."""

    def optimizer_state(self) -> dict[str, object]:
        """The optimiser's state as a checkpoint holds it: learning rates are numbers."""


MakeSteps = Callable[[Settings, Pretrainer, torch.optim.Optimizer, Batches], Steps]

# Programs of several threads may share a card. No thread may wait for a card on which another one captures.
_one_capture = Lock()
WARM_UP = 3  # steps before a capture: they compile kernels and make the optimiser's state


def take_step(pretrainer: Pretrainer, optimizer: Optimizer, query_MBTX: Tensor, key_MBTX: Tensor) -> Losses:
    """One step on this worker's two views of a batch, operation by operation. The host does not wait for a GPU."""
    views = (query_MBTX, key_MBTX, gather_from_workers if world()[1] > 1 else one_worker)
    if isinstance(optimizer, WeightPass):
        with optimizer.copies_read():
            losses, key_MBD = pretrainer.compare(*views)
    else:
        losses, key_MBD = pretrainer(*views)
    optimizer.zero_grad(set_to_none=True)
    losses.total.sum().backward()
    keys_MBD = exchange_gradients(pretrainer.online.parameters(), key_MBD)
    optimizer.step()
    pretrainer.banks.enqueue(keys_MBD)
    return losses


class TrainingStep:
    """Takes steps in the fastest way that the device has, and sums an epoch's losses on the device."""

    def __init__(self, pretrainer: Pretrainer, optimizer: Optimizer, views: Views, device: torch.device) -> None:
        """views: makes a batch's two views (M, B, T, X) from the arguments of a step."""
        self.pretrainer, self.views, self.device = pretrainer, views, device
        self.in_one_pass = weight_pass(pretrainer, optimizer)
        self.optimizer = self.in_one_pass or optimizer
        self.captures = device.type == "cuda"
        self.sums = torch.zeros(pretrainer.figures_shape, device=device)
        self._graphs: dict[object, _Graph] = {}
        self._taken: dict[object, int] = {}
        self.rates = tuple(float(group["lr"]) for group in optimizer.param_groups)
        if self.captures:
            self._stream = torch.cuda.Stream(device)
            if self.in_one_pass is None:
                self._rates = torch.tensor(self.rates, device=device).unbind()
                use_tensor_rates(optimizer, self._rates)
            self._expect_capture(True)

    def __call__(self, prepared: Sequence[Tensor], *rates: float, goes_on: Sequence[bool] = ()) -> None:
        """One step at these learning rates, one for each trial's group of parameters.

        prepared: the arguments of `views`. goes_on: of each trial, whether another step follows before anything else
        reads its weights, or changes them; not, if it is left out.
        """
        if self.in_one_pass or not self.captures:
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        else:
            for own, rate, before in zip(self._rates, rates, self.rates, strict=True):
                if rate != before:
                    own.fill_(rate)
        self.rates = rates
        if self.in_one_pass:
            self.in_one_pass.prepare(goes_on or [False] * len(rates))
        if not self.captures:
            self._take(prepared)
            return
        key = (self.pretrainer.constants, _constants(self.optimizer), *(x.shape for x in prepared))
        if key in self._graphs:
            self._graphs[key].replay(prepared)
            return
        taken = self._taken[key] = self._taken.get(key, 0) + 1
        if taken > WARM_UP and self._capture(key, prepared):
            self._graphs[key].replay(prepared)
            return
        # A capture must find the gradients' nodes on a stream of its own: so do the steps before it.
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            self._take(prepared)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def begin_epoch(self) -> None:
        self.sums.zero_()

    def weights_changed(self, p: int) -> None:
        """Trial p's weights are others than its last step left."""
        if self.in_one_pass:
            self.in_one_pass.weights_changed(p)

    def _take(self, prepared: Sequence[Tensor]) -> None:
        self.sums += take_step(self.pretrainer, self.optimizer, *self.views(*prepared)).figures()

    def _capture(self, key: object, prepared: Sequence[Tensor]) -> bool:
        """Make the graph of a step, without taking one. Returns False, after a warning, if it cannot be captured."""
        self._graphs.clear()  # an earlier objective's, whose memory this one needs
        gc.collect()
        try:
            with _one_capture:
                self._graphs[key] = _Graph(self, prepared)
        except Exception as error:  # whatever a driver or a full GPU says of it: there is another way
            reason = (str(error) or type(error).__name__).splitlines()[0]
            warn_slower(f"training goes operation by operation, since a step cannot be captured: {reason}")
            self._graphs.clear()
            self.captures = False
            self._expect_capture(False)
            gc.collect()
            return False
        return True

    def _expect_capture(self, inside: bool) -> None:
        """Tell the encoders whether steps are captured whole."""
        for encoders in (self.pretrainer.online, self.pretrainer.momentum):
            encoders.expect_capture(inside)


class StepsAlone:
    """The steps of one trial."""

    def __init__(self, pretrainer: Pretrainer, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
        self._optimizer, self._batches = optimizer, batches
        self._take = TrainingStep(pretrainer, optimizer, batches.views, batches.device)

    def epoch(self, epoch: int, rates: Sequence[float]) -> Tensor:
        self._take.begin_epoch()
        for step, (rate, prepared) in enumerate(zip(rates, self._batches.prepare(epoch), strict=True), start=1):
            self._take(prepared, rate, goes_on=[step < len(rates)])
        self._batches.look_ahead(epoch + 1)
        return self._take.sums

    def optimizer_state(self) -> dict[str, object]:
        return state_in_numbers(self._optimizer, self._take.rates)


def steps_alone(
    settings: Settings, pretrainer: Pretrainer, optimizer: torch.optim.Optimizer, batches: Batches
) -> Steps:
    return StepsAlone(pretrainer, optimizer, batches)


class _Graph:
    """A captured step of one objective and shape. A replay copies its arguments into the graph's own inputs."""

    def __init__(self, step: TrainingStep, prepared: Sequence[Tensor]) -> None:
        self.inputs = [x.clone() for x in prepared]
        self._parts: list[Exchange] = []  # replays of graphs, and between them what the workers exchange, in order
        self._pool = torch.cuda.graph_pool_handle()
        step.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize(step.device)
        if world()[1] == 1:  # an exchange ends a graph, which must not leave another stream's work open
            step.pretrainer.key_stream = torch.cuda.Stream(step.device)
        try:
            with torch.cuda.stream(step._stream), exchanges_by(self._between_graphs):
                self._begin()
                step._take(self.inputs)
                self._end()
        except BaseException:
            with suppress(RuntimeError):  # it raises the failure again
                self._graph.capture_end()
            raise
        finally:
            step.pretrainer.key_stream = None

    def replay(self, prepared: Sequence[Tensor]) -> None:
        for own, given in zip(self.inputs, prepared, strict=True):
            own.copy_(given)
        for part in self._parts:
            part()

    def _begin(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may run meanwhile, such as those of the backend.
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def _end(self) -> None:
        self._graph.capture_end()
        self._parts.append(self._graph.replay)

    def _between_graphs(self, exchange: Exchange) -> None:
        self._end()
        self._parts.append(exchange)
        self._begin()


def means_of(sums: Tensor, steps: int, objective: Objective, modalities: Sequence[str]) -> dict[str, float]:
    """An epoch's means over steps and workers, by name, from a trial's sums over its steps here, (2 + 2M,).

    They are read at once, so that no step waits for the host.
    """
    between = f"loss/{objective.name}"
    names = ["loss/total", between, *(f"{kind}/{m}" for kind in ("loss", "accuracy") for m in modalities)]
    means = sum_over_workers(sums / (steps * world()[1])).tolist()
    return {name: mean for name, mean in zip(names, means, strict=True) if objective.cross_modal or name != between}


def state_in_numbers(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> dict[str, object]:
    """The optimiser's state as a checkpoint holds it, the same for both ways: learning rates are numbers."""
    state = optimizer.state_dict()
    for group, rate in zip(state["param_groups"], rates, strict=True):
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = False
    return state


def _constants(optimizer: Optimizer) -> tuple[object, ...]:
    """What a captured step of the optimiser has as numbers: decay, momentum and the like of each group."""
    if isinstance(optimizer, WeightPass):
        return optimizer.constants
    return tuple(
        value
        for group in optimizer.param_groups
        for name, value in group.items()
        if name not in ("params", "lr") and not isinstance(value, Tensor)
    )


def use_tensor_rates(optimizer: Optimizer, rates: Iterable[Tensor]) -> None:
    """Have each group of parameters read its learning rate from a tensor, and keep all that a step changes on the GPU.

    To be called again after `load_state_dict`, which brings the saved numbers.
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = True
