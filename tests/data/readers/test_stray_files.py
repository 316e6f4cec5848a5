"""Files that are no data: by name, and that they change nothing, whatever they hold, under --strict."""

import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers.stray_files import is_data
from tests.data.conftest import WRITERS

STRAY = (
    ".DS_Store", "Thumbs.db", "a/thumbs.db", "desktop.ini", "__MACOSX/._a.json", "._a.skeleton", "x/._a.npy",
    ".git/a.json", "@eaDir/a.json", "NTU_RGBD_samples_with_missing_skeletons.txt",
    "lists/NTU_RGBD120_samples_with_missing_skeletons.txt",
)  # fmt: skip
DATA = ("a.json", "a/b.skeleton", "my.clip.npy", "_a.npy", "missing.json", "MACOSX/a.json", "a.json.d/b.json")


def test_names() -> None:
    assert [name for name in STRAY if is_data(name)] == []
    assert [name for name in DATA if not is_data(name)] == []


def litter(folder: Path) -> None:
    """Beside each file its ._NAME, in __MACOSX and in a hidden folder another; and what systems leave."""
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        inside = file.relative_to(folder)
        for stray in (file.with_name(f"._{file.name}"), folder / "__MACOSX" / inside, folder / ".old" / inside):
            stray.parent.mkdir(parents=True, exist_ok=True)
            stray.write_bytes(b"\0\5\x16\7 Mac OS X")
    for name in (".DS_Store", "Thumbs.db", "NTU_RGBD_samples_with_missing_skeletons.txt"):
        (folder / name).write_bytes(b"S001C002P005R002A008\n")


@pytest.mark.parametrize("kind", WRITERS)
def test_they_change_nothing(write_source: Callable, tmp_path: Path, kind: str) -> None:
    """In a folder, in a zip file, and in an .npz that was packed by hand."""
    source, options = write_source(kind)
    name = kind.split()[0]
    before = ingest(name, source, tmp_path / "before.arrow", options=options, strict=True).store
    sources = [source]
    if source.is_dir():
        litter(source)
        if name not in ("npy", "pyskl"):
            sources.append(Path(shutil.make_archive(str(tmp_path / "source"), "zip", source)))
    elif source.suffix == ".npz":
        with ZipFile(source, "a") as archive:
            archive.writestr("__MACOSX/._joints.npy", b"\0\5\x16\7 Mac OS X")
    for littered in sources:
        after = ingest(name, littered, tmp_path / "after.arrow", options=options, strict=True)
        assert after.left_out == ()
        assert (tmp_path / "after.arrow").read_bytes() == (tmp_path / "before.arrow").read_bytes()
        assert after.store.names == before.names
