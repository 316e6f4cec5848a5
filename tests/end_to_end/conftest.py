"""A search that nothing happens to, for all tests of a process."""

import pytest

from tests.end_to_end.searches import GRID, finish, search


@pytest.fixture(scope="session")
def unbroken(tiny_store, tmp_path_factory):
    """A grid of three trials and one that diverges, run to its end: (folder, what it printed)."""
    cwd = tmp_path_factory.mktemp("unbroken")
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.2, 1e-40]}}}
    return cwd, finish(search(cwd, tiny_store, space, "--concurrent", "1"))
