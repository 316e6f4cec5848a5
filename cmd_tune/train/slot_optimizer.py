"""One optimiser for the trials of a program: PyTorch's own, with a group of parameters for each slot.

A slot's parameters are its parts of the program's, so that each has the rate, decay and momentum of its trial, and a
state that is the trial's own optimiser's, tensor by tensor.
P slot.
"""

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

Groups = list[dict[str, Any]]
State = MutableMapping[Tensor, dict[str, Any]]  # an optimiser's, by parameter
_PLACES = ("params", "lr", "capturable")  # entries of a group that are not a trial's numbers


class SlotOptimizer:
    """Steps the parameters of P trials, which lie trial by trial in the first dimension of each."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], slots: int, build: Callable[[Groups], torch.optim.Optimizer]
    ) -> None:
        """build: PyTorch's optimiser for these groups."""
        self._whole = list(parameters)
        self._parts: Groups = [
            {"params": [nn.Parameter(x.detach().chunk(slots)[p]) for x in self._whole]} for p in range(slots)
        ]
        self._optimizer = build(self._parts)

    @property
    def param_groups(self) -> Groups:
        return self._optimizer.param_groups

    @property
    def state(self) -> State:
        return self._optimizer.state

    @property
    def kind(self) -> type[torch.optim.Optimizer]:
        """The class of PyTorch's."""
        return type(self._optimizer)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for x in self._whole:
            x.grad = None

    def step(self) -> None:
        slots = len(self.param_groups)
        for place, x in enumerate(self._whole):
            gradients = [None] * slots if x.grad is None else x.grad.chunk(slots)
            for group, gradient in zip(self.param_groups, gradients, strict=True):
                group["params"][place].grad = gradient
        self._optimizer.step()

    def put(self, p: int, trial: torch.optim.Optimizer) -> None:
        """Copy the numbers and the state of a trial's optimiser to slot p. The host does not wait."""
        group, (its,) = self.param_groups[p], trial.param_groups
        group.update({name: value for name, value in its.items() if name not in _PLACES})
        for mine, own in zip(group["params"], its["params"], strict=True):
            _copy(trial.state, own, self._optimizer.state, mine)

    def fetch(self, p: int, trial: torch.optim.Optimizer) -> None:
        """Copy slot p's state to a trial's optimiser."""
        (its,) = trial.param_groups
        if its.get("momentum") == 0:  # SGD keeps nothing then, whatever the slot had of an earlier trial
            return
        for mine, own in zip(self.param_groups[p]["params"], its["params"], strict=True):
            _copy(self._optimizer.state, mine, trial.state, own)


def _copy(states: State, parameter: Tensor, others: State, other: Tensor) -> None:
    """Copy an optimiser's state of a parameter to another optimiser, in place. What is only there has sums of 0.

    An optimiser has no entry for a parameter of which it keeps nothing, or that it has not stepped yet.
    """
    source = {name: x for name, x in states.get(parameter, {}).items() if isinstance(x, Tensor)}
    target = others[other] if source or other in others else {}
    for name, x in source.items():
        if isinstance(target.get(name), Tensor):
            target[name].copy_(x)
        else:
            target[name] = x.clone()
    for name, x in target.items():
        if name not in source and isinstance(x, Tensor):
            x.zero_()
