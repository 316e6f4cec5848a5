"""Weights in one pass over memory: after a backward pass the optimiser's step, the key encoders', the rounded copies.

At the paper's sizes weights are most of what a step reads and writes, so that passing over them once in place of four
times counts. The key encoders' update belongs to the beginning of a step. Here it comes at the end of the step before,
unless that is the last of an epoch: then a pass of its own follows before the next one. So what a checkpoint and an
evaluation find is the same as without.
P trial, N number of a trial.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from math import log
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from cmd_tune.compute.native import kernels
from cmd_tune.compute.optimizers import SGD, AdamW
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.train.slot_optimizer import SlotOptimizer

# What PyTorch's optimisers keep of a weight, in the order in which the kernels take it.
_ADAMW_KEEPS, _SGD_KEEPS = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)
# A small encoder's weights stay in a card's cache, so that a launch for each of its tensors costs more than it saves.
# For several trials PyTorch's optimisers launch more.
LEAST_ALONE = 2**23  # weights
_OTHER_FORMS = ("nesterov", "dampening", "amsgrad", "maximize")  # of theirs, which the kernels do not have


class Optimizer(Protocol):
    """What a step asks of an optimiser: methods of PyTorch's. With P trials, group p is of trial p's parts."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    @property
    def state(self) -> MutableMapping[Any, dict[str, Any]]: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def step(self) -> object: ...


def weight_pass(pretrainer: Pretrainer, optimizer: Optimizer) -> "WeightPass | None":
    """The pass for SGD and AdamW in their plain forms.

    None for others, where Triton cannot run on the weights, and for a small encoder of a single trial.
    """
    weights = list(pretrainer.online.parameters())
    if len(pretrainer.key_moves) == 1 and sum(x.numel() for x in weights) < LEAST_ALONE:
        return None
    weights += pretrainer.momentum.parameters()
    code = kernels("cmd_tune.train.weight_pass_kernels", weights[0])
    if code is None or any(x.dtype != torch.float32 or not x.is_contiguous() for x in weights):
        return None
    return WeightPass(pretrainer, optimizer, code) if _is_plain(optimizer, pretrainer) else None


def _is_plain(optimizer: Optimizer, pretrainer: Pretrainer) -> bool:
    """Whether it steps by the kernels' formulas, with one group of all weights for each trial."""
    kind = optimizer.kind if isinstance(optimizer, SlotOptimizer) else type(optimizer)
    groups, all_weights = optimizer.param_groups, len(list(pretrainer.online.parameters()))
    return (
        kind in (SGD, AdamW)
        and [len(group["params"]) for group in groups] == [all_weights] * len(pretrainer.key_moves)
        and not any(group.get(form) for group in groups for form in _OTHER_FORMS)
    )


