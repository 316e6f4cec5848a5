"""The processes of a search, by what they are: told by their command lines, drawn by weight, and killed."""

import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SEARCH = "search"  # the searching process itself
RAYLET = "raylet"


class _Kind(NamedTuple):
    weight: int  # of it, when the next victim is drawn
    tells: Callable[[str], bool]  # a process of it, by the first word of its command line


def _begins(*titles: str) -> Callable[[str], bool]:
    return lambda word: word.startswith(tuple(f"ray::{title}" for title in titles))


# Those that are soon there again come up more often than those after which much has to start.
KINDS = {
    "host": _Kind(8, _begins("_be_host")),  # its one process; of several, the one that waits for them
    "worker of a host": _Kind(8, _begins("RayTrainWorker")),
    "controller of a host": _Kind(3, _begins("TrainController")),
    "helper of Train": _Kind(
        2, _begins("_AutoscalingCoordinator", "DatasetManager", "PlacementGroupCleaner", "SynchronizationActor")
    ),
    "trial's driver": _Kind(8, _begins("ResourceTrainable", "TrialClient")),  # in Tune's eyes: a client of the desk
    "desk": _Kind(3, _begins("Desk")),
    RAYLET: _Kind(2, lambda word: word.endswith("/raylet")),
    SEARCH: _Kind(2, lambda word: False),
}


def kill_one(search: int, nodes: Sequence[int], chance: random.Random) -> str:
    """Kill one of the victims, of a kind drawn by weight. Returns the kind; "" if there is none of it.

    Kinds are drawn whether there are any: else most kills would meet the search itself, alone, as it starts.
    """
    (kind,) = chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])
    try:
        os.kill(chance.choice(victims(search, nodes)[kind]), signal.SIGKILL)
    except (KeyError, ProcessLookupError):
        return ""
    return kind


def victims(search: int, nodes: Sequence[int]) -> dict[str, list[int]]:
    """Processes of a search, by kind.

    search: its process. nodes: what started the nodes of the cluster that it has joined; empty if it has a Ray of its
    own. The raylet of the first, the head, is none: the search is on its node, and the cluster ends with it.
    """
    found: dict[str, list[int]] = {SEARCH: [search]}
    for root in (search, *nodes):
        for pid, words in descendants(root).items():
            for kind in (kind for kind, (_, tells) in KINDS.items() if tells(words[0])):
                if kind != RAYLET or root not in nodes[:1]:
                    found.setdefault(kind, []).append(pid)
    return found


def descendants(pid: int) -> dict[int, list[str]]:
    """The command lines of the processes below one, by their numbers."""
    parents: dict[int, int] = {}
    commands: dict[int, list[str]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(place.name)] = (place / "cmdline").read_text(errors="replace").split("\0")
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: commands[child] for child in below - {pid} if child in commands}
