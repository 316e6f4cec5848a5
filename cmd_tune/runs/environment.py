"""The software and the machine of a run: versions, commit, device. They are recorded beside its scores."""

import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import cmd_tune
from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.yaml_files import dump_yaml, read_yaml

_PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "pyarrow")


ENVIRONMENT = "environment.yaml"  # in the folder of a run and of each trial: one entry per session


@cache
def describe_software() -> dict[str, Any]:
    """Versions, commit and platform of this process, as plain values for YAML."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cmd_tune": cmd_tune.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
    }


def describe_environment() -> dict[str, Any]:
    """The same, with the threads and the GPU that this process computes on."""
    return {
        **describe_software(),
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def record_session(folder: Path, environment: Mapping[str, Any]) -> None:
    """Append this session's environment to the list in a run's folder: a run may be resumed on another machine."""
    path = folder / ENVIRONMENT
    earlier = read_yaml(path) if path.exists() else []
    if not isinstance(earlier, list):
        raise CmdTuneError(f"{path}: is no list of sessions; restore it, or remove it")
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    write_text(path, dump_yaml([*earlier, {"started": started, **environment}]))


def last_commit(folder: Path) -> str | None:
    """The commit of the last session in a run's folder, empty if it had none; None if there is no session.

    Raises CmdTuneError if the file cannot be read.
    """
    path = folder / ENVIRONMENT
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CmdTuneError(f"{path}: cannot be read: {error.strerror}; restore it, or remove it") from error
    # Not read as YAML, which takes seconds for the folders of a thousand trials.
    commits = re.findall(r"^[- ] git_commit: (.*)$", text, re.MULTILINE)
    last = commits[-1].strip("'\"") if commits else None
    return "" if last == "null" else last


@cache
def git_commit() -> str | None:
    """The commit of the checkout this package runs from, '+changes' if files differ; None outside a checkout."""
    root = Path(cmd_tune.__file__).parent.parent
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=True)  # noqa: S603, S607
        return done.stdout.decode(errors="replace").strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
