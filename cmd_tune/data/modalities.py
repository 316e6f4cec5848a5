"""What each branch sees of a clip: pure functions of augmented joints. Adding a modality is adding a line here.

B sample, T frame, V joint, C coordinate, P body.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cmd_tune.data.layouts import Layout


def joint(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """The coordinates themselves."""
    return x_BTVCP


def motion(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """x[t+1] − x[t]; the last frame is 0."""
    moved = torch.empty_like(x_BTVCP)
    torch.sub(x_BTVCP[:, 1:], x_BTVCP[:, :-1], out=moved[:, :-1])
    moved[:, -1] = 0
    return moved


def bone(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """Each joint minus its parent; 0 at the root."""
    return x_BTVCP - x_BTVCP.index_select(2, torch.tensor(layout.parents, device=x_BTVCP.device))


MODALITIES: dict[str, Callable[[Tensor, Layout], Tensor]] = {"joint": joint, "motion": motion, "bone": bone}


def stack_modalities(x_BTVCP: Tensor, names: Sequence[str], layout: Layout) -> Tensor:
    """Inputs of all branches, (M, B, T, V·C·P): joint, coordinate, body flattened in that order."""
    return torch.stack([MODALITIES[name](x_BTVCP, layout).flatten(2) for name in names])
