"""The made-up actions as data: joint angles over one cycle. Classes differ by motion: many pass through the poses of
another class in another order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Keys = Mapping[str, tuple[float, ...]]  # angle → its keyframes, in equal parts of one cycle; a single one is held

# Degrees; all 0 in a body that stands with its arms hanging. `rise` (up) and `step` (forward) are centimetres.
TRUNK = ("bend", "side", "turn", "nod", "face", "rise", "step")
LIMBS = ("reach", "out", "across", "twist", "elbow", "hip", "spread", "knee")
ANGLES = (*TRUNK, *(f"right_{name}" for name in LIMBS), *(f"left_{name}" for name in LIMBS))


def _right(**keys: tuple[float, ...]) -> Keys:
    return {f"right_{name}": values for name, values in keys.items()}


def _left(**keys: tuple[float, ...]) -> Keys:
    return {f"left_{name}": values for name, values in keys.items()}


def _both(**keys: tuple[float, ...]) -> Keys:
    return {**_right(**keys), **_left(**keys)}


def _in_turn(**keys: tuple[float, ...]) -> Keys:
    """Angles of both limbs, the left one half a cycle after the right one."""
    return {**_right(**keys), **_left(**{n: k[len(k) // 2 :] + k[: len(k) // 2] for n, k in keys.items()})}


def _backwards(keys: Keys) -> Keys:
    return {name: values[::-1] for name, values in keys.items()}


@dataclass(frozen=True)
class Action:
    """One class: what a body does in a cycle of `seconds`, and how a second one replies, `apart` metres away."""

    name: str
    seconds: float
    keys: Keys
    reply: Keys | None = None
    apart: float = 0.0


_CIRCLE = _right(reach=(130, 85, 40, 85), across=(0, 40, 0, -40), elbow=(20,))
_CRAWL = _in_turn(reach=(130, 85, 40, 85), across=(0, 30, 0, -30), elbow=(20,))
_THROW = _right(reach=(20, -30, 60, 150, 95, 40), elbow=(40, 80, 120, 100, 10, 20))
_SHAKE = {**_right(reach=(35, 70), elbow=(70, 30)), "bend": (6,)}
_FIVE = _right(reach=(15, 90, 140, 80), elbow=(40, 70, 20, 60))
_PUSH = {**_both(reach=(45, 80, 80, 50), elbow=(110, 15, 15, 80)), "bend": (0, 18, 15, 5)}
_PUSHED = {**_both(out=(5, 40, 30, 10)), "bend": (0, -18, -12, 0), "step": (0, -25, -30, -10)}

ACTIONS = (
    Action("circle inwards", 1.0, _CIRCLE),
    Action("circle outwards", 1.0, _backwards(_CIRCLE)),
    Action("chop", 0.9, _right(reach=(130, 85, 40, 85), elbow=(20,))),
    Action("wipe", 0.9, _right(reach=(85,), across=(45, 0, -45, 0), elbow=(20,))),
    Action("wave", 0.7, _right(out=(85,), twist=(-90,), elbow=(45, 115))),
    Action("drink", 1.3, _right(reach=(30, 55, 60, 35), elbow=(40, 125, 130, 60), across=(10, 25))),
    Action("throw", 1.2, {**_THROW, "turn": (0, -25, -30, 0, 25, 10)}),
    Action("crawl", 1.1, _CRAWL),
    Action("backstroke", 1.1, _backwards(_CRAWL)),
    Action("clap", 0.8, _both(reach=(85,), across=(30, -35), elbow=(20,))),
    Action("shake a cloth", 0.8, _both(reach=(120, 50), elbow=(20,))),
    Action("flap in turn", 1.0, _in_turn(out=(10, 90, 150, 90))),
    Action("jumping jack", 1.0, {**_both(out=(10, 90, 150, 90), spread=(0, 12, 25, 12)), "rise": (0, 12, 0, 12)}),
    Action("bow", 1.3, {"bend": (-5, 25, 55, 25), "nod": (0, 10, 20, 10)}),
    Action("kick", 1.0, {**_right(hip=(-15, 20, 80, 30), knee=(45, 80, 10, 20)), "bend": (5, 0, -12, 0)}),
    Action("march", 1.0, _in_turn(hip=(0, 70, 15, 0), knee=(5, 95, 20, 5))),
    Action("handshake", 0.7, _SHAKE, reply=_SHAKE, apart=0.9),
    Action("high five", 1.1, _FIVE, reply=_FIVE, apart=0.8),
    Action("push", 1.1, _PUSH, reply=_PUSHED, apart=0.8),
    Action("be pushed", 1.1, _PUSHED, reply=_PUSH, apart=0.8),
)
