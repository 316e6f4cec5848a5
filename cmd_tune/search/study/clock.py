"""The time that the trials of a search have run, over all its sessions, on disk."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text

CLOCK = "clock.json"  # in a search's folder
_EVERY_S = 5.0  # a kill loses at most this


class Clock:
    """Counts from when it is made, and after what earlier sessions have used."""

    def __init__(self, path: Path) -> None:
        """Raises CmdTuneError if what earlier sessions wrote cannot be read."""
        self.path = path
        self._earlier, self._began = _read(path), monotonic()
        self.spent = self._earlier  # seconds that trials have run: what is on disk

    @property
    def seconds(self) -> float:
        """Seconds used, in this session and the earlier ones."""
        return self._earlier + monotonic() - self._began

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the time on disk while the block runs, and once more at its end."""
        over = Event()

        def keep() -> None:
            while not over.wait(_EVERY_S):
                self._write()

        thread = Thread(target=keep, name="clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._write()

    def _write(self) -> None:
        self.spent = round(self.seconds, 3)
        with suppress(CmdTuneError):  # a full disk ends the search where it loses something
            write_text(self.path, json.dumps({"seconds": self.spent}) + "\n")


def _read(path: Path) -> float:
    if not path.exists():
        return 0.0
    try:
        seconds = float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        if not 0 <= seconds < float("inf"):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise CmdTuneError(
            f'{path}: holds no time; write {{"seconds": N}}, or remove it to have the time count anew'
        ) from None
    return seconds
