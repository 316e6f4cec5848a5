"""The launch files of cluster/: each is what its program reads, with commands that exist and lines to edit."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmd_tune.remote_files import RemoteFolder
from tests.test_docs import COMMANDS, TEXTS

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(CLUSTER.iterdir())}
LAUNCHERS = ("on-premise.yaml", "aws.yaml", "rayjob.yaml", "slurm.sh", "job.yaml")
INSTALL = re.findall(
    r"^(python3 -m venv \.venv && \.venv/bin/pip install -q -e \.) &&", TEXTS["README.md"], re.MULTILINE
)


def test_every_file_is_in_the_page() -> None:
    assert [name for name in FILES if f"cluster/{name}" not in TEXTS["cluster.md"]] == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_a_person_must_edit_is_marked(name: str) -> None:
    """Storage, data and MLflow's server among it."""
    edited = "\n".join(line for line in FILES[name].splitlines() if "EDIT" in line or "mlflow" in line.lower())
    assert "MLFLOW_TRACKING_URI" in FILES[name]
    assert "MLflow" in edited
    assert "/shared" in FILES[name]
    assert FILES[name].count("EDIT") >= 2


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_searches_that_are_started_have_options_that_exist(name: str) -> None:
    """In every file the same way: STORAGE, NAME, then the options of `search`."""
    text = re.sub(r"\\\n#?\s*", "", FILES[name])
    starts = re.findall(r"cluster/search\.sh ([^'\n]+)", text)
    if name == "slurm.sh":
        (options,) = re.findall(r"OPTIONS:-(--.*?)}", text)
        starts = [f"/shared/runs mine {options}"]
    assert starts
    for start in starts:
        storage, run, *rest = shlex.split(start, comments=True)
        assert (storage, run) == ("/shared/runs", "mine")
        COMMANDS.commands["search"].make_context("search", rest)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["search.sh", "slurm.sh"])
def test_scripts_are_shell(name: str) -> None:
    done = subprocess.run(["bash", "-n", CLUSTER / name], capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.returncode, done.stderr) == (0, "")
    assert (CLUSTER / name).stat().st_mode & 0o111


@pytest.fixture
def typed(tmp_path: Path) -> Callable[[str], str]:
    """What search.sh types for a search `it` in a storage, of which the package says whether it is there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(
        f'#!/bin/sh\n[ "$2" = cmd_tune ] || exec {sys.executable} "$@"\nprintf "%s|" "$@"\n'
    )
    (tmp_path / "bin" / "python").chmod(0o755)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"

    def typed(storage: str) -> str:
        words = [CLUSTER / "search.sh", storage, "it", "--space", "a b.yaml"]
        done = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (done.stderr == ""), done.stderr
        return done.stdout or done.stderr

    return typed


NEW, AGAIN = "--name|it|--space|a b.yaml", "--resume|it"


def test_a_search_in_a_folder_is_started_once_and_then_gone_on_with(
    typed: Callable[[str], str], tmp_path: Path
) -> None:
    storage = tmp_path / "my runs"
    (storage / "it").mkdir(parents=True)
    assert typed(str(storage)) == f"-m|cmd_tune|search|{NEW}|--storage|{storage}|--address|auto|"
    (storage / "it" / "search.yaml").touch()
    assert typed(str(storage)) == f"-m|cmd_tune|search|{AGAIN}|--storage|{storage}|--address|auto|"


def test_a_search_at_a_uri_is_started_once_and_then_gone_on_with(typed: Callable[[str], str], s3: str) -> None:
    """On whatever node; where the URI cannot be reached nothing is started."""
    remote = RemoteFolder(f"{s3}/it")
    remote.write(".owner.json", b"{}")  # of a driver that was lost before it began
    assert typed(s3) == f"-m|cmd_tune|search|{NEW}|--storage|{s3}|--address|auto|"
    remote.write("search.yaml", b"name: it")
    assert typed(s3) == f"-m|cmd_tune|search|{AGAIN}|--storage|{s3}|--address|auto|"
    assert typed("s3://nobody/runs") == "error: s3://nobody/runs: there is no bucket nobody; make it first\n"


@pytest.mark.parametrize(
    ("name", "types"), [("on-premise.yaml", ["local.cluster.node"]), ("aws.yaml", ["head", "worker"])]
)
def test_ray_up_takes_the_file(name: str, types: list[str]) -> None:
    """By Ray's own schema and checks; all its workers are there from the start, and every node gets the token."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = yaml.safe_load(FILES[name])
    prepared = prepare_config(content)
    validate_config(prepared)
    assert list(prepared["available_node_types"]) == types
    worker = prepared["available_node_types"][types[-1]]
    assert worker["min_workers"] == worker["max_workers"] == prepared["max_workers"] == 2
    assert prepared["file_mounts"]["~/.ray/auth_token"]
    for step in ("head", "worker"):
        assert "RAY_AUTH_MODE=token ray start" in prepared[f"{step}_start_ray_commands"][-1]


def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    job, claim = yaml.safe_load_all(FILES["rayjob.yaml"])
    return job, claim


def test_the_manifest_is_a_rayjob_with_a_token_and_a_shared_volume() -> None:
    job, claim = manifest()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert job["spec"].keys() == {
        "entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec",
    }  # fmt: skip
    assert cluster.keys() == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["authOptions"] == {"mode": "token"}
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].partition(":")[0] in FILES["Dockerfile"]
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert places["shared"] == "/shared"
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_image_is_what_the_manifest_and_the_readme_say() -> None:
    text = re.sub(r"\\\n", " ", FILES["Dockerfile"])
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0] == ["FROM", "python:3.11-bookworm"]
    assert {step for step, _ in steps} <= {"FROM", "ARG", "RUN", "USER", "WORKDIR", "COPY", "ENV"}
    work = dict(steps)["WORKDIR"]
    job, _ = manifest()
    assert job["spec"]["entrypoint"].startswith(f"{work}/cluster/search.sh ")
    assert dict(steps)["ENV"] == f"PATH={work}/.venv/bin:$PATH"
    assert INSTALL
    assert any(content.startswith(INSTALL[0]) for step, content in steps if step == "RUN")
    (user,) = re.findall(r"--uid (\d+) (\w+)", text)
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsUser": int(user[0]), "fsGroup": int(user[0])}
    assert dict(steps)["USER"] == user[1]

    copied = {word for step, content in steps if step == "COPY" for word in content.split()[1:-1]}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "run_search.py"}
    assert needed | {*wheel["packages"], *wheel["force-include"]} <= copied


def test_one_version_of_ray_is_in_all_files() -> None:
    """Nodes of two versions do not join each other."""
    job, _ = manifest()
    named = {
        job["spec"]["rayClusterSpec"]["rayVersion"],
        *re.findall(r"^ARG RAY=(.*)$", FILES["Dockerfile"], re.MULTILINE),
    }
    for name in ("on-premise.yaml", "aws.yaml"):
        named |= set(re.findall(r"'ray==(.*?)'", FILES[name]))
        assert INSTALL[0] in FILES[name]
    (version,) = named
    least = re.findall(r"ray\[.*?\]>=(\d+)\.(\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[0]
    assert [int(part) for part in version.split(".")] >= [int(part) for part in least]
