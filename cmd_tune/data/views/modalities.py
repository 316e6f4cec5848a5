"""The inputs of the branches: pure functions of a view's joints, registered by name.

To add a modality, write one function and put it into the tuple below. Each returns an array of the input's shape and
is finite for finite input: a quantity without meaning (past an end, without a parent, for a bone of no length, for a
body that is not there) is 0. Lengths are in the clip's unit, metres for the sensors' clips; times in frames
of the view. All but `joint` ignore the body's position, and all turn with the body. NEED_3D names those that joints in
2-D do not have.
B sample, T frame, V joint, C coordinate, P body.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import torch
from torch import Tensor

from cmd_tune.data.layouts import Layout
from cmd_tune.errors import UsageError

Modality = Callable[[Tensor, Layout], Tensor]


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
    return x_BTVCP - _of_parents(x_BTVCP, layout)


def bone_motion(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """The motion of bones, which is the bone of motions; the last frame and the root are 0."""
    return motion(bone(x_BTVCP, layout), layout)


def acceleration(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """x[t+1] − 2 x[t] + x[t−1], the second difference; the first and the last frame are 0."""
    changed = torch.zeros_like(x_BTVCP)
    changed[:, 1:-1] = x_BTVCP.diff(n=2, dim=1)
    return changed


def rotation_axis(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """parent's bone × bone, the axis that a joint bends about: at a right angle to both, of length |a| |b| sin(angle).

    0 if the two are in line, at the root and at its children, whose parent has no bone.
    """
    bone_BTVCP = bone(x_BTVCP, layout)
    return torch.linalg.cross(_of_parents(bone_BTVCP, layout), bone_BTVCP, dim=3)


def angular_velocity(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    """The turn of each bone from frame t to t + 1, in radians per frame, along the axis it turns about (right-handed).

    The shorter turn from one direction to the next, whatever the lengths. The last frame and the root are 0, and so is
    a bone of no length in either frame. Within 1e-6 of no turn or of half a turn, it is 0 as well, since rounding would
    choose the axis.
    """
    direction_BTVCP = _unit(bone(x_BTVCP, layout))
    before_BTVCP, after_BTVCP = direction_BTVCP[:, :-1], direction_BTVCP[:, 1:]
    axis_BTVCP = torch.linalg.cross(before_BTVCP, after_BTVCP, dim=3)
    sine_BTV1P = _dot(axis_BTVCP, axis_BTVCP).sqrt()
    angle_BTV1P = torch.atan2(sine_BTV1P, _dot(before_BTVCP, after_BTVCP))
    turned = torch.zeros_like(x_BTVCP)
    turned[:, :-1] = axis_BTVCP * torch.where(sine_BTV1P > 1e-6, angle_BTV1P / sine_BTV1P, 0)
    return turned


MODALITIES: dict[str, Modality] = {
    function.__name__: function
    for function in (joint, motion, bone, bone_motion, acceleration, rotation_axis, angular_velocity)
}


NEED_3D = ("rotation_axis", "angular_velocity")  # whose values are axes, at a right angle to what turns


def check_modalities(names: Iterable[str], layout: Layout) -> None:
    """Raise UsageError, in one line, for a modality that these joints cannot have."""
    if needing := [name for name in names if name in NEED_3D and layout.coordinates < 3]:
        others = ", ".join(name for name in MODALITIES if name not in NEED_3D)
        raise UsageError(
            f"modalities: {needing[0]} needs joints in 3-D, those of {layout.name} are in 2-D; take {others}"
        )


def stack_modalities(x_BTVCP: Tensor, names: Sequence[str], layout: Layout) -> Tensor:
    """Inputs of all branches, (M, B, T, V·C·P): joint, coordinate, body flattened in that order."""
    return torch.stack([MODALITIES[name](x_BTVCP, layout).flatten(2) for name in names])


def _of_parents(x_BTVCP: Tensor, layout: Layout) -> Tensor:
    return x_BTVCP.index_select(2, _parents(layout.parents, x_BTVCP.device))


@cache
def _parents(parents: tuple[int, ...], device: torch.device) -> Tensor:
    """The parents as an index, made once per device: the host would wait for a copy to a GPU in every step."""
    return torch.tensor(parents, device=device)


def _dot(a_BTVCP: Tensor, b_BTVCP: Tensor) -> Tensor:
    """Products of vectors, (B, T, V, 1, P). Written out: a sum over an inner dimension is ten times slower."""
    x, y, z = (a_BTVCP * b_BTVCP).unbind(3)
    return (x + y + z).unsqueeze(3)


def _unit(x_BTVCP: Tensor) -> Tensor:
    """Vectors scaled to length 1; those shorter than 1e-12 stay short."""
    return x_BTVCP / _dot(x_BTVCP, x_BTVCP).sqrt().clamp(min=1e-12)
