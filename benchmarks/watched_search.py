"""`python -m benchmarks.watched_search FILE SECONDS …`: the search of the rest of the command, with CPU times in FILE.

SECONDS: an epoch sleeps for so long in place of pretraining; 0: it pretrains.
"""

import json
import os
import re
import sys
import threading
import time
from pathlib import Path

_EVERY_S = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")
# Titles of Ray's processes → what they are.
_TITLES = {r"ray::.*host": "hosts", r"ray::Desk": "desk", r"ray::(TrialClient|ResourceTrainable)": "clients"}


def main() -> None:
    file, seconds, *arguments = sys.argv[1:]
    watch = _Watch()
    watch.start()
    from benchmarks.timed_trials import timed_host
    from cmd_tune.search import search
    from cmd_tune.search.execution import ray_hosts

    ray_hosts._be_host = timed_host(float(seconds))
    if float(seconds):  # a sleep leaves no encoder to be scored
        search.score_finalists = lambda *_: None  # type: ignore[attr-defined]
    from cmd_tune.cli import main as cli

    sys.argv = ["cmd_tune", "search", *arguments]
    try:
        cli()
    finally:
        Path(file).write_text(json.dumps(watch.samples), encoding="utf-8")


class _Watch(threading.Thread):
    """Notes the CPU seconds of this process, its tracker's thread and Ray's processes every now and then.

    samples: (seconds since 1970, CPU seconds by name).
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, dict[str, float]]] = []

    def run(self) -> None:
        while True:
            self.samples.append((time.time(), _cpu_seconds()))
            time.sleep(_EVERY_S)


def _cpu_seconds() -> dict[str, float]:
    tracker = sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.name == "tracker" and thread.ident and thread.is_alive()
    )
    found = {"MLflow": tracker, "search": time.process_time() - tracker}
    for _, title, seconds in descendants():
        name = next((name for pattern, name in _TITLES.items() if re.match(pattern, title)), "Ray")
        found[name] = found.get(name, 0.0) + seconds
    return found


def descendants() -> list[tuple[int, str, float]]:
    """(id, title, CPU seconds) of each process below this one."""
    known: dict[int, tuple[int, str, float]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        known[int(folder.name)] = (int(fields[1]), title, (int(fields[11]) + int(fields[12])) / _TICKS)
    below = {os.getpid()}
    while more := {pid for pid, (parent, _, _) in known.items() if parent in below} - below:
        below |= more
    return [(pid, *known[pid][1:]) for pid in below - {os.getpid()} if pid in known]


if __name__ == "__main__":
    main()
