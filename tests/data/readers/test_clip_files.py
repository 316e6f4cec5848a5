"""Folders and archives of others: what they name is read where they lie, and nowhere else."""

import os
import stat
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError

KINECT = ReadOptions(layout=LAYOUTS["kinect-20"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips and their index, with a secret array beside the folder."""
    inside = tmp_path / "source"
    inside.mkdir()
    for number in range(2):
        np.save(inside / f"{number}.npy", np.random.default_rng(number).normal(size=(6, 20, 3)))
    np.save(tmp_path / "secret.npy", np.random.default_rng(2).normal(size=(6, 20, 3)))
    (inside / "index.csv").write_text("file,label\n0.npy,0\n1.npy,1\n")
    return inside


def left_out(source: Path, out: Path) -> list[str]:
    return list(ingest("generic", source, out, options=KINECT).left_out)


@pytest.mark.parametrize("named", ["../secret.npy", "{here}/secret.npy", "x/../../secret.npy", "/etc/passwd"])
def test_an_index_names_nothing_outside_its_folder(folder: Path, tmp_path: Path, named: str) -> None:
    with (folder / "index.csv").open("a") as index:
        index.write(named.format(here=tmp_path) + ",1\n")
    with pytest.raises(DataError, match=r"line 4: '.*' is not inside the folder of the index\.csv"):
        left_out(folder, tmp_path / "store.arrow")


def test_an_archive_is_read_and_never_unpacked(folder: Path, tmp_path: Path) -> None:
    """Names that lead out of it, and a link, are entries like others: nothing is written, and no link is followed."""
    link = ZipInfo("link.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(tmp_path / "source.zip", "w") as archive:
        for file in ("0.npy", "1.npy"):
            archive.write(folder / file, file)
        for name in ("../../evil.npy", "/evil.npy", "a/../../evil.npy"):
            archive.writestr(name, b"evil")
        archive.writestr(link, str(tmp_path / "secret.npy"))
        archive.writestr("index.csv", "file,label\n0.npy,0\n1.npy,1\nlink.npy,1\n")
    before = {path for path in tmp_path.parent.rglob("*") if path.is_file()}
    (line,) = left_out(tmp_path / "source.zip", tmp_path / "store.arrow")
    assert line.startswith(f"{tmp_path / 'source.zip'}: link.npy: not a whole .npy file")
    assert {path for path in tmp_path.parent.rglob("*") if path.is_file()} - before == {tmp_path / "store.arrow"}
    assert not Path("/evil.npy").exists()


def test_links_in_a_folder_are_its_owners(folder: Path, tmp_path: Path) -> None:
    """A link to a file is followed, as data sets that are kept elsewhere have them; one to a folder is not entered."""
    (folder / "1.npy").unlink()
    (folder / "1.npy").symlink_to(tmp_path / "secret.npy")
    (folder / "round").symlink_to(folder)
    assert left_out(folder, tmp_path / "store.arrow") == []
    assert len(ClipFiles(folder, ".npy").names()) == 2


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_what_never_ends_is_no_file(folder: Path, tmp_path: Path, target: str) -> None:
    (folder / "1.npy").unlink()
    if target == "pipe":
        os.mkfifo(folder / "1.npy")
    else:
        (folder / "1.npy").symlink_to(target)
    assert left_out(folder, tmp_path / "store.arrow") == [f"{folder}: 1.npy: is no file"]
