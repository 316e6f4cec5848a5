"""Ray clusters of one machine for tests: real nodes, each with processes, folders and ports of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

RAY = (sys.executable, "-m", "ray.scripts.scripts")
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")  # where no other Ray of this machine is seen, nor stopped
TOKEN = "t" * 64


class RayCluster:
    """A head that asks for a token, which is in `home`; `env` is that of a user on its machine."""

    def __init__(self, cpus: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.home = self.root / "home"
        (self.home / ".ray").mkdir(parents=True)
        (self.home / ".ray" / "auth_token").write_text(TOKEN)
        self.env = {**os.environ, "HOME": str(self.home), "RAY_TMPDIR": str(self.root)}
        self.env |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            self.env.pop(name, None)
        ports = (f"--{name}={free_port()}" for name in ("port", "dashboard-port", "ray-client-server-port"))
        said = self.start("--head", *ports, "--dashboard-agent-listen-port=0", cpus=cpus)
        self.address = re.search(r"--address='(\S+?)'", said)[1]  # type: ignore[index]
        self.dashboard = re.search(r"http://127\.0\.0\.1:\d+", said)[0]  # type: ignore[index]

    def start(self, *options: str, cpus: int) -> str:
        """Start a node, and return what Ray says of it."""
        words = [*RAY, "start", *options, f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        environment = {**self.env, "RAY_AUTH_MODE": "token"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.sub(r"\x1b\[\d*m", "", done.stdout)

    def join(self, cpus: int) -> None:
        self.start(f"--address={self.address}", "--dashboard-agent-listen-port=0", cpus=cpus)

    def processes(self, program: str = "") -> list[int]:
        """Ids of Ray's processes of this cluster that run a program, oldest first."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                mine = any(f"{self.root}/".encode() in word for word in words[1:])
                if mine and words[0].decode().endswith(program) and int(path.parent.name) != os.getpid():
                    found.append((path.stat().st_mtime, int(path.parent.name)))
        return [pid for _, pid in sorted(found)]

    def close(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def ray_cluster(cpus: int = 2) -> Iterator[RayCluster]:
    cluster = RayCluster(cpus)
    try:
        yield cluster
    finally:
        cluster.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def wait_until(condition: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)