class WeightPass:
    """In place of an optimiser's step; the optimiser keeps its numbers and its state, which a checkpoint holds."""

    def __init__(self, pretrainer: Pretrainer, optimizer: Optimizer, code: ModuleType) -> None:
        """code: weight_pass_kernels.py."""
        self._pretrainer, self._optimizer, self._code = pretrainer, optimizer, code
        self._names = [name for name, _ in pretrainer.online.named_parameters()]
        self._weights = list(pretrainer.online.parameters())
        self._keys = list(pretrainer.momentum.parameters())
        rounds = pretrainer.online.rounds()
        rounded = [name for name in self._names if name in rounds]
        self._copies, self._key_copies = (
            {name: torch.empty_like(encoders.get_parameter(name), dtype=rounds[name]) for name in rounded}
            for encoders in (pretrainer.online, pretrainer.momentum)
        )
        self._states: dict[tuple[int, str], Tensor] = {}
        self._of_step, self._of_begin = (_Numbers(self._code.NUMBERS, self.trials, self._weights[0]) for _ in range(2))
        self._up_to_date = [False] * self.trials

    @property
    def trials(self) -> int:
        return len(self.param_groups)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self._optimizer.param_groups

    @property
    def state(self) -> MutableMapping[Any, dict[str, Any]]:
        return self._optimizer.state

    @property
    def constants(self) -> tuple[object, ...]:
        """What a captured step does not read from tensors."""
        return (self._keeps_sums,)

    @property
    def _is_adamw(self) -> bool:
        return "betas" in self.param_groups[0]

    @property
    def _keeps_sums(self) -> bool:
        return any(group.get("momentum", 0.0) for group in self.param_groups)

    def weights_changed(self, p: int) -> None:
        """Trial p's weights are others than its last step left."""
        self._up_to_date[p] = False

    @torch.no_grad()
    def prepare(self, goes_on: Sequence[bool]) -> None:
        """Before a step, outside of its graph: its numbers, and what the step before has not done.

        goes_on: of each trial, whether another step follows before anyone reads its weights, or changes them.
        """
        moves = self._pretrainer.key_moves
        if not all(self._up_to_date):
            shares = [0.0 if done else move for done, move in zip(self._up_to_date, moves, strict=True)]
            self._of_begin.tell([{"key_share": share} for share in shares])
            for place in range(len(self._weights)):
                self._move_keys(place, self._of_begin)
        self._up_to_date = list(goes_on)
        self._of_step.tell(
            [
                {**_numbers_of(group), "key_share": move if go_on else 0.0}
                for group, go_on, move in zip(self.param_groups, goes_on, moves, strict=True)
            ]
        )

    @contextmanager
    def copies_read(self) -> Iterator[None]:
        """Within it both encoders read the rounded copies of their weights."""
        online, momentum = self._pretrainer.online, self._pretrainer.momentum
        with online.reading(self._copies), momentum.reading(self._key_copies):
            yield

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._optimizer.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self) -> None:
        states = {place: self._state(place) for place, x in enumerate(self._weights) if x.grad is not None}
        if self._is_adamw and states:
            torch._foreach_add_([steps_P for steps_P, *_ in states.values()], 1.0)
        kernel = self._code.adamw if self._is_adamw else self._code.sgd
        for place, x in enumerate(self._weights):
            if x.grad is None:
                self._move_keys(place, self._of_step)
                continue
            kept = states[place] or (None,)
            kernel(x, x.grad.contiguous(), *kept, self._keys[place], self._rounded(place), self._of_step.all_PN)

    def _move_keys(self, place: int, numbers: "_Numbers") -> None:
        self._code.move_keys(self._weights[place], self._keys[place], self._rounded(place), numbers.all_PN)

    def _rounded(self, place: int) -> tuple[Tensor, Tensor] | None:
        name = self._names[place]
        return (self._copies[name], self._key_copies[name]) if name in self._copies else None

    def _state(self, place: int) -> list[Tensor]:
        """The optimiser's state of a weight, all trials' in one tensor each, of which the optimiser's own are parts."""
        names = _ADAMW_KEEPS if self._is_adamw else _SGD_KEEPS if self._keeps_sums else ()
        for name in names:
            if (place, name) not in self._states:  # once for all: a graph would do it anew in each step
                self._states[place, name] = self._joined(place, name)
        return [self._states[place, name] for name in names]

    def _joined(self, place: int, name: str) -> Tensor:
        """What a checkpoint brought may be laid out in any way, and of another kind or device."""
        weight = self._weights[place]
        whole = weight.new_zeros(self.trials) if name == "step" else torch.zeros_like(weight)
        of_trials = whole.unbind() if name == "step" else whole.chunk(self.trials)
        for group, own in zip(self.param_groups, of_trials, strict=True):
            state = self.state[group["params"][place]]
            if (found := state.get(name)) is not None:
                own.copy_(found)
                if found.is_cuda:  # its memory is free from here on, for other threads' streams as well
                    found.record_stream(torch.cuda.current_stream(found.device))
            state[name] = own
        return whole


def _numbers_of(group: Mapping[str, Any]) -> dict[str, float]:
    """A group's numbers, by the kernels' names for them."""
    log_first, log_second = (log(max(decay, 1e-30)) for decay in group.get("betas", (1.0, 1.0)))
    return {
        "rate": group["lr"],
        "weight_decay": group["weight_decay"],
        "momentum": group.get("momentum", 0.0),
        "eps": group.get("eps", 0.0),
        "log_first": log_first,
        "log_second": log_second,
    }


class _Numbers:
    """Numbers of P trials on the device, where a captured step reads them."""

    def __init__(self, names: Sequence[str], trials: int, near: Tensor) -> None:
        self.all_PN = torch.zeros(trials, len(names), device=near.device)
        self._places = [dict(zip(names, of_trial.unbind(), strict=True)) for of_trial in self.all_PN]
        self._told: list[dict[str, float]] = [dict.fromkeys(names, 0.0) for _ in range(trials)]

    def tell(self, numbers: Sequence[Mapping[str, float]]) -> None:
        """Each trial's, by name. The host does not wait."""
        for places, told, given in zip(self._places, self._told, numbers, strict=True):
            for name, number in given.items():
                if number != told[name]:
                    places[name].fill_(number)
                    told[name] = number
