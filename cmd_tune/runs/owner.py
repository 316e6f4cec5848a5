"""Who runs a run whose files are at a URI: one driver at a time, as far as an object store can tell."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.remote_files import RemoteFolder
from cmd_tune.runs.lock_holder import Holder, is_dead_here, this_machine

OWNER = ".owner.json"  # in the run's folder
STALE_S = 60.0  # without a sign of life: the owner has died
_BEAT_S = 10.0  # between two signs of life
_SETTLE_S = 0.5  # for another who begins at the same moment


class Owner:
    """Keeps other drivers out of a run, from the start to `release`, by a file that it writes again and again.

    Raises CmdTuneError if another driver, that is alive or died less than a minute ago, has the run.
    """

    def __init__(self, remote: RemoteFolder, lost: Callable[[], None]) -> None:
        """remote: of the run. lost: called in a thread if another driver has taken it, as it may after a minute."""
        self.remote, self._lost = remote, lost
        self.token = token_hex(8)
        self._refuse_living()
        self._beat()
        time.sleep(_SETTLE_S)
        if (other := self._read()).get("token") != self.token:
            raise self._taken(other, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="owner", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others have the run."""
        self._ended.set()
        self._thread.join(_BEAT_S)
        with suppress(CmdTuneError):  # it becomes stale
            if self._read().get("token") == self.token:
                self.remote.delete(OWNER)

    def _refuse_living(self) -> None:
        other, written = self._read(), self.remote.mark(OWNER)
        if not other or written is None or is_dead_here(other.get("machine"), other.get("pid")):
            return
        probe = f".{self.token}.part"  # both times are the server's: clocks of machines differ
        self.remote.write(probe, b"-")
        now = self.remote.mark(probe)
        self.remote.delete(probe)
        age = ((now.time if now else time.time_ns()) - written.time) / 1e9
        if age < STALE_S:
            raise self._taken(other, age)

    def _taken(self, other: dict[str, Any], age: float) -> CmdTuneError:
        who = f"process {other.get('pid')} on {other.get('host')}"
        wait = f"if it has died, this works in {max(1, STALE_S - age):.0f} s"
        return CmdTuneError(f"{self.remote.uri}: is in use by {who}; wait for it or stop it; {wait}")

    def _read(self) -> dict[str, Any]:
        content = self.remote.read(OWNER)
        with suppress(ValueError):
            found = json.loads(content or b"{}")
            return found if isinstance(found, dict) else {}
        return {}

    def _beat(self) -> None:
        mine = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "machine": this_machine()}
        self.remote.write(OWNER, json.dumps({**mine, "time": time.time()}).encode())

    def _work(self) -> None:
        while not self._ended.wait(_BEAT_S):
            with suppress(CmdTuneError):  # a server that does not answer keeps the others away as well
                other = self._read()
                if other and other.get("token") != self.token:
                    self._lost()
                    return
                self._beat()


def living_owner(remote: RemoteFolder) -> Holder | None:
    """The driver that has given a sign of life in the last minute, by its own clock; None if none has."""
    with suppress(ValueError, KeyError, TypeError):
        kept = json.loads(remote.read(OWNER) or b"{}")
        if time.time() - float(kept["time"]) < STALE_S and not is_dead_here(kept["machine"], kept["pid"]):
            return Holder(str(kept["host"]), int(kept["pid"]), str(kept["machine"]))
    return None
