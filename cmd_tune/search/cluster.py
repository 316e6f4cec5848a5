"""Ray for the length of a search: a local one or somebody's cluster, its chatter in a log file."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.machine import Node
from cmd_tune.search.trial import PATIENCE_S

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the search at once; the book is on disk
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # who is given no GPU sees none
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # reports faster than this are held back
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(PATIENCE_S),  # of a worker that reports before the others
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",  # of workers that wait for one that has failed
}
_TOKEN = Path.home() / ".ray" / "auth_token"
_OBJECT_STORE = 256 * 1024**2  # bytes; data goes by memory map, not through Ray


@contextmanager
def ray_session(address: str | None, log: Path, *, nested: bool) -> Iterator[list[Node]]:
    """Start Ray, or join the cluster at `address`; yields its nodes.

    nested: trials start workers of their own. Only then is the dashboard needed: without it the workers of a
    trial that is stopped early are never freed.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if address and ":" in address:
        _knock(address)
    import ray

    _log_to(log)
    on_sigterm = signal.getsignal(signal.SIGTERM)

    local = {} if address else {"include_dashboard": nested, "object_store_memory": _OBJECT_STORE}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            configure_logging=False,
            runtime_env={"env_vars": {**_ENVIRONMENT, "OMP_WAIT_POLICY": "passive"}} if nested or address else None,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"--address {address}" if address else "Ray"
        raise CmdTuneError(f"{where}: cannot be reached or started: {str(error).splitlines()[0]}; see {log}") from error
    try:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray takes it for itself as it starts
        if _TOKEN.exists():
            _TOKEN.chmod(0o600)  # Ray leaves the key to its doors readable to all
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in alive]
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise CmdTuneError where nobody listens at host:port; Ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise CmdTuneError(f"--address {address}: nobody answers there ({error}); is the cluster up?") from error


class _LogFile(logging.FileHandler):
    """A log that is left as it is where its disk is full; logging itself would print a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        pass


def _log_to(path: Path) -> None:
    """What libraries log and warn goes to a file, not between the lines of the table."""
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    logging.getLogger("ray").propagate = True  # its own handler goes with configure_logging=False
