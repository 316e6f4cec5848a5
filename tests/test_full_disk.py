"""A full disk is told from other failures, whatever is wrapped around it."""

import errno
import sqlite3
from contextlib import closing

import pytest

from cmd_tune.errors import CmdTuneError, DiskFull
from cmd_tune.full_disk import _full, as_disk_full, cannot_write


def full():
    """An error of the operating system's own."""
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def twice():
    raise raised(ValueError(), full)


def raised(outer, inner):
    """`outer` as it is when raised from what `inner` raises."""
    try:
        try:
            inner()
        except Exception as error:
            raise outer from error
    except Exception as error:
        return error


class FromAnotherProcess(Exception):
    def __init__(self, cause):
        self.cause = cause


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: raised(CmdTuneError("a file: cannot be written"), full),
        lambda: raised(
            RuntimeError("invalid data in the commit"), lambda: (_ for _ in ()).throw(raised(ValueError(), full))
        ),
        lambda: FromAnotherProcess(raised(RuntimeError(), full)),
        lambda: OSError(errno.EDQUOT, "Disk quota exceeded", "/d/file"),
        lambda: DiskFull("/d/file: cannot be written: the disk is full"),
    ],
)
def test_a_full_disk_is_found_beneath_what_libraries_say(wrap, tmp_path):
    found = as_disk_full(wrap(), tmp_path / "study.db")
    assert isinstance(found, DiskFull)
    assert "cannot be written: the disk is full" in str(found)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied", "/d"), ValueError("disk is full")])
def test_other_failures_are_not(error, tmp_path):
    assert as_disk_full(error, tmp_path / "study.db") is None
    assert not _full(tmp_path / "study.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_may_not_grow_is_full_and_one_that_is_locked_is_not(tmp_path):
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
        database.execute("create table t (x)")
        database.execute("pragma max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as caught:
            database.execute("insert into t values (zeroblob(100000))")
        assert str(as_disk_full(caught.value, path)).startswith(f"{path}: cannot be written: the disk is full")
        database.execute("begin exclusive")
        with closing(sqlite3.connect(path, timeout=0)) as other, pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("insert into t values (1)")
        assert as_disk_full(caught.value, path) is None


def test_what_is_said_of_a_file():
    said = cannot_write("/d/a", OSError(errno.ENOSPC, "No space left on device"))
    assert str(said).startswith("/d/a: cannot be written: the disk is full (")
    assert str(said).endswith(" MB are free, or a quota is used up); make room there")
    assert str(cannot_write("/d/a", OSError(errno.EISDIR, "Is a directory"))) == (
        "/d/a: cannot be written: Is a directory"
    )
