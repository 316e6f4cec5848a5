"""Files appear whole or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.files import atomic_file, refuse_same_file, write_text


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent  # one file system, so that renaming is one act
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_and_fail():
        with atomic_file(path) as temporary:
            temporary.write_text("ha")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    path = tmp_path / "folder.txt"
    with pytest.raises(CmdTuneError, match=re.escape(f"{path}: cannot be written: ")), atomic_file(path) as temporary:
        temporary.write_text("a file cannot take a folder's place")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(CmdTuneError, match=re.escape(f"{path}: cannot be written: ")), atomic_file(path):
        pytest.fail("there is nowhere to write to")


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A machine that dies leaves the old file or the new one, and no empty one."""
    order = []

    def watch(name, told):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *words: (order.append((name, told(*words))), function(*words))[1])

    watch("fsync", lambda handle: Path(os.readlink(f"/proc/self/fd/{handle}")))
    watch("replace", lambda old, new: old)
    write_text(tmp_path / "a.txt", "whole")
    (temporary,) = [path for name, path in order if name == "replace"]
    assert order == [("fsync", temporary), ("replace", temporary), ("fsync", tmp_path)]


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    code = r"""
import locale, sys
from pathlib import Path
from cmd_tune.data.ingest.ingest import read_names
from cmd_tune.files import write_text
from cmd_tune.yaml_files import read_yaml
folder = Path(sys.argv[1])
write_text(folder / "a.yaml", "name: \u03c4 \u2013 \xe9")
write_text(folder / "names", "\u03c4")
print(locale.getencoding(), ascii(read_yaml(folder / "a.yaml")["name"]), ascii(read_names(folder / "names")))
"""
    ascii_locale = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, env=ascii_locale, capture_output=True, text=True, check=True)
    assert done.stdout == "ANSI_X3.4-1968 '\\u03c4 \\u2013 \\xe9' frozenset({'\\u03c4'})\n"
    assert (tmp_path / "a.yaml").read_bytes().decode() == "name: τ – é"


def test_the_file_that_is_replaced_keeps_another_name_if_asked(tmp_path):
    path, before = tmp_path / "a.txt", tmp_path / "b.txt"
    for text in ("first", "second", "third"):  # there is none to keep at first
        with atomic_file(path, before=before) as temporary:
            temporary.write_text(text)
            assert not before.exists() or text == "third"
    assert (path.read_text(), before.read_text()) == ("third", "second")
    with pytest.raises(CmdTuneError), atomic_file(path, before=before):
        raise OSError("a full disk")
    assert (path.read_text(), before.read_text()) == ("third", "second")
    assert len(list(tmp_path.iterdir())) == 2


def test_two_writers_of_one_file_have_files_of_their_own(tmp_path):
    """Two machines may have processes of one id."""
    with atomic_file(tmp_path / "a.txt") as first, atomic_file(tmp_path / "a.txt") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_what_is_not_there_yet_is_no_input(tmp_path):
    (tmp_path / "here").touch()
    refuse_same_file(tmp_path / "new", tmp_path / "here")
    refuse_same_file(tmp_path / "here", tmp_path / "new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is what is read"):
        refuse_same_file(tmp_path / "here", tmp_path / "folder" / ".." / "here")
