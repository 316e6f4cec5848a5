"""Ray for the length of a search: a local one or somebody's cluster, its chatter in a log file."""

import logging
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.search.execution.ray_trial import PATIENCE_S
from cmd_tune.search.execution.resources import Node

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
_SOON_S, _LATE_S = 25, 120  # for a first process of Ray's to answer
_SILENT = "Ray does not say why"
_OBJECT_STORE = 256 * 1024**2  # bytes; data goes by memory map, not through Ray


@contextmanager
def ray_session(address: str | None, log: Path, *, nested: bool) -> Iterator[list[Node]]:
    """Start Ray, or join the cluster at `address`, which answers (`check_reachable`); yields its nodes.

    nested: trials start workers of their own. Only then is the dashboard needed: without it the workers of a
    trial that is stopped early are never freed.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    import ray

    if not address:
        _check_place(sys.executable, ray.__file__)
    _log_to(log)
    on_sigterm = signal.getsignal(signal.SIGTERM)

    local = {} if address else {"include_dashboard": nested, "object_store_memory": _OBJECT_STORE}
    where = f"--address {address}" if address else "Ray"
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            configure_logging=False,
            runtime_env=_runtime_env(address),
            **local,
        )
    except Exception as error:  # Ray has no kind of its own for what keeps it from starting
        reason, file = ("", log) if address else _complaint(_ray_logs())
        why = f"{first_line(error)} {f'({reason})' if reason not in ('', _SILENT) else ''}".strip()
        raise CmdTuneError(f"{where}: cannot be reached or started: {why}; see {file or log}") from error
    try:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray takes it for itself as it starts
        _await_process(where)
        _close_token()
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in alive]
    finally:
        ray.shutdown()


def _check_place(*paths: str) -> None:
    """Raise CmdTuneError where Ray, which reads the commands of its own processes as a shell would, cannot run.

    It puts what has a space in it between double quotes, where a ' stands for itself.
    """
    for path in paths:
        odd = "\\" if "\\" in path else "'" if "'" in path and not re.search(r"\s", path) else ""
        if odd:
            raise CmdTuneError(f"{path}: Ray does not start where a path has {odd}; rename the folder")


def _runtime_env(address: str | None) -> dict[str, Any]:
    """What Ray's processes get of us. All of them have it, so that all start in the same way."""
    variables = {**_ENVIRONMENT, "OMP_WAIT_POLICY": "passive"}
    environment: dict[str, Any] = {"env_vars": {name: os.environ.get(name, variables[name]) for name in variables}}
    if not address and shlex.quote(sys.executable) != sys.executable:
        environment["py_executable"] = shlex.quote(sys.executable)  # Ray hands it to a shell as it is
    return environment


def _await_process(where: str) -> None:
    """Raise CmdTuneError, with what Ray's log says of it, where no process of Ray's comes up: Ray tries for ever."""
    import ray

    answer = ray.remote(num_cpus=0)(_answer).remote()
    waited = 0
    while not ray.wait([answer], timeout=_SOON_S)[0]:
        waited += _SOON_S
        reason, file = _complaint(_ray_logs())
        see = f"; see {file}" if file else ""
        if file and _died(file):
            raise CmdTuneError(f"{where}: its processes die as they start: {reason}{see}")
        if waited >= _LATE_S:
            raise CmdTuneError(f"{where}: no process has started in {waited} s: {reason}{see}")
        if waited == _SOON_S:
            print(f"{where}: no process has started yet{see}", file=sys.stderr, flush=True)
    try:
        ray.get(answer)
    except ray.exceptions.RayError as error:
        raise CmdTuneError(f"{where}: its processes do not start: {first_line(error)}") from error


def _answer() -> None:
    """What the first process is asked: whether it is there, and has this package."""


def _ray_logs() -> Path | None:
    """The folder of the logs of the Ray that this process has started last; None where it has started none."""
    from ray._common.utils import get_default_ray_temp_dir

    sessions = Path(get_default_ray_temp_dir()).glob(f"session_*_{os.getpid()}/logs")
    return max(sessions, default=None)  # their names begin with the time


def _complaint(logs: Path | None) -> tuple[str, Path | None]:
    """(the last error that Ray's node or its head wrote down, its file). Without any: what is known, the node's log."""
    for name in ("raylet.err", "raylet.out", "gcs_server.err", "gcs_server.out"):
        lines = _lines(logs / name) if logs else []
        errors = [line for line in lines if re.search(r" [EC] \d+ \d+\] ", line)]
        if name.endswith(".err"):  # a shell's words have no mark; a stack, which ends the file, is no reason
            errors = errors or [line for line in lines if line]
        if errors and logs:
            return re.sub(r"^\[.*?\] (\(.*?\) )?(\S+:\d+: )?", "", errors[-1]), logs / name
    return _SILENT, logs and logs / "raylet.out"


def _died(log: Path) -> bool:
    """Whether a process that the node started, by its log, is no more."""
    text = "\n".join(_lines(log.with_name("raylet.out")))
    started = re.findall(r"Started worker process with pid (\d+)", text)
    return Path("/proc/self").exists() and any(not Path("/proc", pid).exists() for pid in started)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _close_token() -> None:
    """Let nobody else read the key to Ray's doors, which Ray leaves readable to all."""
    with suppress(RuntimeError, OSError):  # where there is no home folder, there is no key in it
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def check_reachable(address: str) -> None:
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
    handler = _LogFile(path, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    logging.getLogger("ray").propagate = True  # its own handler goes with configure_logging=False
