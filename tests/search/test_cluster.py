"""Ray for the length of a search."""

import os
import re
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.search import cluster
from cmd_tune.search.cluster import ray_session


def test_who_is_given_no_gpu_sees_none(tmp_path, monkeypatch):
    """Else a trial planned for a CPU would compute on the GPU, beside as many others as there are CPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with ray_session(None, tmp_path / "ray.log", nested=False):
        import ray

        assert ray.get(ray.remote(os.getenv).remote("CUDA_VISIBLE_DEVICES")) == ""


def test_what_keeps_rays_processes_from_starting_is_said_with_its_log(tmp_path, monkeypatch):
    """Ray goes on trying for good, and only its log knows. Here they find no shell."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cluster, "_SOON_S", 6)
    with pytest.raises(CmdTuneError) as caught, ray_session(None, tmp_path / "ray.log", nested=False):
        pytest.fail("nothing can run there")
    said = re.fullmatch(r"Ray: its processes die as they start: (.+); see (/.+/raylet\.\w+)", str(caught.value))
    assert said, caught.value
    assert "bash" in said[1] or "FileNotFoundError" in said[1]
    assert said[1] in Path(said[2]).read_text()


def test_what_keeps_ray_itself_from_starting_is_said(tmp_path, monkeypatch):
    """A socket's path may have 107 bytes."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(CmdTuneError, match=r"^Ray: cannot be reached or started: .*107 bytes.*; see /"):
        ray_session(None, tmp_path / "ray.log", nested=False).__enter__()
