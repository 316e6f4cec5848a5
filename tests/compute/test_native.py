"""Compiling on the machine at hand: kept, shared, and done without where it cannot be done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.compute.native import _compiler

pytestmark = pytest.mark.long

CODE = """
from cmd_tune.compute import native
import torch
from cmd_tune.model.encoders.gru_layer import GRUPairs
x = [torch.ones(s) / 2 for s in [(1, 3, 2, 4), (1, 2, 15, 4), (1, 2, 15, 5), (1, 2, 15), (1, 2, 15)]]
print(native.library() is not None, GRUPairs.apply(*x, True).sum().item())
"""


def run(said: str = "", **environment: str) -> tuple[str, float]:
    """Whether there is a library, and what comes out; on stderr there is one warning with these words, or nothing."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.count("Slower: ") == bool(said), done.stderr
    assert said in done.stderr
    compiled, value = done.stdout.split()
    return compiled, float(value)


def test_it_is_compiled_once_and_kept(tmp_path: Path) -> None:
    first = run(XDG_CACHE_HOME=str(tmp_path))
    files = list((tmp_path / "cmd_tune").iterdir())
    assert first[0] == "True"
    assert len(files) == 1
    times = files[0].stat().st_mtime_ns
    assert run(XDG_CACHE_HOME=str(tmp_path), CXX=os.environ.get("CXX", "c++")) == first
    assert list((tmp_path / "cmd_tune").iterdir()) == files
    assert files[0].stat().st_mtime_ns == times


def test_without_a_compiler_or_a_place_pytorch_does_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    (tmp_path / "file").write_text("")
    compiled, value = run(XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert compiled == "True"
    for said, environment in {
        "there is no compiler 'no-such-compiler'": {"CXX": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path / "a")},
        "broken-compiler ends with exit code 1": {"CXX": f"{broken} -O3", "XDG_CACHE_HOME": str(tmp_path / "b")},
        "No closing quotation": {"CXX": "c++ '", "XDG_CACHE_HOME": str(tmp_path / "c")},
        f"{tmp_path / 'file'}": {"XDG_CACHE_HOME": str(tmp_path / "file")},
    }.items():
        without, other = run(said, **environment)
        assert without == "False"
        assert abs(other - value) < 1e-5
    assert not list((tmp_path / "b" / "cmd_tune").iterdir())


def test_a_spoilt_file_in_the_cache_is_done_without(tmp_path: Path) -> None:
    run(XDG_CACHE_HOME=str(tmp_path))
    next((tmp_path / "cmd_tune").iterdir()).write_bytes(b"no library")
    assert run("since the C++ is not compiled", XDG_CACHE_HOME=str(tmp_path))[0] == "False"


def test_the_compiler_may_have_options_and_a_space_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As build systems write CXX; an empty one is none."""
    found = shutil.which("c++")
    assert found is not None
    spaced = tmp_path / "my tools"
    spaced.mkdir()
    (spaced / "c++").symlink_to(found)
    path = str(spaced / "c++")
    for named, command in {
        "": [found],
        " ": [found],
        "c++ -std=c++17": [found, "-std=c++17"],
        f"'{path}' -g0": [path, "-g0"],
        path: [path],
    }.items():
        monkeypatch.setenv("CXX", named)
        assert _compiler() == command
    assert run(CXX=f"'{path}' -g0", XDG_CACHE_HOME=str(tmp_path / "cache"))[0] == "True"
