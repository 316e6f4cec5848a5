"""What the two commands on data print."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.inspect.posture import posture
from cmd_tune.data.inspect.sticks import project
from cmd_tune.data.inspect.tables import describe, ingest_on_screen, inspect_on_screen
from cmd_tune.data.store import Store
from cmd_tune.errors import DataError, UsageError


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def read(source: Path, out: Path, console: Console, kind: str = "nw-ucla", **changes: object) -> None:
    options = {"layout": None, "exclude": None, "normalization": None, "half": False, "strict": False, **changes}
    ingest_on_screen(kind, source, out, console=console, **options)


def test_ingest_ends_in_a_summary(write_source: Callable, tmp_path: Path, console: Console, capsys) -> None:
    """The store on stdout; beside it each file that was left out, in one line however long, and how many."""
    source, _ = write_source("nw-ucla")
    (source / "a01_s09_e00_v01.json").write_text("{}")
    read(source, tmp_path / "ucla.arrow", console)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'ucla.arrow'}: 4 clips, 4 classes, 1–8 frames, kinect-20, normalised as upright"
    assert lines[1].endswith(" MB; as an array padded to 300 frames: 0.3 MB")
    assert lines[2:] == ["xview: 3 training clips, 1 test clips (published: 1020 and 464)"]
    family, left_out, summary = printed(console).splitlines()
    assert family.startswith("normalised as upright, the default of nw-ucla; --normalise takes 2s-agcn, ")
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


def test_inspect_counts_what_was_filled_in(write_source: Callable, tmp_path: Path, console: Console) -> None:
    """A hand is lost in two frames of eight, a foot in one."""
    source, _ = write_source("nw-ucla")
    clip = source / "a01_s03_e00_v03.json"
    record = json.loads(clip.read_text())
    record["skeletons"][2][7] = record["skeletons"][3][7] = [0, 0, 0]
    record["skeletons"][5][15] = [1, float("nan"), 2]
    clip.write_text(json.dumps(record))
    ingest("nw-ucla", source, tmp_path / "ucla.arrow")
    inspect_on_screen(tmp_path / "ucla.arrow", None, console)
    rows = {row.split("  ")[0]: row for row in printed(console).splitlines() if row}
    assert " ".join(rows["joints filled in"].split()) == "joints filled in 3: left_hand 2, left_foot 1"
    assert rows["normalisation"].split() == ["normalisation", "upright"]
    assert rows["posture"].rstrip().endswith(" % stand on their heads")


def test_options_of_a_source_are_refused_for_a_store(tiny_store, console: Console) -> None:
    with pytest.raises(UsageError, match=r"^--protocol: applies to a source, with --format; leave it out$"):
        inspect_on_screen(tiny_store.path, None, console, of_sources={"--layout": None, "--protocol": "xview"})


def test_inspect_of_joints_in_2_d(flat_store, tmp_path: Path, console: Console) -> None:
    inspect_on_screen(flat_store.path, tmp_path / "flat.png", console)
    rows = {row.split("  ")[0]: row.split(maxsplit=1) for row in printed(console).splitlines() if row}
    assert rows["layout"][1].strip() == "coco-17: 17 joints in 2-D, 2 bodies"
    assert (tmp_path / "flat.png").stat().st_size > 10_000


def test_an_images_y_is_down(flat_store) -> None:
    """The figure has x across and −y up; absent bodies are not drawn."""
    stands = posture(flat_store)
    assert (stands.axis, stands.sign) == (1, -1)
    x_TVCP = flat_store.clip_joints(0)
    assert np.array_equal(project(x_TVCP, stands.axis, stands.sign), x_TVCP * np.array([1, -1], np.float32)[:, None])


def test_inspect_of_nothing(tmp_path: Path, console: Console) -> None:
    with pytest.raises(DataError, match="no such file"):
        inspect_on_screen(tmp_path / "none.arrow", None, console)


def test_what_ingest_says(nw_ucla_store: Store) -> None:
    """The padded array of the field: 1,484 × 3 × 300 × 20 × 1 numbers of four bytes."""
    lines = describe(nw_ucla_store, Path("ucla.arrow"))
    assert lines[0] == "ucla.arrow: 1484 clips, 10 classes, 1–201 frames, kinect-20, normalised as 2s-agcn"
    assert lines[1].endswith("; as an array padded to 300 frames: 106.8 MB")
    assert lines[2:] == ["xview: 1020 training clips, 464 test clips, as published"]
