"""PyTorch's optimisers without its compiler, whose import would take a second of each process that trains.

PyTorch loads TorchDynamo as an optimiser is made and at each step, so that torch.compile passes over some methods.
Nothing here is compiled by it: these are the same methods without their wrappers.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any, TypeVar

import torch

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])

_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def _uncompiled(kind: Kind) -> Kind:
    """The same optimiser. Its state is of the same form."""
    plain_step = unwrap(kind.step)

    def step(self: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        with torch.no_grad():
            return plain_step(self, closure)

    methods = {name: unwrap(getattr(kind, name)) for name in _WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "step": step})  # type: ignore[return-value]


SGD = _uncompiled(torch.optim.SGD)
AdamW = _uncompiled(torch.optim.AdamW)
LBFGS = _uncompiled(torch.optim.LBFGS)
