"""A search whose own Ray is killed: a line, the resume command and exit code 1, where Ray waits for good."""

import os
import re
import signal

import pytest

from tests.end_to_end.searches import GRID, epochs_done, finish, search, wait_for
from tests.ray_clusters import processes_of, ray_folder

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("program", "name"),
    [("/raylet", "node on this machine"), pytest.param("/gcs_server", "head", marks=pytest.mark.slow)],
)
def test_a_search_ends_with_what_it_depends_on(tmp_path, tiny_store, monkeypatch, program, name):
    with ray_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        process = search(tmp_path, tiny_store, GRID, epochs=2000)
        wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
        (killed,) = processes_of(folder, program)
        os.kill(killed, signal.SIGKILL)
        *_, before, last = finish(process, 1).splitlines()
    assert before.startswith("trial-")
    assert re.fullmatch(rf"error: Ray's {name} \(127\.0\.0\.1:\d+\) has ended; go on with.* --resume it", last)
