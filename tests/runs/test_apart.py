"""A call in a process of its own: its result, its exception, and its end by others."""

import os
import signal

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.apart import call_apart


def test_it_runs_elsewhere():
    assert call_apart(os.getpid, ended="ended") != os.getpid()


def test_what_it_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        call_apart(divmod, 1, 0, ended="ended")


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(CmdTuneError, match=r"^there was too little memory$"):
        call_apart(signal.raise_signal, signal.SIGKILL, ended="there was too little memory")
