"""A process whose output cannot be written goes on: the reader is gone, the disk is full, the terminal is closed."""

import os
import signal
import subprocess
import sys

import pytest

START = "import os, signal, subprocess, sys; from cmd_tune.compute.screen import outlive_screen\n"


def run(code, redirected="", **environment):
    """Runs lines in a process of their own whose shell redirects its output; all must end in order."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {redirected}', sys.executable, START + code],
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_reader_that_is_gone_ends_nothing(tmp_path):
    """A pipe holds 64 KiB: the process writes far more, and then a file."""
    code = "outlive_screen()\nfor _ in range(2000): print('x' * 100, flush=True)\nopen(sys.argv[1], 'w').close()"
    process = subprocess.Popen([sys.executable, "-c", START + code, tmp_path / "done"], stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("redirected", [">/dev/full", "2>/dev/full", ">&-", "2>&-", ">&- 2>&-"])
def test_no_line_raises_where_it_cannot_be_written(redirected):
    run("outlive_screen(); print('a', flush=True); print('b', file=sys.stderr, flush=True)", redirected)


def test_a_closed_outputs_number_is_no_other_files(tmp_path):
    """What C libraries print goes to 1 and 2, whatever Python has for them."""
    code = f"outlive_screen(); file = os.open({str(tmp_path / 'mine')!r}, os.O_CREAT | os.O_WRONLY); "
    run(code + "assert file > 2; os.write(1, b'printed'); os.write(2, b'printed')", ">&- 2>&-")
    assert (tmp_path / "mine").read_bytes() == b""


def test_characters_that_the_output_lacks_are_replaced():
    done = run("outlive_screen(); print('τ = 0.1'); print('π', file=sys.stderr)", PYTHONIOENCODING="ascii")
    assert (done.stdout, done.stderr) == (b"? = 0.1\n", b"?\n")


def test_all_that_is_written_arrives_in_its_order():
    done = run("print('before', end=', '); outlive_screen(); print('after'); sys.stdout.write('x' * 10**6)")
    assert done.stdout == b"before, after\n" + b"x" * 10**6


def test_a_line_of_errors_is_there_at_once():
    """Also where the process is killed before it could flush."""
    done = run("outlive_screen(); print('why', file=sys.stderr); os._exit(0)")
    assert done.stderr == b"why\n"


def test_a_terminal_that_is_closed_ends_neither_the_process_nor_those_it_starts():
    child = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print(signal.getsignal(signal.SIGHUP).name)"
    code = f"outlive_screen(); os.kill(os.getpid(), signal.SIGHUP); subprocess.run([sys.executable, '-c', {child!r}])"
    assert run(code).stdout.decode().split() == [signal.SIG_IGN.name]
