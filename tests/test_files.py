"""Files appear whole or not at all."""

import re

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import whole_file


def test_it_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent  # one file system, so that renaming is one act
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_and_fail():
        with whole_file(path) as temporary:
            temporary.write_text("ha")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    path = tmp_path / "folder.txt"
    with pytest.raises(CmdTuneError, match=re.escape(f"{path}: cannot be written: ")), whole_file(path) as temporary:
        temporary.write_text("a file cannot take a folder's place")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(CmdTuneError, match=re.escape(f"{path}: cannot be written: ")), whole_file(path):
        pytest.fail("there is nowhere to write to")
