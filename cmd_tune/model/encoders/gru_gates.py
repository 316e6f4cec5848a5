"""One frame of many GRUs: everything but the matrix products, forward and backward.

`gru_gates.cpp` reads and writes each value once. PyTorch's operations compute the same: for float64, without a
compiler, on a GPU without Triton. The equations are PyTorch's (torch.nn.GRU), gates in the order r, z, n. Arithmetic is
float32 for every storage but float64.
M modality, T frame, B sample, S side of the pair, H hidden, G group = M·S.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cmd_tune.compute.native import bind

Step = Callable[[int], None]  # one frame, for a slice of the groups


@dataclass(frozen=True)
class Forward:
    """What the forward pass of a layer carries from frame to frame."""

    gates: Tensor  # (M, T, B, S, 3H) input products; if recurrent_n is kept, the frames' r, z, n afterwards
    recurrent: Tensor  # (G, B, 3H) the frame before's h, times weight_hh
    bias: Tensor  # (G, 4H) of r and z (input's and recurrent's together), of n's input, of n's recurrent part
    carried: Tensor  # (G, B, H) h
    state: Tensor  # (G, B, H) h as the next product's operand
    hidden: Tensor | None  # (M, T, B, S, H) h of every frame
    recurrent_n: Tensor | None  # (M, T, B, S, H) n's recurrent part

    def step(self, t: int) -> None:
        """Frame t of all groups, by PyTorch's operations."""
        M, S = self.gates.shape[0], self.gates.shape[3]
        H = self.carried.shape[2]
        h, recurrent = (_by_modality(x, M).to(self.carried.dtype) for x in (self.carried, self.recurrent))
        bias = self.bias.view(M, 1, S, 4 * H)
        gates = self.gates[:, t].to(h.dtype)
        r, z = (gates[..., : 2 * H] + recurrent[..., : 2 * H] + bias[..., : 2 * H]).sigmoid().chunk(2, dim=-1)
        from_h = recurrent[..., 2 * H :] + bias[..., 3 * H :]
        n = (gates[..., 2 * H :] + bias[..., 2 * H : 3 * H] + r * from_h).tanh()
        h.lerp_(n, 1 - z)
        _by_modality(self.state, M).copy_(h)
        if self.hidden is not None:
            self.hidden[:, t] = h
        if self.recurrent_n is not None:
            self.gates[:, t] = torch.cat((r, z, n), dim=-1)
            self.recurrent_n[:, t] = from_h

    def native_step(self, first: int, last: int) -> Step | None:
        """The same for groups first … last − 1 by gru_gates.cpp; None if it cannot be used."""
        _, T, B, _, X = self.gates.shape
        pointers = (self.gates, self.recurrent, self.bias, self.carried, self.state, self.hidden, self.recurrent_n)
        return bind("forward", self.gates.dtype, (T, B, X // 3, first, last), pointers)


@dataclass(frozen=True)
class Backward:
    """What the backward pass carries from frame to frame. Gradients overwrite what the forward pass kept."""

    gates: Tensor  # (M, T, B, S, 3H) r, z, n; afterwards the gradient of the input products
    recurrent_n: Tensor  # (M, T, B, S, H) n's recurrent part; afterwards its gradient
    hidden: Tensor  # (M, T, B, S, H)
    grad_hidden: Tensor  # (M, T, B, S, H), or (M, B, S, H) of the last frame, if nothing else was used
    grad_state: Tensor  # (G, B, H) grad_recurrent of the frame after, times weight_hh
    carried: Tensor  # (G, B, H) the rest of the gradient of h from the frame after
    grad_recurrent: Tensor  # (G, B, 3H) of this frame's recurrent products
    grad_bias: Tensor  # (G, 4H) as in Forward.bias, summed over frames and samples

    @property
    def last_only(self) -> bool:
        return self.grad_hidden.ndim == 4

    def step(self, t: int) -> None:
        """Frame t of all groups, by PyTorch's operations."""
        M, T = self.gates.shape[:2]
        carried = _by_modality(self.carried, M)
        grad_h = carried + _by_modality(self.grad_state, M)
        if not self.last_only:
            grad_h = grad_h + self.grad_hidden[:, t]
        elif t == T - 1:
            grad_h = grad_h + self.grad_hidden
        r, z, n = self.gates[:, t].to(grad_h.dtype).chunk(3, dim=-1)
        before = self.hidden[:, t - 1] if t else 0
        grad_n = grad_h * (1 - z) * (1 - n * n)
        grad_r = grad_n * self.recurrent_n[:, t] * r * (1 - r)
        grad_z = grad_h * (before - n) * z * (1 - z)
        grad_from_h = grad_n * r
        carried.copy_(grad_h * z)
        self.gates[:, t] = torch.cat((grad_r, grad_z, grad_n), dim=-1)
        self.recurrent_n[:, t] = grad_from_h
        _by_modality(self.grad_recurrent, M).copy_(torch.cat((grad_r, grad_z, grad_from_h), dim=-1))
        grad_bias_MS4H = torch.cat((grad_r, grad_z, grad_n, grad_from_h), dim=-1).sum(1)
        self.grad_bias.add_(grad_bias_MS4H.flatten(0, 1))

    def native_step(self, first: int, last: int) -> Step | None:
        """The same for groups first … last − 1 by gru_gates.cpp; None if it cannot be used."""
        _, T, B, _, X = self.gates.shape
        pointers = (
            *(self.gates, self.recurrent_n, self.hidden, self.grad_hidden, self.grad_state, self.carried),
            *(self.grad_recurrent, self.grad_bias),
        )
        return bind("backward", self.gates.dtype, (T, B, X // 3, first, last, self.last_only), pointers)


def _by_modality(x_GBX: Tensor, modalities: int) -> Tensor:
    """A view of (G, B, X) as (M, B, S, X)."""
    return x_GBX.unflatten(0, (modalities, -1)).transpose(1, 2)
