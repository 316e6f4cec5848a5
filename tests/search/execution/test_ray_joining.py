"""Who is let in: the head of a cluster is asked before Ray joins it, and a Ray of one's own is closed to others."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.search.execution.ray_joining import Head, find_head
from tests.ray_clusters import NAMESPACE, TOKEN, RayCluster, free_port, ray_cluster, ray_folder
from tests.search.execution.started_ray import started_ray

pytestmark = pytest.mark.long

CURE = "copy ~/.ray/auth_token from its head to the same place here (chmod 600), or set RAY_AUTH_TOKEN"
NEARBY = "127.0.0.1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(cpus=1) as made:
        yield made


@pytest.fixture(autouse=True)
def no_cluster_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a token, and without a cluster that was started last."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def refusal(address: str) -> str:
    with pytest.raises(CmdTuneError) as caught:
        find_head(address)
    (line,) = caught.value.lines
    return line


def started_last(folder: Path, address: str) -> Path:
    """The file that `ray start` leaves."""
    file = folder / "ray" / "ray_current_cluster"
    file.parent.mkdir(exist_ok=True)
    file.write_text(address)
    return file


def test_the_token_that_lies_here_is_found(cluster, tmp_path, monkeypatch):
    head = Head(cluster.address, asks=True)
    monkeypatch.setenv("HOME", str(cluster.home))
    assert find_head(cluster.address) == head
    assert find_head(f"localhost:{cluster.address.rpartition(':')[2]}") == head
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert find_head(cluster.address) == head
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # the head's word counts
    assert find_head(cluster.address) == head


def test_a_token_that_is_missing_or_wrong_is_said_with_where_to_get_it(cluster, tmp_path, monkeypatch):
    place = f"--address {cluster.address}"
    assert refusal(cluster.address) == f"{place}: asks for a token, and there is none here; {CURE}"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert re.fullmatch(
        rf"{place}: asks for a token: RAY_AUTH_TOKEN_PATH .*: {tmp_path}/token; {re.escape(CURE)}",
        refusal(cluster.address),
    )
    (tmp_path / "token").write_text("x" * 64)
    assert refusal(cluster.address) == f"{place}: refuses the token of RAY_AUTH_TOKEN_PATH; {CURE}"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "y" * 64)
    assert refusal(cluster.address) == f"{place}: refuses the token of RAY_AUTH_TOKEN; {CURE}"


@pytest.mark.parametrize("versions", [{"ray_version": "2.1.0"}, {"python_version": "3.14.1"}])
def test_other_versions_are_named(cluster, monkeypatch, versions):
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub

    monkeypatch.setenv("HOME", str(cluster.home))
    where = {"namespace": b"cluster", "key": b"CLUSTER_METADATA"}
    shown = {"metadata": [("authorization", f"Bearer {TOKEN}")], "timeout": 10}
    with grpc.insecure_channel(cluster.address) as channel:
        records = InternalKVGcsServiceStub(channel)
        kept = records.InternalKVGet(messages.InternalKVGetRequest(**where), **shown).value
        told = json.dumps({**json.loads(kept), **versions}).encode()
        try:
            records.InternalKVPut(messages.InternalKVPutRequest(**where, value=told, overwrite=True), **shown)
            line = refusal(cluster.address)
        finally:
            records.InternalKVPut(messages.InternalKVPutRequest(**where, value=kept, overwrite=True), **shown)
    there, here = re.fullmatch(
        r"--address \S+: has (Ray \S+ and Python \S+), this process (Ray \S+ and Python \S+); .*every node", line
    ).groups()
    assert there.split()[1::3] == [versions.get("ray_version", here.split()[1]), json.loads(told)["python_version"]]


@pytest.mark.parametrize("scheme", ["ray", "http"])
def test_a_client_is_refused_with_the_way_to_go(scheme):
    with pytest.raises(UsageError, match=rf"^--address {scheme}://h:10001: .*ray job submit -- .* --address auto$"):
        find_head(f"{scheme}://h:10001")


@pytest.mark.parametrize("address", ["local", "10.0.0.1", "10.0.0.1:", ":6379", "h:port", "h:0", "h:65536", "h:-1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match=rf"^--address {address}: is neither auto nor HOST:PORT"):
        find_head(address)


def test_where_nobody_answers_or_somebody_else_it_is_said_at_once(monkeypatch):
    assert "nobody answers there ([Errno 111]" in refusal(f"{NEARBY}:{free_port()}")
    server = http.server.HTTPServer(("", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert "what answers there is not the head of a Ray cluster" in refusal(f"{NEARBY}:{server.server_port}")
    finally:
        server.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", f"{NEARBY}:{free_port()}")
    assert refusal("auto").startswith(f"--address auto: RAY_ADDRESS {os.environ['RAY_ADDRESS']}: nobody answers there")


def test_auto_is_the_cluster_that_was_started_last(cluster, tmp_path, monkeypatch):
    started_last(tmp_path, cluster.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert find_head("auto") == Head(cluster.address, asks=True)


ALONE = """
import sys
from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution.ray_joining import find_head
try:
    find_head(sys.argv[1])
except CmdTuneError as error:
    print(error)
"""


def refusal_alone(address: str, **environment: str) -> str:
    """The same where no process of Ray's is seen."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespaces here")
    words = [*NAMESPACE, sys.executable, "-c", ALONE, address]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_auto_where_no_cluster_is(tmp_path):
    assert refusal_alone("auto").startswith("--address auto: no Ray cluster runs on this machine; start one with: ray")
    file = started_last(tmp_path, address := f"{NEARBY}:{free_port()}")
    assert refusal_alone("auto").startswith(f"--address auto: {address} (from {file}): nobody answers there")


def test_a_cluster_without_a_node_on_this_machine_is_told_by(cluster):
    line = refusal_alone(cluster.address, RAY_AUTH_TOKEN=TOKEN)
    start = rf"ray start --address={cluster.address}"
    assert re.fullmatch(rf"--address \S+: no node .* runs on this machine; start one \({start}\), or .*", line)


def test_a_ray_of_ones_own_listens_on_this_machine_alone_and_asks_for_a_token(tmp_path, monkeypatch):
    """The token is in no file: neither the home folder nor Ray's logs have it."""
    with ray_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        before = dict(os.environ)
        with started_ray(None, tmp_path / "ray.log"):
            import psutil
            import ray  # which brings psutil

            ports = set()
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    found = process.net_connections("inet")
                    ports |= {connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN}
            assert len(ports) > 5
            assert {port.ip.removeprefix("::ffff:") for port in ports} == {NEARBY}

            address, token = ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"]
            for shown, outcome in ((None, "asks for a token"), ("x" * 64, "refuses the token"), (token, "")):
                assert outcome in asked_with(shown, address)
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert len(files) > 10
            assert [path for path in files if token.encode() in path.read_bytes()] == []
    assert not (tmp_path / ".ray").exists()

    def of_ray(variables: dict[str, str]) -> dict[str, str]:
        ours = ("RAY_AUTH", "RAY_ENABLE", "RAY_JOB")
        return {name: value for name, value in variables.items() if name.startswith(ours)}

    assert of_ray(dict(os.environ)) == of_ray(before)


SHOWN = """
import sys
from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution import ray_joining
try:
    ray_joining._check_versions(sys.argv[1], "there")
except CmdTuneError as error:
    print(error)
"""


def asked_with(token: str | None, address: str) -> str:
    """What another process is told that shows this token."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"RAY_AUTH_TOKEN": token} if token else {}
    words = [sys.executable, "-c", SHOWN, address]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
