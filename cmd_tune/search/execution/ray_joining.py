"""Who may speak to Ray: the head of a cluster is asked what it wants before Ray joins it; a local Ray is closed.

Ray itself would try for minutes at an address where nobody answers, and print pages of its C++ core's log where a token
is missing.
"""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cmd_tune.errors import CmdTuneError, UsageError

_PATIENCE_S = 5  # for an answer of a head, and for a node of its cluster on this machine
_CURE = "copy ~/.ray/auth_token from its head to the same place here (chmod 600), or set RAY_AUTH_TOKEN"


@dataclass(frozen=True)
class Head:
    """A head that lets this process in. address: host:port. asks: whether it asks for a token."""

    address: str
    asks: bool


def find_head(address: str) -> Head:
    """Find the head of a cluster that this process can join.

    address: host:port, or auto: RAY_ADDRESS, else the cluster that was last started or joined on this machine, else
    one whose node runs here.
    Raises UsageError for an address of another form; CmdTuneError if nobody answers there, or if what answers is no
    head, has other versions, asks for a token that is not here, or has no node on this machine.
    """
    from ray._private.services import canonicalize_bootstrap_address

    place = f"--address {address}"
    if address == "auto":
        address, place = _find_here()
    _check_form(address, place)
    located = canonicalize_bootstrap_address(address)  # localhost as the head knows it
    if reason := silence(located):
        raise CmdTuneError(f"{place}: nobody answers there ({reason}); start the cluster, or name another")
    asks = _check_versions(located, place)
    _check_node(located, place, asks)
    return Head(located, asks)


def _check_form(address: str, place: str) -> None:
    if "://" in address:
        raise UsageError(
            f"{place}: a search is no client of Ray's; run it on a node of the cluster with --address auto, "
            "or send it there: ray job submit -- python run_search.py … --address auto"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"{place}: is neither auto nor HOST:PORT, such as 10.0.0.1:6379")


def _find_here() -> tuple[str, str]:
    """The address that `auto` stands for, and what messages call it."""
    from ray._private import services, utils

    if named := os.environ.get("RAY_ADDRESS"):
        return named, f"--address auto: RAY_ADDRESS {named}"
    last = services.find_bootstrap_address(None)
    services.find_gcs_addresses.cache_clear()
    # A Ray on the loopback interface belongs to one search or script.
    running = sorted(found for found in services.find_gcs_addresses() if not found.startswith("127."))
    candidates = [last, *running] if last else running
    if not candidates:
        raise CmdTuneError(
            "--address auto: no Ray cluster runs on this machine; start one with: ray start --head, "
            "or leave --address out to run on this machine alone"
        )
    found = next((candidate for candidate in candidates if not silence(candidate)), candidates[0])
    file = f" (from {utils.get_ray_address_file(None)})" if found == last else ""
    return found, f"--address auto: {found}{file}"


def silence(address: str) -> str:
    """Why nobody answers at host:port; empty if somebody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _check_versions(address: str, place: str) -> bool:
    """Raise CmdTuneError for a head of other versions. Returns whether it asks for a token."""
    from ray._private.utils import check_version_info
    from ray.core.generated import gcs_service_pb2 as messages

    request = messages.InternalKVGetRequest(namespace=b"cluster", key=b"CLUSTER_METADATA")
    reply, asks = _ask(address, place, "InternalKVGcsService", "InternalKVGet", request)
    theirs: Mapping[str, Any] = json.loads(reply.value) if reply.value else {}
    if {"ray_version", "python_version"} <= theirs.keys():
        try:
            check_version_info(theirs, address)
        except RuntimeError as error:
            import ray

            there = f"Ray {theirs['ray_version']} and Python {theirs['python_version']}"
            here = f"Ray {ray.__version__} and Python {'.'.join(map(str, sys.version_info[:3]))}"
            raise CmdTuneError(f"{place}: has {there}, this process {here}; use the same on every node") from error
    return asks


def _check_node(address: str, place: str, asks: bool) -> None:
    """Raise CmdTuneError if no node of the cluster runs on this machine: Ray joins through one."""
    from ray._private.services import find_node_ids
    from ray.core.generated import gcs_service_pb2 as messages

    until = time.monotonic() + _PATIENCE_S
    while True:
        reply, _ = _ask(address, place, "NodeInfoGcsService", "GetAllNodeInfo", messages.GetAllNodeInfoRequest(), asks)
        if {node.node_id.hex() for node in reply.node_info_list} & find_node_ids():
            return
        if time.monotonic() > until:
            raise CmdTuneError(
                f"{place}: no node of that cluster runs on this machine; start one (ray start --address={address}), "
                "or send the search there: ray job submit -- python run_search.py … --address auto"
            )
        time.sleep(0.5)


def _ask(address: str, place: str, service: str, method: str, request: Any, asks: bool = False) -> tuple[Any, bool]:
    """A head's reply, and whether it asked for a token. asks: whether it is known to."""
    import grpc
    from ray.core.generated import gcs_service_pb2_grpc as services

    with _channel(address) as channel:
        call = getattr(getattr(services, f"{service}Stub")(channel), method)
        token, source = _token(place) if asks else ("", "")
        try:
            metadata = [("authorization", f"Bearer {token}")] if token else None
            return call(request, timeout=_PATIENCE_S, metadata=metadata), asks
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                what = "is not the head of a Ray cluster, whose port is 6379 if not told otherwise"
                raise CmdTuneError(f"{place}: what answers there {what} ({error.code().name})") from error
            if token:
                raise CmdTuneError(f"{place}: refuses the token of {source}; {_CURE}") from error
    if asks:
        raise CmdTuneError(f"{place}: asks for a token, and there is none here; {_CURE}")
    return _ask(address, place, service, method, request, asks=True)


def _channel(address: str) -> Any:
    import grpc
    from ray._common.tls_utils import load_certs_from_env

    options = [("grpc.enable_http_proxy", 0)]  # as Ray's own
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return grpc.insecure_channel(address, options)
    chain, key, authority = load_certs_from_env()
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, chain), options)


def _token(place: str) -> tuple[str, str]:
    """The token that Ray finds here, and where; empty if there is none."""
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader
    from ray.exceptions import AuthenticationError

    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    try:
        token = loader.get_raw_token(ignore_auth_mode=True) if loader.has_token(ignore_auth_mode=True) else ""
    except AuthenticationError as error:
        raise CmdTuneError(f"{place}: asks for a token: {error.message}; {_CURE}") from error
    named = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
    return token, (named or ["~/.ray/auth_token"])[0]


@contextmanager
def joining(head: Head) -> Iterator[None]:
    """For a session with a cluster: Ray shows the token if the head asks for one."""
    mode = "token" if head.asks else "disabled"
    # A job may be submitted with values for the variables that a search sets, too; they are the same.
    with _environment({"RAY_AUTH_MODE": mode, "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}):
        yield


@contextmanager
def closed_to_others() -> Iterator[None]:
    """For a session with a Ray of its own: all its ports are on the loopback interface, behind a token of its own.

    The token is in the environment of Ray's processes alone, which no other user can read.
    """
    from ray._private import ray_constants

    local: dict[str, str | None] = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray use 127.0.0.1, on Linux as well
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_JOB_CONFIG_JSON_ENV_VAR": None,  # of the job that this process is: files that only its cluster has
    }
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray may have been imported before, which reads the variable
    try:
        with _environment(local):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or unset those that are None, and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    """Set variables of which Ray keeps what it once read."""
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader, Config

    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
