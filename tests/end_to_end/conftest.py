"""A search that nothing happens to, for all tests."""

import fcntl
import os

import pytest

from tests.end_to_end.searches import GRID, finish, search


@pytest.fixture(scope="session")
def unbroken(tiny_store, tmp_path_factory):
    """A grid of three trials and one that diverges, run to its end: (folder, what it printed).

    The processes of pytest-xdist, whose folders lie in one, share it: the first that comes runs it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    cwd, said = shared / "unbroken", shared / "unbroken.log"
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.2, 1e-40]}}}
    with (shared / "unbroken.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            cwd.mkdir()
            said.write_text(finish(search(cwd, tiny_store, space, "--concurrent", "1")))
    return cwd, said.read_text()
