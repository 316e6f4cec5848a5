"""A Ray cluster on this machine, of nodes with one CPU each, whose nodes are killed and join anew."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.soak_victims import descendants

_HERE = "127.0.0.1"
_PATIENCE_S = 60  # for a head to answer


class Cluster:
    """A head and other nodes, which ask for a token that `environment` has, as it has what a search needs to join."""

    def __init__(self, folder: Path, nodes: int) -> None:
        """folder: for Ray's files; its path must be short."""
        self._log = (folder / "nodes.log").open("a", encoding="utf-8")
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **token, "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
        port, dashboard, clients = (_free_port() for _ in range(3))
        self.address = f"{_HERE}:{port}"
        head = (f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={clients}")
        self._nodes = [self._start("--head", *head)]
        self._await_head(port)
        self._nodes += [self._join() for _ in range(nodes - 1)]

    def pids(self) -> list[int]:
        """Those that each started a node, and end with its raylet; the head first. A node that has ended joins anew."""
        head, *others = self._nodes
        if head.poll() is not None:
            raise RuntimeError(f"the head of the cluster has ended; see {self._log.name}")
        self._nodes = [head, *(self._join() if node.poll() is not None else node for node in others)]
        return [node.pid for node in self._nodes]

    def close(self) -> None:
        for node in self._nodes:
            for pid in (node.pid, *descendants(node.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.wait()
        self._log.close()

    def _join(self) -> "subprocess.Popen[str]":
        return self._start(f"--address={self.address}")

    def _start(self, *options: str) -> "subprocess.Popen[str]":
        own = ("--num-cpus=1", "--object-store-memory=100000000", "--dashboard-agent-listen-port=0")
        return subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "start",
                "--block",
                f"--node-ip-address={_HERE}",
                *own,
                *options,
            ],
            env=self.environment,
            text=True,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def _await_head(self, port: int) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(OSError), socket.create_connection((_HERE, port)):
                return
            if time.monotonic() > until:
                raise RuntimeError(f"the head of the cluster does not answer; see {self._log.name}")
            time.sleep(0.1)


@contextmanager
def cluster(nodes: int) -> Iterator[Cluster]:
    """A cluster of so many nodes, for as long as this lasts."""
    with TemporaryDirectory(prefix="soak-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        there = Cluster(Path(folder), nodes)
        try:
            yield there
        finally:
            there.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HERE, 0))
        return int(listener.getsockname()[1])
