"""Where a run was made: versions, commit, machine. For the record beside its scores."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import cmd_tune

_PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "pyarrow")


@cache
def describe_environment() -> dict[str, Any]:
    """Plain values, for YAML."""
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
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": versions,
    }


def source_tags() -> dict[str, str]:
    """Tags by which MLflow shows where a run's code came from."""
    commit = git_commit()
    return {"mlflow.source.name": "cmd_tune"} | ({"mlflow.source.git.commit": commit} if commit else {})


@cache
def git_commit() -> str | None:
    """The commit of the checkout this package runs from, '+changes' where files differ; None outside a checkout."""
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
