"""Made-up actions of NTU-25 bodies, for a first run without data and for tests; hard to tell apart by raw skeletons.

Forward kinematics makes bodies of the joint angles in synthetic_actions.py. Actors differ in limb lengths, posture,
tempo and amplitude; takes in length, onset, phase, pauses, hand and idle movements; cameras in place, noise and lost
frames.
T frame, V joint, C coordinate, P body, A angle, K keyframe, J one or more dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS, mean_joint
from cmd_tune.data.synthetic_actions import ACTIONS, ANGLES, LIMBS, Action, Keys

Floats = NDArray[np.float64]

LAYOUT = LAYOUTS["ntu-25"]
FRAMES_PER_SECOND = 30  # Kinect v2
FRAMES = (40, 110)  # shortest and longest clip

_INDEX = {name: index for index, name in enumerate(ANGLES)}
_ONE_WAY_A = np.array([name.endswith(("out", "elbow", "knee")) for name in ANGLES])  # bend to one side only

# Each joint from its parent, in metres to the right, forward and up, in an adult of 1.75 m whose arms hang.
_BONES_VC = np.array([
    (0, 0, -0.25), (0, 0, -0.22), (0, 0, 0.07), (0, 0.02, 0.14),
    (-0.18, 0, -0.03), (0, 0, -0.28), (0, 0, -0.25), (0, 0, -0.08),
    (0.18, 0, -0.03), (0, 0, -0.28), (0, 0, -0.25), (0, 0, -0.08),
    (-0.09, 0, -0.05), (0, 0, -0.42), (0, 0, -0.40), (0, 0.12, -0.06),
    (0.09, 0, -0.05), (0, 0, -0.42), (0, 0, -0.40), (0, 0.12, -0.06),
    (0, 0, 0), (0, -0.03, -0.04), (0, 0.04, -0.05), (0, -0.03, -0.04), (0, 0.04, -0.05),
])  # fmt: skip

# The segment whose turning carries a joint about its parent.
_SEGMENTS = (
    "trunk", "trunk", "head", "head",
    "trunk", "left_upper", "left_fore", "left_fore", "trunk", "right_upper", "right_fore", "right_fore",
    "pelvis", "left_thigh", "left_shin", "left_shin", "pelvis", "right_thigh", "right_shin", "right_shin",
    "trunk", "left_fore", "left_fore", "right_fore", "right_fore",
)  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """A subject: bones in metres, habitual posture in degrees, tempo and amplitude as factors."""

    bones_VC: Floats
    posture_A: Floats
    tempo: float
    amplitude: float


@dataclass(frozen=True)
class Camera:
    """A view of the stage: its heading and downward tilt in degrees; height, distance and noise in metres."""

    heading: float
    tilt: float
    height: float
    distance: float
    noise: float


# NTU's three headings; heights and distances within what its setups had.
CAMERAS = (
    Camera(heading=-45, tilt=8, height=1.6, distance=3.2, noise=0.003),
    Camera(heading=0, tilt=3, height=1.2, distance=2.8, noise=0.0025),
    Camera(heading=45, tilt=14, height=2.1, distance=3.6, noise=0.004),
)

# Standard deviations in degrees, chosen so that a raw skeleton fails: what is constant in a clip would be a
# shortcut for an encoder that tells clips apart, so the large ones are those that change within it.
_POSTURE = 1.5  # of a subject, and again of a take
_IDLE = 4.0  # of joints at rest, moving slowly
_IDLE_OF = {
    **dict.fromkeys(("hip", "spread", "knee"), 32.0),
    **{"face": 12.0, "bend": 2.0, "side": 2.0, "turn": 2.0, "rise": 0.0, "step": 0.0},
}
_IDLE_A = np.array([_IDLE_OF.get(name.rpartition("_")[2], _IDLE) for name in ANGLES])
_IDLE_FRAMES = 12  # between the extremes of an idle movement
_SETTLING = 0.04  # metres, of every joint in the first frame, while a tracker finds the body


def synthesize(*, subjects: int = 8, repetitions: int = 2, seed: int = 0) -> list[Clip]:
    """Clips of every action by every subject before three cameras: joints (T, 25, 3, 2) as recorded, in metres.

    Each camera has `repetitions` takes of its own, so that no clip of a test camera has a twin in training. The same
    arguments give the same clips.
    """
    rng = np.random.default_rng(seed)
    actors = [_actor(rng) for _ in range(subjects)]
    clips = []
    for label, action in enumerate(ACTIONS):
        for subject, actor in enumerate(actors):
            for repetition in range(repetitions):
                for view, camera in enumerate(CAMERAS):
                    name = f"a{label + 1:02d}_s{subject + 1:02d}_r{repetition + 1:02d}_v{view + 1:02d}"
                    take_TVCP = perform(action, actor, actors[subject - 1], rng)
                    clips.append(Clip(name, record(take_TVCP, camera, rng), label, subject + 1, view + 1))
    return clips


def _actor(rng: np.random.Generator) -> Actor:
    part = {name: rng.normal(1, 0.04) for name in ("trunk", "head", "upper", "fore", "pelvis", "thigh", "shin")}
    scale_V = rng.normal(1, 0.05) * np.array([part[segment.rpartition("_")[2]] for segment in _SEGMENTS])
    posture_A = rng.normal(0, _POSTURE, len(ANGLES))
    return Actor(_BONES_VC * scale_V[:, None], posture_A, rng.uniform(0.8, 1.25), rng.uniform(0.85, 1.15))


def perform(action: Action, actor: Actor, partner: Actor, rng: np.random.Generator) -> Floats:
    """One take as it was, without camera or noise: joints (T, V, C, P) in metres, x right, y forward and z up.

    The second body is the partner, face to face with the actor, or 0 if the action has no reply.
    """
    frames = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    active_T, cycles_T = _timing(frames, actor.tempo / action.seconds, rng)
    other_hand = rng.random() < 0.15
    joints_TVCP = np.zeros((frames, len(_BONES_VC), 3, 2))
    for body, (keys, who) in enumerate(((action.keys, actor), (action.reply, partner))):
        if keys is not None:
            angles_TA = _angles(keys, who, active_T, cycles_T, rng)
            joints_TVCP[..., body] = pose(_mirrored(angles_TA) if other_hand else angles_TA, who.bones_VC)
    if action.reply is not None:
        joints_TVCP[:, :, :2, 1] *= -1
        joints_TVCP[:, :, 1, 1] += action.apart * rng.uniform(0.9, 1.2)
    return joints_TVCP


def _timing(frames: int, cycles_per_second: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The strength of the action, 0 at rest to 1, and the number of cycles so far, both (T)."""
    time_T = np.linspace(0, 1, frames)
    onset, end = rng.uniform(0, 0.15), rng.uniform(0.85, 1.3)
    active_T = ((time_T >= onset) & (time_T <= end)).astype(float)
    if rng.random() < 0.3:
        pause = rng.uniform(onset, end)
        active_T[(time_T >= pause) & (time_T < pause + rng.uniform(0.1, 0.3))] = 0
    ramp = np.hanning(13)
    active_T = np.convolve(np.pad(active_T, 6, mode="edge"), ramp / ramp.sum(), mode="valid")
    uneven_T = 1 + 0.3 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * time_T + rng.random()))
    rate = cycles_per_second * rng.uniform(0.8, 1.3) / FRAMES_PER_SECOND
    return active_T, rng.random() + np.cumsum(rate * uneven_T * active_T)


