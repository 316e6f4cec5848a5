"""Starts Ray on this machine or joins a cluster; what Ray logs goes to a file."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.search.execution.ray_folder import ensure_ray_folder
from cmd_tune.search.execution.ray_joining import closed_to_others, find_head, joining
from cmd_tune.search.execution.ray_start import start_ray
from cmd_tune.search.execution.resources import Node

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the search says how many trials there are at once
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the search at once; the study is on disk
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a process without a GPU of its own sees none
    "RAY_prestart_worker_first_driver": "0",  # Ray would wait for its processes, for good if they die as they start
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # until the death of one of a host's workers is noticed
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15",  # until places are given back that did not all come free
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",  # how long workers wait for one that has failed
    "OMP_WAIT_POLICY": "passive",  # as in cli.py
}
_SOON_S, _LATE_S = 25, 120  # until Ray's first process must answer: a line on the screen, the end
_SILENT = "Ray does not say why"
_OBJECT_STORE = 256 * 1024**2  # bytes; data are memory-mapped and do not pass through Ray


@contextmanager
def ray_session(address: str | None, log: Path) -> Iterator[str | None]:
    """Variables and log for a Ray that is started, or for the cluster at `address`, as long as this process has it.

    address: as of `find_head`. Returns what `start_or_join` takes. Raises CmdTuneError.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    head = find_head(address) if address else None
    if not address:
        ensure_ray_folder()
    with joining(head) if head else closed_to_others():
        import ray

        if not address:
            _check_place(sys.executable, ray.__file__)
        _log_to(log)
        yield head.address if head else None


def start_or_join(address: str | None, log: Path, here: Node | None = None) -> None:
    """Start Ray, or join a cluster, within a session. Raises CmdTuneError, with Ray's reason.

    In another thread than the main one Ray leaves the handlers of signals as they are.
    here: what a Ray that is started has; None: all that Ray finds.
    """
    local = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    if here:
        local |= {"num_cpus": int(here.cpus), "num_gpus": int(here.gpus)}
    try:
        start_ray(
            address,
            log_to_driver=False,
            configure_logging=False,
            runtime_env=_runtime_env(address),
            **local,
        )
    except Exception as error:  # Ray has no exception of its own for a failed start
        reason, file = ("", log) if address else _complaint(_ray_logs())
        why = f"{first_line(error)} {f'({reason})' if reason not in ('', _SILENT) else ''}".strip()
        raise CmdTuneError(f"{_name(address)}: cannot be reached or started: {why}; see {file or log}") from error
    _close_token()


def leave_ray() -> None:
    """End the Ray that was started, or leave the cluster. Call it in the thread that started Ray.

    In another one it would wait for good if the node is dead.
    """
    import ray

    ray.shutdown()


def _name(address: str | None) -> str:
    return f"--address {address}" if address else "Ray"


def alive_nodes(without: Collection[str] = ()) -> list[dict[str, Any]]:
    """Ray's descriptions of the nodes that are alive, but for those with these ids."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in without]


def nodes_now(without: Collection[str] = ()) -> list[Node]:
    """The nodes of the cluster that are alive, but for those with these ids."""
    has = [(node["NodeManagerAddress"], node["Resources"]) for node in alive_nodes(without)]
    return [Node(there.get("CPU", 0.0), there.get("GPU", 0.0), name) for name, there in has]


def free_now(without: Collection[str] = ()) -> list[Node]:
    """What is free on these."""
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()
    names = {node["NodeID"]: node["NodeManagerAddress"] for node in alive_nodes(without)}
    return [Node(has.get("CPU", 0.0), has.get("GPU", 0.0), names[key]) for key, has in free.items() if key in names]


def _check_place(*paths: str) -> None:
    """Raise CmdTuneError if Ray cannot run from one of these paths: it parses its own commands as a shell would.

    Ray quotes a path that has a space with ", and a ' inside is then harmless.
    """
    for path in paths:
        odd = "\\" if "\\" in path else "'" if "'" in path and not re.search(r"\s", path) else ""
        if odd:
            raise CmdTuneError(f"{path}: Ray does not start where a path has {odd}; rename the folder")


def _runtime_env(address: str | None) -> dict[str, Any]:
    """Variables and interpreter for Ray's processes. All get the same ones, so that any can serve any task.

    Those of a Ray that is started here have this process's. They are then the ones that Ray has started in advance.
    """
    if address:
        return {"env_vars": {name: os.environ[name] for name in _ENVIRONMENT}}
    if shlex.quote(sys.executable) != sys.executable:
        return {"py_executable": shlex.quote(sys.executable)}  # Ray passes it to a shell unquoted
    return {}


def await_process(address: str | None, answer: Any = None) -> None:
    """Wait for Ray's first process. If none starts, raise CmdTuneError with the reason from Ray's log.

    Ray itself would try for ever. answer: what some process will return; None: one is started to answer.
    """
    import ray

    where = _name(address)
    answer = answer or ray.remote(num_cpus=0)(_answer).remote()
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
    """Prove, by returning, that a process has started and can import this package."""


def _ray_logs() -> Path | None:
    """Find the log folder of the Ray that this process started last; None if it started none."""
    from ray._common.utils import get_default_ray_temp_dir

    sessions = Path(get_default_ray_temp_dir()).glob(f"session_*_{os.getpid()}/logs")
    return max(sessions, default=None)  # their names start with the time


def _complaint(logs: Path | None) -> tuple[str, Path | None]:
    """Find the last error that Ray's node or its head logged, and its file; else a placeholder and the node's log."""
    for name in ("raylet.err", "raylet.out", "gcs_server.err", "gcs_server.out"):
        lines = _lines(logs / name) if logs else []
        errors = [line for line in lines if re.search(r" [EC] \d+ \d+\] ", line)]
        if name.endswith(".err"):  # a shell's messages have no mark; a stack at the end of the file is no reason
            errors = errors or [line for line in lines if line]
        if errors and logs:
            return re.sub(r"^\[.*?\] (\(.*?\) )?(\S+:\d+: )?", "", errors[-1]), logs / name
    return _SILENT, logs and logs / "raylet.out"


def _died(log: Path) -> bool:
    """Whether a process that the node started, according to its log, is dead."""
    text = "\n".join(_lines(log.with_name("raylet.out")))
    started = re.findall(r"Started worker process with pid (\d+)", text)
    return Path("/proc/self").exists() and any(not Path("/proc", pid).exists() for pid in started)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _close_token() -> None:
    """Restrict Ray's auth token, which Ray writes world-readable, to its owner."""
    with suppress(RuntimeError, OSError):  # there may be no home folder, or no token
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


class _LogFile(logging.FileHandler):
    """A log file that stays silent if its disk is full; logging would print a traceback per line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        pass


def _log_to(path: Path) -> None:
    """Send what libraries log and warn to a file, instead of between the lines on the screen."""
    handler = _LogFile(path, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    logging.getLogger("ray").propagate = True  # its own handler goes with configure_logging=False
