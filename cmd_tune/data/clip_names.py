"""Parses the names of clips: subject, camera, setup and action, as the data sets encode them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_NTU = re.compile(r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R\d{3}A(?P<action>\d{3})$")
_UCLA = re.compile(r"a(?P<action>\d+)_s(?P<subject>\d+)_e\d+_v(?P<camera>\d+)$")
_PKU = re.compile(r"A\d+N(?P<subject>\d+)-(?P<side>[LMR])(?=$|[._#])")
_NTU_60_SETUPS, _NTU_60_CLASSES = 17, 60


@dataclass(frozen=True)
class ClipName:
    """The parts of a name, as the data set numbers them; 0 if it lacks one. sets: ntu (both), nw-ucla or pku-mmd-2."""

    sets: str
    subject: int
    camera: int
    setup: int = 0
    action: int = 0


def parse_clip_name(name: str) -> ClipName | None:
    """The parts of a name; None if it has no known form."""
    if ntu := _NTU.match(name):
        return ClipName("ntu", *(int(ntu[key]) for key in ("subject", "camera", "setup", "action")))
    if ucla := _UCLA.match(name):
        return ClipName("nw-ucla", int(ucla["subject"]), int(ucla["camera"]), action=int(ucla["action"]))
    if pku := _PKU.match(name):
        return ClipName("pku-mmd-2", int(pku["subject"]), "LMR".index(pku["side"]) + 1)
    return None


def clip_name(text: str) -> str:
    """A clip's name, without folder and suffix."""
    return Path(text).name.removesuffix(".skeleton").removesuffix(".json")


def data_set(names: Collection[str], classes: int, otherwise: str) -> str:
    """The data set that all names belong to; `otherwise` if they belong to none, or to several."""
    parsed = [parse_clip_name(name) for name in names]
    sets = {one.sets if one else otherwise for one in parsed}
    if len(sets) != 1:
        return otherwise
    (found,) = sets
    if found != "ntu":
        return found
    more = classes > _NTU_60_CLASSES or any(one.setup > _NTU_60_SETUPS for one in parsed if one)
    return "ntu-120" if more else "ntu-60"
