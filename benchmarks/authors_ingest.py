"""The authors' way into a data set: a text line by line, then every joint of every frame turned by itself.

tests/benchmarks checks both against the reference files. Shi et al., CVPR 2019.
T frame, V joint, C coordinate, P body.
"""

import math

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]  # (P, T, V, C)


def read(text: str, *, joints: int = 25, bodies_read: int = 4, bodies_kept: int = 2) -> Joints:
    """One .skeleton file, the two bodies of largest motion."""
    lines = iter(text.splitlines())
    frames = int(next(lines))
    x = np.zeros((bodies_read, frames, joints, 3))
    for t in range(frames):
        for body in range(int(next(lines))):
            next(lines)
            for v in range(int(next(lines))):
                fields = [float(field) for field in next(lines).split()]
                if body < bodies_read and v < joints:
                    x[body, t, v] = fields[:3]
    motion = []
    for of_body in x:
        present = of_body[of_body.sum(-1).sum(-1) != 0]
        motion.append(sum(present[..., c].std() for c in range(3)) if len(present) else 0)
    return x[np.argsort(motion)[::-1][:bodies_kept]]


def normalize(x: Joints) -> Joints:
    """Empty ends filled, centred on the spine, turned to z and x: loops over bodies, frames and joints."""
    x = x.copy()
    for body, of_body in enumerate(x):
        if of_body.sum() == 0:
            continue
        if of_body[0].sum() == 0:
            present = of_body[of_body.sum(-1).sum(-1) != 0]
            of_body = np.zeros_like(of_body)
            of_body[: len(present)] = present
            x[body] = of_body
        for t, frame in enumerate(of_body):
            if frame.sum() == 0 and of_body[t:].sum() == 0:
                rest = len(of_body) - t
                x[body, t:] = np.concatenate([of_body[:t]] * math.ceil(rest / t))[:rest]
                break
    centre = x[0, :, 1:2].copy()
    for body in range(len(x)):
        if x[body].sum() != 0:
            x[body] = (x[body] - centre) * (x[body].sum(-1) != 0)[..., None]
    for first, second, target in ((0, 1, [0.0, 0.0, 1.0]), (4, 8, [1.0, 0.0, 0.0])):
        rotation = _rotation(x[0, 0, second] - x[0, 0, first], target)
        for body in range(len(x)):
            for t in range(x.shape[1]):
                for v in range(x.shape[2]):
                    x[body, t, v] = np.dot(rotation, x[body, t, v])
    return x


def _rotation(vector: NDArray[np.float64], target: list[float]) -> NDArray[np.float64]:
    axis = np.cross(vector, target)
    if np.abs(axis).sum() < 1e-6:
        return np.eye(3)
    cosine = np.dot(vector / np.linalg.norm(vector), target)
    angle = math.acos(float(np.clip(cosine, -1.0, 1.0)))
    a = math.cos(angle / 2)
    b, c, d = -axis / np.linalg.norm(axis) * math.sin(angle / 2)
    return np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
        [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
        [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
