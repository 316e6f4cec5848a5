"""BVH's text: a hierarchy of joints, and a line of numbers per frame.

    HIERARCHY
    ROOT Hips
    {
        OFFSET 0 0 0
        CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
        JOINT Head
        {
            OFFSET 0 60 0
            CHANNELS 3 Zrotation Xrotation Yrotation
            End Site
            {
                OFFSET 0 20 0
            }
        }
    }
    MOTION
    Frames: 1
    Frame Time: 0.0333
    0 90 0 0 0 0 0 0 0

T frame, X channel.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.readers.numbers import read_numbers
from cmd_tune.errors import DataError

_MOTION = re.compile(rb"^[ \t]*MOTION\s+Frames:\s*(\d{1,9})\s+Frame\s+Time:[^\n\r]*", re.MULTILINE)
_CHANNELS = {f"{axis}{kind}".lower(): f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
_MOST_CHANNELS = 6


@dataclass(frozen=True)
class Joint:
    """A joint of the hierarchy. name: that of an end site is its parent's and "_end".

    parent: the number of its parent, which comes before it; of the root, its own. offset: from its parent, in the
    file's unit. channels: Xposition, …, Zrotation, in the order of their numbers in a frame.
    """

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[str, ...]


def read_bvh(where: str, text: bytes) -> tuple[list[Joint], NDArray[np.float64]]:
    """The joints, parents first, and (T, X), the channels of all joints in turn, degrees and the file's unit of length.

    where: the name of the file in messages. Raises DataError.
    """
    motion = _MOTION.search(text)
    if motion is None:
        raise DataError(f"{where}: has no MOTION with Frames and Frame Time")
    try:
        words = text[: motion.start()].decode("utf-8-sig").replace("{", " { ").replace("}", " } ").split()
    except UnicodeDecodeError:
        raise DataError(f"{where}: not a text") from None
    joints = _hierarchy(where, words)
    frames, channels = int(motion[1]), sum(len(joint.channels) for joint in joints)
    numbers = text[motion.end() :]
    x_X = read_numbers(where, numbers) if numbers.strip() else np.empty(0)
    if not channels or len(x_X) != frames * channels:
        raise DataError(f"{where}: {len(x_X)} numbers, expected {frames} frames of {channels} channels")
    if not np.isfinite(x_X).all():
        raise DataError(f"{where}: numbers that are not finite")
    return joints, x_X.reshape(frames, channels)


def _hierarchy(where: str, words: list[str]) -> list[Joint]:
    rest = iter(words)
    if next(rest, "") != "HIERARCHY":
        raise DataError(f"{where}: does not begin with HIERARCHY")
    joints: list[Joint] = []
    open_: list[int] = []  # joints whose block is open, outermost first
    for word in rest:
        if word == "}" and open_:
            open_.pop()
        elif (word == "ROOT" and not joints) or (word in ("JOINT", "End") and open_):
            parent = open_[-1] if open_ else 0
            open_.append(len(joints))
            joints.append(_joint(where, word, parent, joints, rest))
        elif word == "ROOT" and not open_:
            raise DataError(f"{where}: has more than one ROOT; a file of one person is read")
        else:
            raise DataError(f"{where}: HIERARCHY: '{word[:40]}' is out of place")
    if open_ or not joints:
        raise DataError(f"{where}: HIERARCHY: ends early")
    if len({joint.name for joint in joints}) < len(joints):
        names = [joint.name for joint in joints]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: HIERARCHY: joint '{twice[:40]}' stands there twice")
    return joints


def _joint(where: str, kind: str, parent: int, joints: list[Joint], rest: Iterator[str]) -> Joint:
    """The joint whose keyword was read, to before what is inside it."""
    title: list[str] = []
    for word in rest:
        if word == "{":
            break
        title.append(word)
    end = kind == "End"
    name = f"{joints[parent].name}_end" if end else " ".join(title)
    where = f"{where}: HIERARCHY: joint '{name[:40]}'"
    if next(rest, "") != "OFFSET":
        raise DataError(f"{where} does not begin with OFFSET")
    offset = _floats(where, list(islice(rest, 3)))
    if end:
        return Joint(name, parent, offset, ())
    if next(rest, "") != "CHANNELS":
        raise DataError(f"{where} has no CHANNELS after OFFSET")
    count = next(rest, "")
    if not (count.isascii() and count.isdigit() and len(count) == 1 and int(count) <= _MOST_CHANNELS):
        raise DataError(f"{where}: CHANNELS: '{count[:40]}' is not a number up to {_MOST_CHANNELS}")
    found = list(islice(rest, int(count)))
    channels = tuple(_CHANNELS.get(word.lower(), "") for word in found)
    if len(channels) < int(count) or "" in channels:
        raise DataError(f"{where}: CHANNELS: expected {count} of Xposition, …, Zrotation")
    return Joint(name, parent, offset, channels)


def _floats(where: str, words: list[str]) -> tuple[float, float, float]:
    try:
        x, y, z = map(float, words)
    except ValueError:
        x, y, z = math.nan, math.nan, math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise DataError(f"{where}: OFFSET: expected three numbers")
    return x, y, z
