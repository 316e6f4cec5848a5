"""Commands as they are typed, with what a person can name by mistake: their own input as output, a closed place."""

import os
import subprocess
import sys

import pytest

from tests.typed import invoke, refused


def cmd_tune(*arguments, **environment):
    command = [sys.executable, "-m", "cmd_tune", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=False, timeout=300)


@pytest.mark.parametrize("command", ["ingest", "inspect", "import", "export"])
def test_no_command_writes_over_what_it_reads(tmp_path, tiny_store, golden, command):
    source = tmp_path / "input"
    source.write_bytes((golden / "official_checkpoint.pth.tar").read_bytes() if command == "import" else b"mine")
    if command == "inspect":
        source.write_bytes(tiny_store.path.read_bytes())
    if command == "export":
        invoke("import", golden / "official_checkpoint.pth.tar", "--out", source)
    before = source.read_bytes()
    form = ["nw-ucla"] if command == "ingest" else []
    (tmp_path / "link").symlink_to(source)
    error = refused(command, *form, source, "--out", tmp_path / "link")
    assert error.lines == [f"--out {tmp_path / 'link'}: is what is read; give the output another name"]
    assert source.read_bytes() == before


def test_a_name_that_no_file_can_have_ends_in_one_line(tmp_path):
    done = cmd_tune("evaluate", tmp_path / ("x" * 300), "--data", tmp_path / "none.arrow")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith("File name too long")


def test_a_search_is_no_checkpoint_and_says_what_is(tmp_path, tiny_store):
    (tmp_path / "mine" / "trials" / "000").mkdir(parents=True)
    (line,) = refused("evaluate", tmp_path / "mine", "--data", tiny_store.path, "--storage", tmp_path / "runs").lines
    assert line.endswith(f"is a search; name one of its trials, such as {tmp_path / 'mine' / 'trials' / '000'}")


def test_letters_that_a_terminal_lacks_are_replaced():
    done = cmd_tune("settings", PYTHONIOENCODING="ascii", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert b"?_t of the distillation" in done.stdout


@pytest.mark.parametrize("words", [["--name", ""], ["--name="], ["--data", "", "--set", "epochs=1"]])
def test_an_empty_value_is_not_taken_for_none(tmp_path, words):
    done = cmd_tune("pretrain", "--storage", tmp_path / "runs", *words)
    assert done.returncode == 2
    option = words[0].removesuffix("=")
    said = f"error: {option}: is empty; give it a value, or leave it out"
    assert done.stderr.decode().splitlines() == [said]