def _angles(keys: Keys, actor: Actor, active_T: Floats, cycles_T: Floats, rng: np.random.Generator) -> Floats:
    """Angles (T, A) of one body: posture and idle movements all the time, the action on top of them while it lasts."""
    frames = len(active_T)
    idle_KA = rng.normal(0, _IDLE_A, (frames // _IDLE_FRAMES + 3, len(ANGLES)))
    idle_KA[:, _ONE_WAY_A] = abs(idle_KA[:, _ONE_WAY_A])
    # Not the whole closed curve: it would end as it began.
    angles_TA = _through(idle_KA, np.linspace(0, 0.8, frames))
    posture_A = actor.posture_A + rng.normal(0, _POSTURE, len(ANGLES))
    angles_TA += np.where(_ONE_WAY_A, abs(posture_A), posture_A) * (_IDLE_A > 0)
    amplitude = actor.amplitude * rng.uniform(0.9, 1.1)
    for name, values in keys.items():
        angles_TA[:, _INDEX[name]] += amplitude * active_T * _through(np.array(values, dtype=float), cycles_T)
    return angles_TA


def _through(keys_KJ: Floats, cycles_T: Floats) -> Floats:
    """A smooth closed curve through keyframes (Catmull and Rom, 1974), `cycles_T` rounds after the first: (T, J)."""
    place_T = cycles_T * len(keys_KJ)
    below_T = np.floor(place_T).astype(int)
    f = (place_T - below_T).reshape(-1, *[1] * (keys_KJ.ndim - 1))
    p, q, r, s = (keys_KJ[(below_T + shift) % len(keys_KJ)] for shift in (-1, 0, 1, 2))
    curve_TJ: Floats = q + f * ((r - p) + f * ((2 * p - 5 * q + 4 * r - s) + f * (3 * q - p - 3 * r + s))) / 2
    return curve_TJ


def _mirrored(angles_TA: Floats) -> Floats:
    """The same movement, mirrored to the other hand."""
    sides = {"right": "left", "left": "right"}
    split = [name.partition("_") for name in ANGLES]
    order = [_INDEX[f"{sides.get(side, side)}{dash}{rest}"] for side, dash, rest in split]
    return angles_TA[:, order] * np.where(np.isin(ANGLES, ("side", "turn", "face")), -1, 1)


def pose(angles_TA: Floats, bones_VC: Floats) -> Floats:
    """Forward kinematics of bones in metres: joints (T, V, C).

    The lowest joint is on the floor (`rise` above it), the base of the spine over the origin (`step` in front of it).
    """
    angle = {name: np.radians(angles_TA[:, index]) for name, index in _INDEX.items()}
    pelvis = _rotation("z", angle["face"])
    trunk = pelvis @ _rotation("z", angle["turn"]) @ _rotation("x", -angle["bend"]) @ _rotation("y", angle["side"])
    turned = {"pelvis": pelvis, "trunk": trunk, "head": trunk @ _rotation("x", -angle["nod"])}
    for side, sign in (("right", 1), ("left", -1)):
        limb = {name: angle[f"{side}_{name}"] for name in LIMBS}
        raised = trunk @ _rotation("z", sign * limb["across"]) @ _rotation("x", limb["reach"])
        upper = raised @ _rotation("y", -sign * limb["out"]) @ _rotation("z", sign * limb["twist"])
        thigh = pelvis @ _rotation("x", limb["hip"]) @ _rotation("y", -sign * limb["spread"])
        turned |= {f"{side}_upper": upper, f"{side}_fore": upper @ _rotation("x", limb["elbow"])}
        turned |= {f"{side}_thigh": thigh, f"{side}_shin": thigh @ _rotation("x", -limb["knee"])}

    joints_TVC = np.zeros((len(angles_TA), *bones_VC.shape))
    order = [v for v, parent in enumerate(LAYOUT.parents) if v == parent]
    for parent in order:
        for v in (v for v, above in enumerate(LAYOUT.parents) if above == parent and v != parent):
            joints_TVC[:, v] = joints_TVC[:, parent] + turned[_SEGMENTS[v]] @ bones_VC[v]
            order.append(v)
    joints_TVC[..., :2] -= mean_joint(joints_TVC, LAYOUT.base, 1)[:, None, :2]
    joints_TVC[..., 2] -= joints_TVC[..., 2].min(axis=1, keepdims=True)
    joints_TVC[..., 1] += angles_TA[:, _INDEX["step"], None] / 100
    joints_TVC[..., 2] += angles_TA[:, _INDEX["rise"], None] / 100
    return joints_TVC


def _rotation(axis: str, angle_T: Floats) -> Floats:
    """Right-handed rotations (T, C, C) about an axis, by angles in radians."""
    a, b = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn_TCC = np.zeros((len(angle_T), 3, 3)) + np.eye(3)
    turn_TCC[:, a, a] = turn_TCC[:, b, b] = np.cos(angle_T)
    turn_TCC[:, b, a] = np.sin(angle_T)
    turn_TCC[:, a, b] = -turn_TCC[:, b, a]
    return turn_TCC


def record(joints_TVCP: Floats, camera: Camera, rng: np.random.Generator) -> NDArray[np.float32]:
    """A take as a Kinect records it, (T, V, C, P): metres, x right, y up, z away from it; lost frames are 0.

    Joints are noisier behind the body, and in the first frames.
    """
    to_camera_CC = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) @ _rotation("z", np.radians([camera.heading]))[0]
    tilted_CC = _rotation("x", np.radians([camera.tilt]))[0] @ to_camera_CC
    seen_TVCP = np.einsum("dc,tvcp->tvdp", tilted_CC, joints_TVCP - np.array([[0], [0], [camera.height]]))
    seen_TVCP[:, :, 2] += camera.distance

    frames = len(seen_TVCP)
    settling_T = _SETTLING * np.exp(-np.arange(frames) / 3)
    behind_TV1P = seen_TVCP[:, :, 2:] - mean_joint(seen_TVCP, LAYOUT.centre, 1)[:, None, 2:]
    noise_TV1P = camera.noise * (1 + 3 / (1 + np.exp(-behind_TV1P / 0.05)))
    slow_TVCP = rng.normal(size=seen_TVCP.shape)[np.arange(frames) // 6]
    seen_TVCP += noise_TV1P * (rng.normal(size=seen_TVCP.shape) + slow_TVCP)
    seen_TVCP += settling_T[:, None, None, None] * rng.normal(size=seen_TVCP.shape[1:])

    seen_TVCP *= joints_TVCP.any(axis=(0, 1, 2))
    for body in (0, 1):
        if rng.random() < 0.2:
            lost = rng.integers(frames)
            # With the first body goes the second: clips are centred on the first one's spine.
            seen_TVCP[lost : lost + rng.integers(1, 6), ..., body:] = 0
    return seen_TVCP.astype(np.float32)
