"""Ray clusters of one machine for tests: real nodes, each with processes, folders and ports of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RAY = (sys.executable, "-m", "ray.scripts.scripts")
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")  # where no other Ray of this machine is seen, nor stopped
TOKEN = "t" * 64


def mounts_possible() -> bool:
    """Whether nodes can be started that do not see a folder."""
    return not subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode  # noqa: S607


class RayCluster:
    """A head that asks for a token, which is in `home`; `env` is that of a user on its machine."""

    def __init__(self, root: Path, cpus: int) -> None:
        self.root = root
        self.home = self.root / "home"
        (self.home / ".ray").mkdir(parents=True)
        (self.home / ".ray" / "auth_token").write_text(TOKEN)
        self.env = {**os.environ, "HOME": str(self.home), "RAY_TMPDIR": str(self.root)}
        self.env["PATH"] = f"{commands_in(self.root / 'bin')}:{self.env['PATH']}"
        self.env |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            self.env.pop(name, None)
        ports = (f"--{name}={free_port()}" for name in ("port", "dashboard-port", "ray-client-server-port"))
        said = self.start("--head", *ports, "--dashboard-agent-listen-port=0", cpus=cpus)
        self.address = re.search(r"--address='(\S+?)'", said)[1]  # type: ignore[index]
        self.dashboard = re.search(r"http://127\.0\.0\.1:\d+", said)[0]  # type: ignore[index]

    def start(self, *options: str, cpus: int, hidden: Path | None = None, **env: str) -> str:
        """Start a node, and return what Ray says of it. hidden: a folder that it does not see. env: of this node."""
        words = [*RAY, "start", *options, f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        if hidden:
            words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden), *words]
        environment = {**self.env, "RAY_AUTH_MODE": "token", **env}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.sub(r"\x1b\[\d*m", "", done.stdout)

    def join(self, cpus: int, hidden: Path | None = None, **env: str) -> int:
        """Start another node, as `start` does. Returns the process id of its raylet."""
        before = processes_of(self.root, "/raylet")
        self.start(f"--address={self.address}", "--dashboard-agent-listen-port=0", cpus=cpus, hidden=hidden, **env)
        (raylet,) = processes_of(self.root, "/raylet") - before
        return raylet


def processes_of(folder: Path, program: str = "") -> set[int]:
    """Ids of Ray's processes that have this folder, and run a program whose path ends so."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            first, *words = path.read_bytes().decode(errors="replace").split("\0")
            if first.endswith(program) and any(f"{folder}/" in word for word in words):
                found.add(int(path.parent.name))
    return found - {os.getpid()}


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for a Ray, whose sockets' paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def ray_cluster(cpus: int = 2) -> Iterator[RayCluster]:
    with ray_folder() as folder:
        try:
            yield RayCluster(folder, cpus)
        finally:
            for pid in processes_of(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def commands_in(folder: Path, **more: str) -> Path:
    """A folder with this interpreter as `python`, its Ray as `ray`, and more commands, each a line of shell."""
    folder.mkdir(parents=True)
    lines = {"python": f'exec {sys.executable} "$@"', "ray": f'exec {" ".join(RAY)} "$@"', **more}
    for name, line in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]
