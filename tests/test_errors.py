"""Failures in one line each: what is said of exceptions of all kinds, and of names that are not known."""

import sqlite3
from contextlib import closing

import pytest

from cmd_tune.errors import (
    CmdTuneError,
    DataError,
    Interrupted,
    UsageError,
    did_you_mean,
    first_line,
    one_line,
    usage_error,
)


def test_an_error_of_several_lines():
    error = UsageError("a:  b\nc", "d")
    assert error.lines == ["a: b c", "d"]
    assert str(error) == "a:  b\nc\nd"
    assert one_line(error) == "a: b c; d"
    assert str(CmdTuneError()) == ""


def test_names_in_files_of_others_do_not_drive_the_terminal():
    """ESC begins a command to it; a name that is not UTF-8 has surrogates, which cannot be printed."""
    assert DataError("clip \x1b]0;title\x07 é τ \udcff: damaged").lines == [
        r"clip \x1b]0;title\x07 é τ \udcff: damaged",
    ]


def raised_from(error, cause):
    error.__cause__ = cause
    return error


def in_another_process(error):
    """As Ray has it: the exception beside the text of a traceback."""
    outer = RuntimeError("ray::trial()\nTraceback (most recent call last): …")
    outer.cause = error
    return outer


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  first\nsecond"), "ValueError: first"),
        (ValueError(), "ValueError"),
        (KeyError("topk"), "KeyError: 'topk'"),
        (FileNotFoundError(2, "No such file or directory", "a.arrow"), "a.arrow: No such file or directory"),
        (ConnectionError("refused"), "ConnectionError: refused"),
        (DataError("a.arrow: is no store"), "a.arrow: is no store"),
        (raised_from(RuntimeError("wrapped"), raised_from(ValueError("deep"), KeyError("root"))), "KeyError: 'root'"),
        # What a person can act on is said as it is, whatever led to it.
        (raised_from(RuntimeError("wrapped"), raised_from(DataError("a: b"), OSError("low"))), "a: b"),
        (in_another_process(DataError("a: b")), "a: b"),
        (in_another_process(raised_from(RuntimeError("wrapped"), MemoryError())), "MemoryError"),
    ],
)
def test_what_went_wrong_in_one_line(error, line):
    assert one_line(error) == line


def test_the_first_line_of_a_message_or_the_type():
    assert [first_line(error) for error in (ValueError(" a\nb"), ValueError("\n"), DataError("x", "y"))] == [
        "a", "ValueError", "x",
    ]  # fmt: skip


def test_exit_codes_tell_usage_failure_and_interruption_apart():
    assert [kind("").exit_code for kind in (UsageError, CmdTuneError, DataError, Interrupted)] == [2, 1, 1, 130]


def test_line_breaks_in_names_of_others_make_no_line():
    error = usage_error("mine.yaml: a\nb", "is\tunknown\u2028here")
    assert str(error) == "mine.yaml: a b: is unknown here"
    assert error.lines == [str(error)]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("topc", "did you mean 'topk'?"),
        ("TOPK", "did you mean 'topk'?"),  # by its letters, if nothing is near as it is written
        ("Seed", "did you mean 'seed'?"),
        ("zzz", "known: queue_size, seed, topk"),  # in their order, whatever order they are given in
        ("", "known: queue_size, seed, topk"),
    ],
)
def test_the_nearest_name_or_all_of_them(name, end):
    assert did_you_mean(name, {"topk": 1, "seed": 2, "queue_size": 3}) == end


LOCKED = "close what else has the database open; if its file system has no locks, take a --storage that has"


@pytest.mark.parametrize("said", ["database is locked", "locking protocol", "disk I/O error"])
def test_a_database_that_cannot_be_locked_comes_with_the_cure(said):
    """As SQLite's messages are for ENOLCK, for a lock that is lost, for ENOSYS."""
    error = raised_from(RuntimeError("An exception is raised during the commit."), sqlite3.OperationalError(said))
    assert one_line(error) == f"OperationalError: {said}: {LOCKED}"


def test_a_real_database_that_is_held_by_another_comes_with_it(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as ours, closing(sqlite3.connect(tmp_path / "a.db", 0)) as theirs:
        ours.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError) as caught:
            theirs.execute("create table a (b)")
    assert one_line(caught.value).endswith(LOCKED)
