"""A reader that raises what it should not: which clip it costs, what is said, and what is not hidden."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.ingest.parallel_reading import read_all
from cmd_tune.data.ingest.reader_failures import open_guarded
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.clip_files import open_clip_files
from cmd_tune.data.readers.source import ReadOptions, Source
from cmd_tune.errors import DataError

LAYOUT = LAYOUTS["kinect-20"]
NAMES = ["a", "b", "c", "d", "e"]


def parse(where: str, name: str, content: bytes) -> Clip:
    """A clip, but of files named b and d."""
    if name in ("b", "d"):
        raise TypeError("not a number")
    joints_TVCP = np.random.default_rng(ord(name)).normal(size=(4, 20, 3, 1)).astype(np.float32)
    return Clip(name, joints_TVCP, ord(name) - ord("a"), where=where)


FAILURE = "the reader failed with TypeError: not a number"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for name in NAMES:
        (tmp_path / "clips" / f"{name}.rig").write_bytes(b"...")
    return tmp_path / "clips"


open_rig = partial(open_clip_files, "rig", LAYOUT, 1, ".rig", parse)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_a_reader_fails_at_is_left_out_and_named(folder: Path, processes: int) -> None:
    """The other files of its batch are read."""
    source = open_guarded(open_rig, folder, ReadOptions())
    ((units, read),) = read_all(source, "2s-agcn", folder, 0, processes)
    assert units == 5
    assert [one if isinstance(one, str) else one.name for one in read] == [
        "a", f"{folder}: b.rig: {FAILURE}", "c", f"{folder}: d.rig: {FAILURE}", "e",
    ]  # fmt: skip


def test_ingest_says_so_and_stores_the_rest(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "rig", open_rig)  # type: ignore[arg-type]
    done = ingest("rig", folder, tmp_path / "out.arrow")
    assert done.store.names == ["a", "c", "e"]
    assert done.left_out == tuple(f"{folder}: {name}.rig: {FAILURE}" for name in "bd")
    with pytest.raises(DataError, match=r"b\.rig: the reader failed with TypeError"):
        ingest("rig", folder, tmp_path / "strict.arrow", strict=True)


@pytest.mark.parametrize("unit", ["a.rig", ("a.rig", "its labels"), SimpleNamespace(file="a.rig", name="a")])
def test_a_unit_is_named_by_its_file(unit: Any, folder: Path) -> None:
    source = open_guarded(failing(TypeError("not a number"), "reads"), folder, ReadOptions())
    assert source.read([unit]) == [f"{folder}: a.rig: {FAILURE}"]


def test_a_unit_that_is_a_clip_is_named_without_its_coordinates(folder: Path) -> None:
    source = open_guarded(failing(TypeError("not a number"), "reads"), folder, ReadOptions())
    assert source.read([parse(f"{folder}: a", "a", b"")]) == [f"{folder}: a: {FAILURE}"]


def failing(error: BaseException, when: str) -> Callable[[Path, ReadOptions], Source]:
    def fail(*_: object) -> Any:
        raise error

    def batches() -> Any:
        yield ["a.rig"]
        fail()

    def opened(path: Path, options: ReadOptions) -> Source:
        changes = {"opens": {}, "iterates": {"batches": batches()}, "reads": {"read": fail}}[when]
        return fail() if when == "opens" else replace(open_rig(path, options), **changes)

    return opened


@pytest.mark.parametrize("when", ["opens", "iterates"])
def test_a_failure_outside_of_files_ends_the_ingest_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setitem(READERS, "rig", failing(KeyError("two\nlines"), when))  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        ingest("rig", folder, tmp_path / "out" / "out.arrow")
    assert str(caught.value) == rf"{folder}: the reader failed with KeyError: 'two\nlines'"
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("when", ["opens", "iterates", "reads"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), DataError("here: ours")])
def test_what_is_no_mistake_of_the_reader_is_passed_on(folder: Path, error: BaseException, when: str) -> None:
    with pytest.raises(type(error)) as caught:
        list(read_all(open_guarded(failing(error, when), folder, ReadOptions()), "2s-agcn", folder, 0, 1))
    assert caught.value is error
