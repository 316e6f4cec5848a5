"""Ends a search whose Ray is gone: Ray itself waits for good for a dead node, or ends the process without a word."""

import os
import signal
import sys
import threading
import time

from cmd_tune.search.execution.ray_joining import silence

_EVERY_S = 2
_NODE_S, _HEAD_S = 6, 20  # for how long there is no answer before it is given up; a head may be restarted
_GRACE_S = 20  # for the search to end in order; Ray ends the process some 60 s after its head


class Watch:
    """Watches the head and this machine's node.

    lost: why the search cannot go on, in one line; empty while it can. Once it is set, the main thread is interrupted
    as Ctrl-C does. If the search has not ended soon after that, the process ends with this line and exit code 1.
    """

    def __init__(self, resume: str) -> None:
        """resume: what to do then, in words."""
        self.lost = ""
        self._resume = resume
        self._over = threading.Event()

    def start(self) -> None:
        """Begin, once this process has joined or started Ray."""
        import ray

        context = ray.get_runtime_context()
        (node,) = (node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
        places = (
            ("Ray's node on this machine", f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", _NODE_S),
            ("Ray's head", context.gcs_address, _HEAD_S),
        )
        threading.Thread(target=self._look, args=places, daemon=True).start()

    def rest(self) -> None:
        """End if nothing is lost: Ray is about to be left."""
        if not self.lost:
            self._over.set()

    def end(self) -> None:
        """End: Ray was left."""
        self._over.set()

    def _look(self, *places: tuple[str, str, float]) -> None:
        seen = [time.monotonic()] * len(places)
        while not self._over.wait(_EVERY_S):
            for index, (name, address, patience) in enumerate(places):
                if not silence(address):
                    seen[index] = time.monotonic()
                elif time.monotonic() - seen[index] > patience:
                    self._give_up(f"{name} ({address}) has ended")
                    return

    def _give_up(self, why: str) -> None:
        self.lost = why
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not self._over.wait(_GRACE_S):
            cursor = "\x1b[?25h" if sys.stdout.isatty() else ""  # which a live table hides
            print(f"{cursor}error: {why}; {self._resume}", file=sys.stderr, flush=True)
            os._exit(1)
