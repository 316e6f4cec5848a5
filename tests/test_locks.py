"""Locks where a file system has none: real processes, with a system call that answers as Lustre or NFS does."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.locks import lock_file

SHIM = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuse(const char *name) { errno = atoi(getenv(name)); return -1; }

int flock(int file, int operation) { (void)file; (void)operation; return refuse("FLOCK_ERRNO"); }

int fcntl64(int file, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((command == F_SETLK || command == F_SETLKW) && getenv("FCNTL_ERRNO")) return refuse("FCNTL_ERRNO");
    return syscall(SYS_fcntl, file, command, argument);
}

int fcntl(int file, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fcntl64(file, command, argument);
}
"""
HOLD = """
import sys
from pathlib import Path
from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.run_folder import lock_folder
try:
    with lock_folder(Path(sys.argv[1])), lock_folder(Path(sys.argv[1])):
        print("held")
except (CmdTuneError, OSError) as error:
    print(f"refused: {error}")
"""


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that takes the place of the C library's flock."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, and Linux's LD_PRELOAD")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "flock.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "flock.so", folder / "flock.c"], check=True)
    return folder / "flock.so"


def run(shim: Path, code: int, *words: object, sqlite: int | None = None) -> subprocess.CompletedProcess[str]:
    """A process in which flock answers `code`, and the locks that SQLite takes answer `sqlite`."""
    environment = os.environ | {"LD_PRELOAD": str(shim), "FLOCK_ERRNO": str(code)}
    environment |= {} if sqlite is None else {"FCNTL_ERRNO": str(sqlite)}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_run_goes_on_without_a_lock_and_says_so_once(no_locks: Path, tmp_path: Path, code: int) -> None:
    done = run(no_locks, code, "-c", HOLD, tmp_path)
    assert done.stdout == "held\n"
    said = f"{tmp_path}: its file system has no locks ({os.strerror(code)}); use each run from one process at a time\n"
    assert done.stderr == said


def test_no_other_error_is_taken_for_that(no_locks: Path, tmp_path: Path) -> None:
    assert run(no_locks, errno.EWOULDBLOCK, "-c", HOLD, tmp_path).stdout.startswith(f"refused: {tmp_path}: is in use")
    assert run(no_locks, errno.EIO, "-c", HOLD, tmp_path).stdout == "refused: [Errno 5] Input/output error\n"


def test_sqlites_own_words_come_with_the_cure(no_locks: Path, tmp_path: Path) -> None:
    code = (
        "import sqlite3, sys; from cmd_tune.errors import one_line\n"
        "try: sqlite3.connect(sys.argv[1], timeout=0).execute('create table a (b)')\n"
        "except sqlite3.Error as error: print(one_line(error))"
    )
    for answer, said in ((errno.ENOLCK, "database is locked"), (errno.ENOSYS, "disk I/O error")):
        done = run(no_locks, answer, "-c", code, tmp_path / "a.db", sqlite=answer)
        assert done.stdout.startswith(f"OperationalError: {said}: close what else has the database open; ")
        assert done.stdout.endswith("if its file system has no locks, take a --storage that has\n")


@pytest.mark.long
def test_pretraining_and_its_records_need_no_locks(no_locks: Path, tiny_store, tmp_path: Path) -> None:
    """The run's folder is locked, and MLflow's database while it is made."""
    settings = (
        "hidden_size=8", "embedding_size=8", "layers=1", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
        "epochs=1", "batch_size=8",
    )  # fmt: skip
    options = [word for setting in settings for word in ("--set", setting)]
    command = ["-m", "cmd_tune", "pretrain", "--data", tiny_store.path, "--storage", tmp_path, "--name", "p", *options]
    done = run(no_locks, errno.ENOLCK, *command)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has no locks") == 1
    assert (tmp_path / "p" / "checkpoint.pt").exists()
    assert (tmp_path / "mlflow.db").exists()


def test_a_lock_that_another_process_has_is_not_had(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as ours, (tmp_path / "lock").open("w") as theirs:
        assert lock_file(ours, wait=True)
        assert not lock_file(theirs, wait=False)
        ours.close()
        assert lock_file(theirs, wait=False)


def test_a_platform_without_these_locks_is_told_in_one_line() -> None:
    code = "import sys; sys.modules['fcntl'] = None; sys.argv[1:] = ['settings']; import cmd_tune.cli as c; c.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {sys.platform}: cmd_tune runs on Linux and macOS alone; on Windows, take WSL\n"
