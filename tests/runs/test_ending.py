"""The last steps of a run: one that fails takes no other with it."""

import io

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.ending import ERRORS, Ending, outright


def test_a_step_that_fails_is_named_and_the_others_are_done(tmp_path):
    ending, file = Ending(tmp_path), io.StringIO()
    ending.check("RESUME")  # nothing is wrong yet
    assert ending.attempt("first", lambda: 1) == 1
    assert ending.attempt("figure: a", lambda: 1 // 0) is None
    assert ending.attempt("report", (tmp_path / "none" / "x").read_bytes) is None
    assert ending.attempt("last", lambda: 0) == 0
    ending.show(Console(file=file, width=20))
    assert file.getvalue().splitlines() == [
        "figure: a: ZeroDivisionError: integer division or modulo by zero",
        f"report: {tmp_path}/none/x: No such file or directory",
    ]
    with pytest.raises(CmdTuneError, match=r"^figure, report: failed, the rest is done; see .*; go on with: RESUME$"):
        ending.check("RESUME")
    text = (tmp_path / ERRORS).read_text()
    assert text.count("Traceback (most recent call last)") == 2
    assert "ZeroDivisionError" in text


def test_what_cannot_be_written_down_is_named_all_the_same(tmp_path):
    ending = Ending(tmp_path / "none")
    ending.attempt("step", lambda: 1 // 0)
    assert len(ending.troubles) == 1


def test_an_interruption_is_no_failure_of_a_step(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    ending = Ending(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ending.attempt("step", interrupted)
    assert ending.troubles == []


def test_outright_raises_what_the_step_raises():
    assert outright("step", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        outright("step", lambda: 1 // 0)
