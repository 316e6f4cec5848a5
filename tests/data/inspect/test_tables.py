"""What the two commands on data print."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.data.inspect.figure import _projected
from cmd_tune.data.inspect.tables import ingest_on_screen, inspect_on_screen
from cmd_tune.errors import DataError, UsageError


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def read(source: Path, out: Path, console: Console, kind: str = "nw-ucla", **changes: object) -> None:
    options = {"layout": None, "exclude": None, "half": False, "strict": False, **changes}
    ingest_on_screen(kind, source, out, console=console, **options)


def test_ingest_ends_in_a_summary(write_source: Callable, tmp_path: Path, console: Console, capsys) -> None:
    """The store on stdout; beside it each file that was left out, in one line however long, and how many."""
    source, _ = write_source("nw-ucla")
    (source / "a01_s09_e00_v01.json").write_text("{}")
    read(source, tmp_path / "ucla.arrow", console)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'ucla.arrow'}: 4 clips, 4 classes, 1–8 frames, kinect-20, normalised as 2s-agcn"
    assert lines[1].endswith(" MB; as an array padded to 300 frames: 0.3 MB")
    assert lines[2:] == ["xview: 3 training clips, 1 test clips (published: 1020 and 464)"]
    left_out, summary = printed(console).splitlines()
    assert left_out.startswith(f"{source}: a01_s09_e00_v01.json: not JSON with 'skeletons' and 'label'")
    assert summary == "1 file left out, named above"


def test_ingest_of_a_rig_in_yaml(write_source: Callable, tmp_path: Path, console: Console, capsys) -> None:
    source, _ = write_source("generic")
    read(source, tmp_path / "mine.arrow", console, "generic", layout=tmp_path / "rig.yaml", half=True)
    lines = capsys.readouterr().out.splitlines()
    assert "rig" in lines[0]
    assert lines[2:] == ["given: 2 training clips, 1 test clips", "other: 2 training clips, 2 test clips"]
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        read(source, tmp_path / "mine.arrow", console, "generic", layout=tmp_path / "none.yaml")


def test_strict_stops(write_source: Callable, tmp_path: Path, console: Console) -> None:
    source, _ = write_source("nw-ucla")
    (source / "a01_s09_e00_v01.json").write_text("{}")
    with pytest.raises(DataError, match=r"a01_s09_e00_v01\.json"):
        read(source, tmp_path / "ucla.arrow", console, strict=True)
    assert not (tmp_path / "ucla.arrow").exists()


def test_inspect_in_tables(tiny_store, tmp_path: Path, console: Console) -> None:
    inspect_on_screen(tiny_store.path, tmp_path / "tiny.png", console)
    rows = {row.split("  ")[0]: row.split() for row in printed(console).splitlines() if row}
    assert rows["clips"][1:3] == ["72", "of"]
    assert rows["subject"][1:4] == ["8", "9", "9"]
    assert rows["setup"][1:] == ["unknown"]
    assert rows["clips with 1 body"][-1] == "72"
    assert rows["clips missing a body"][-1] == "0"
    assert rows["xview"] == ["xview", "48", "24", "36", "12"]
    assert rows["xsub"] == ["xsub", "54", "18", "36", "18"]
    assert (tmp_path / "tiny.png").stat().st_size > 10_000


def test_inspect_of_joints_in_2_d(flat_store, tmp_path: Path, console: Console) -> None:
    inspect_on_screen(flat_store.path, tmp_path / "flat.png", console)
    rows = {row.split("  ")[0]: row.split(maxsplit=1) for row in printed(console).splitlines() if row}
    assert rows["layout"][1].strip() == "coco-17: 17 joints in 2-D, 2 bodies"
    assert (tmp_path / "flat.png").stat().st_size > 10_000


def test_an_images_y_is_down(flat_store) -> None:
    """The figure has x across and −y up; absent bodies are not drawn."""
    length = int(flat_store.length_N[0])
    x_TVCP = flat_store.rows_FX[:length].numpy().reshape(length, 17, 2, 2)
    assert np.array_equal(_projected(flat_store, 0), x_TVCP * np.array([1, -1], np.float32)[:, None])


def test_inspect_of_nothing(tmp_path: Path, console: Console) -> None:
    with pytest.raises(DataError, match="no such file"):
        inspect_on_screen(tmp_path / "none.arrow", None, console)
