"""Starts Ray: twice where the machine is too busy at first. A start that fails leaves no processes."""

import re
import sys
from traceback import walk_tb
from typing import Any

from cmd_tune.errors import first_line


def start_ray(address: str | None, **options: Any) -> None:
    """Join the Ray at an address, or start one here. options: of `ray.init`. Raises what Ray raises.

    Ray gives its node half a minute. One that is not up by then, as where others have the CPUs, is started once more.
    """
    import ray

    for last in (bool(address), True):
        try:
            ray.init(address=address or "local", **options)
            return
        except Exception as error:
            _clear_away(error)
            if last or not re.search("time[sd]?[ -]?out", str(error), re.IGNORECASE):
                raise
            print(f"Ray: {first_line(error)} It is started once more", file=sys.stderr, flush=True)


def _clear_away(error: Exception) -> None:
    """End the processes of a failed start. Ray forgets the node it was about to start; the error's stack has it."""
    import ray
    from ray._private.node import Node

    for frame, _ in walk_tb(error.__traceback__):
        if isinstance(node := frame.f_locals.get("self"), Node):
            node.kill_all_processes(check_alive=False, wait=True)
    ray.shutdown()
