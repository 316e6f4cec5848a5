"""Ray for the length of a search."""

import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution.ray_session import _complaint, nodes_now
from tests.search.execution.started_ray import started_ray

pytestmark = pytest.mark.long


def test_what_keeps_rays_processes_from_starting_is_said_with_its_log(tmp_path, monkeypatch):
    """Ray goes on trying for good, and only its log knows. Here an environment ends them as they start."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'default_worker.py' in ' '.join(sys.orig_argv): sys.exit('no workers here')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("cmd_tune.search.execution.ray_session._SOON_S", 6)
    with pytest.raises(CmdTuneError) as caught, started_ray(None, tmp_path / "ray.log"):
        pytest.fail("nothing can run there")
    said = re.fullmatch(r"Ray: its processes die as they start: (.+); see (/.+/raylet\.\w+)", str(caught.value))
    assert said, caught.value
    assert said[1] in Path(said[2]).read_text()


def test_what_keeps_ray_itself_from_starting_is_said(tmp_path, monkeypatch):
    """Ray refuses an object store of so few bytes."""
    monkeypatch.setattr("cmd_tune.search.execution.ray_session._OBJECT_STORE", 1024)
    with pytest.raises(CmdTuneError, match=r"^Ray: cannot be reached or started: .*1024.*; see /"):
        started_ray(None, tmp_path / "ray.log").__enter__()


@pytest.mark.parametrize("name", ["it's", "a\\b"])
def test_an_environment_that_ray_cannot_run_is_refused_at_once(tmp_path, monkeypatch, name):
    """Ray splits the commands of its own processes at spaces, and takes quotes and backslashes out of them."""
    monkeypatch.setattr("sys.executable", str(tmp_path / name / "python"))
    with pytest.raises(CmdTuneError, match=r"/python: Ray does not start where a path has ['\\]; rename the folder$"):
        started_ray(None, tmp_path / "ray.log").__enter__()


def test_the_reason_is_an_error_and_not_the_end_of_a_stack(tmp_path):
    (tmp_path / "raylet.err").write_text(
        "[2026-11-27 22:21:13,651 E 8612 8651] (raylet) agent_manager.cc:87: One agent failed.\n"
        "The raylet fate shares with the agent.\n/site-packages/ray/raylet(+0x263cb7) [0x555675404cb7]\n\n"
    )
    assert _complaint(tmp_path) == ("One agent failed.", tmp_path / "raylet.err")


def test_what_ray_says_itself_stands_alone_where_its_logs_say_nothing(tmp_path, monkeypatch):
    """As where its folder cannot be made."""

    def fail(**options):
        raise PermissionError(13, "Permission denied", "/usr/.ray")

    monkeypatch.setattr("ray.init", fail)
    monkeypatch.setattr("cmd_tune.search.execution.ray_session._ray_logs", lambda: None)
    with pytest.raises(CmdTuneError, match=r"^Ray: cannot be reached or started: .*'/usr/\.ray'; see /"):
        started_ray(None, tmp_path / "ray.log").__enter__()


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A Ray that starts where the temporary folder's path is too long: (that folder, what was said of it).

    For the last tests here: there is no second Ray beside it.
    """
    long = tmp_path_factory.mktemp("x" * 100)
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as said:
        patch.setenv("RAY_TMPDIR", "")  # is restored, whatever is set meanwhile
        patch.delenv("RAY_TMPDIR")
        patch.setenv("TMPDIR", str(long))
        patch.delenv("OMP_WAIT_POLICY")  # which these tests have themselves
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.7")
        with started_ray(None, long / "ray.log"):
            yield long, said.getvalue()


def read(*names):
    """The variables of a process of Ray's."""
    import ray

    return ray.get(ray.remote(lambda: [os.getenv(name) for name in names]).remote())


def test_who_is_given_no_gpu_sees_none(started):
    """Else a trial planned for a CPU would compute on the GPU, beside as many others as there are CPUs."""
    assert read("CUDA_VISIBLE_DEVICES") == [""]


def test_processes_have_the_variables_of_the_session(started):
    """Without an environment of their own they are those that Ray starts in advance."""
    import ray

    assert read("OMP_WAIT_POLICY", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S") == ["passive", "0.7"]
    assert not ray.get_runtime_context().runtime_env


def test_a_long_name_of_the_temporary_folder_keeps_no_search_from_starting(started):
    """The paths of Ray's sockets may have 107 bytes."""
    long, said = started
    assert len(nodes_now()) == 1
    assert re.match(rf"TMPDIR {long}: is too long by \d+ bytes for the paths of Ray's sockets; ", said)
