"""NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019): one .skeleton text per clip.

The number of frames; a frame: the number of bodies; a body: ten fields, the number of joints, and twelve fields per
joint, of which the first three are x, y, z in metres. The name SsssCcccPpppRrrrAaaa has setup, camera, subject
(performer), repetition and action. Bodies are selected as by the authors' reader (2s-AGCN's): they are matched by their
order in the frame, and the two that move most are kept.
T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.clip_names import parse_clip_name
from cmd_tune.data.readers.bodies import moving_bodies
from cmd_tune.data.readers.numbers import read_numbers
from cmd_tune.errors import DataError

_JOINTS, _BODY_FIELDS, _JOINT_FIELDS = 25, 10, 12
_BODIES_READ = 4


def parse_ntu(classes: int, where: str, stem: str, text: bytes) -> Clip:
    """Parse one file. classes: of the data set. where: the name of the file in messages. Raises DataError."""
    parsed = parse_clip_name(stem)
    if parsed is None or parsed.sets != "ntu":
        raise DataError(f"{where}: the name is not of the form SsssCcccPpppRrrrAaaa.skeleton")
    if not 1 <= parsed.action <= classes:
        raise DataError(f"{where}: action {parsed.action} is not in 1–{classes}")
    return Clip(
        name=stem,
        joints_TVCP=moving_bodies(_bodies(where, read_numbers(where, text)), where),
        label=parsed.action - 1,
        subject=parsed.subject,
        camera=parsed.camera,
        setup=parsed.setup,
        where=where,
    )


def _bodies(where: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates of the bodies as they stand in each frame, (T, V, C, 4); absent ones are 0."""

    def count(at: int, what: str, largest: float) -> int:
        if at >= len(numbers):
            raise DataError(f"{where}: ends in frame {frame + 1} of {frames}")
        value = float(numbers[at])
        if not (0 <= value <= largest and value.is_integer()):
            raise DataError(f"{where}: frame {frame + 1} has {value:g} for its number of {what}")
        return int(value)

    frame = frames = 0
    frames = count(0, "frames", len(numbers))
    if frames == 0:
        raise DataError(f"{where}: no frames")
    if (regular_TVCP := _as_many_in_every_frame(numbers, frames)) is not None:
        return regular_TVCP
    x_TVCP = np.zeros((frames, _JOINTS, 3, _BODIES_READ))
    at = 1
    for frame in range(frames):
        bodies = count(at, "bodies", len(numbers))
        at += 1
        for body in range(bodies):
            joints = count(at + _BODY_FIELDS, "joints", len(numbers))
            if joints != _JOINTS:
                raise DataError(f"{where}: frame {frame + 1} has a body of {joints} joints, expected {_JOINTS}")
            at += _BODY_FIELDS + 1
            fields = numbers[at : at + _JOINTS * _JOINT_FIELDS]
            if len(fields) < _JOINTS * _JOINT_FIELDS:
                raise DataError(f"{where}: ends in frame {frame + 1} of {frames}")
            if body < _BODIES_READ:
                x_TVCP[frame, :, :, body] = fields.reshape(_JOINTS, _JOINT_FIELDS)[:, :3]
            at += _JOINTS * _JOINT_FIELDS
    if at != len(numbers):
        raise DataError(f"{where}: goes on after its {frames} frames")
    return x_TVCP


def _as_many_in_every_frame(numbers: NDArray[np.float64], frames: int) -> NDArray[np.float64] | None:
    """The same without a loop, if every frame holds the same number of whole bodies, as in most files; else None."""
    body_size = _BODY_FIELDS + 1 + _JOINTS * _JOINT_FIELDS
    bodies, rest = divmod((len(numbers) - 1) // frames - 1, body_size)
    if rest or bodies < 1 or len(numbers) != 1 + frames * (1 + bodies * body_size):
        return None
    frame_TX = numbers[1:].reshape(frames, -1)
    body_TPX = frame_TX[:, 1:].reshape(frames, bodies, body_size)
    if not ((frame_TX[:, 0] == bodies).all() and (body_TPX[..., _BODY_FIELDS] == _JOINTS).all()):
        return None
    read = min(bodies, _BODIES_READ)
    x_TVCP = np.zeros((frames, _JOINTS, 3, _BODIES_READ))
    joint_TPVX = body_TPX[:, :read, _BODY_FIELDS + 1 :].reshape(frames, read, _JOINTS, _JOINT_FIELDS)
    x_TVCP[..., :read] = joint_TPVX[..., :3].transpose(0, 2, 3, 1)
    return x_TVCP
