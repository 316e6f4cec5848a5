"""From a folder or zip of raw files to a store: what is left out is named, what is wrong costs nothing else."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest, read_names
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.readers import clip_files
from cmd_tune.data.readers.ntu import parse_ntu
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import describe_counts, split_store
from cmd_tune.data.store import open_store, write_store
from cmd_tune.errors import DataError, UsageError


@pytest.fixture
def skeletons(golden: Path, tmp_path: Path) -> Path:
    """The six reference files, in folders as NTU hands them out."""
    for path in (golden / "ntu_skeleton").iterdir():
        (tmp_path / "ntu" / path.stem[:4]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "ntu" / path.stem[:4] / path.name).write_bytes(path.read_bytes())
    return tmp_path / "ntu"


def test_every_clip_is_read_normalised_and_labelled(skeletons: Path, tmp_path: Path) -> None:
    done = ingest("ntu-120", skeletons, tmp_path / "ntu.arrow")
    store = done.store
    assert done.left_out == ()
    assert store.names == sorted(path.stem for path in skeletons.rglob("*.skeleton"))
    assert store.dataset == "ntu-120"
    assert store.setup_N.tolist() == [1, 1, 2, 5, 17, 18]
    assert store.label_N.tolist() == [0, 49, 54, 9, 59, 119]
    for n, name in enumerate(store.names):
        path = next(skeletons.rglob(f"{name}.skeleton"))
        clip = parse_ntu(120, "here", name, path.read_bytes())
        rows = store.rows_FX[store.start_N[n] : store.start_N[n] + store.length_N[n]]
        assert np.array_equal(rows.view(-1, 25, 3, 2), align_first_frame(clip.joints_TVCP, store.layout))


def test_a_zip_and_more_processes_give_the_same_store(
    skeletons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "ntu.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in skeletons.rglob("*.skeleton"):
            archive.write(path, path.name)
    ingest("ntu-120", skeletons, tmp_path / "folder.arrow")
    monkeypatch.setattr(clip_files, "BATCH", 2)
    seen: list[tuple[int, int]] = []
    zipped = tmp_path / "ntu.zip"
    ingest("ntu-120", zipped, tmp_path / "zip.arrow", processes=2, progress=lambda *at: seen.append(at))
    assert (tmp_path / "folder.arrow").read_bytes() == (tmp_path / "zip.arrow").read_bytes()
    assert seen == [(0, 6), (2, 6), (4, 6), (6, 6)]


def test_a_reading_process_does_not_import_pytorch() -> None:
    code = "import sys, cmd_tune.data.ingest.parallel_reading; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def spoil(skeletons: Path) -> dict[str, str]:
    """Three bad files beside the good ones: where → what."""
    bad = {"S003C001P001R001A001": b"", "S003C001P001R001A002": b"1\n0\n", "S003C001P001R001A003": b"\xff\xfe"}
    for stem, content in bad.items():
        (skeletons / f"{stem}.skeleton").write_bytes(content)
    other = next(skeletons.rglob("S018*.skeleton"))
    (skeletons / "again").mkdir()
    (skeletons / "again" / other.name).write_bytes(other.read_bytes())
    return {
        "S003C001P001R001A001.skeleton": "an empty file",
        "S003C001P001R001A002.skeleton": "no body in any of its 1 frames",
        "S003C001P001R001A003.skeleton": "not a text of numbers",
        f"{other.name}": "another clip has the same name",
    }


def test_bad_files_are_left_out_and_named(skeletons: Path, tmp_path: Path) -> None:
    expected = spoil(skeletons)
    done = ingest("ntu-120", skeletons, tmp_path / "ntu.arrow")
    assert len(done.store) == 6
    assert len(done.left_out) == 4
    for line, (name, what) in zip(done.left_out, expected.items(), strict=True):
        assert line.startswith(f"{skeletons}: ")
        assert f"{name}: " in line
        assert line.endswith(what)


def test_strict_stops_at_the_first_and_writes_nothing(skeletons: Path, tmp_path: Path) -> None:
    spoil(skeletons)
    with pytest.raises(DataError, match=r"S003C001P001R001A001\.skeleton: an empty file"):
        ingest("ntu-120", skeletons, tmp_path / "out" / "ntu.arrow", strict=True)
    assert not list((tmp_path / "out").iterdir())


def test_nothing_usable(skeletons: Path, tmp_path: Path) -> None:
    for path in skeletons.rglob("*.skeleton"):
        path.write_text("")
    with pytest.raises(DataError, match=r"ntu: none of 6 files can be used; the first: .*an empty file"):
        ingest("ntu-120", skeletons, tmp_path / "ntu.arrow")
    with pytest.raises(DataError, match=r"holds no \.json files"):
        ingest("nw-ucla", skeletons, tmp_path / "ntu.arrow")
    with pytest.raises(
        UsageError, match=r"unknown format 'ntu'.*ntu-60.*'generic', whose forms 'ingest --help' names$"
    ):
        ingest("ntu", skeletons, tmp_path / "ntu.arrow")


def test_the_official_list_of_names_is_left_out(skeletons: Path, tmp_path: Path) -> None:
    """Headings above the names, as in NTU_RGBD_samples_with_missing_skeletons.txt; a suffix does no harm."""
    names = tmp_path / "missing.txt"
    names.write_text("Samples with missing skeletons:\n\nS001C001P001R001A001\nS018C002P045R001A120.skeleton\n")
    done = ingest("ntu-120", skeletons, tmp_path / "ntu.arrow", options=ReadOptions(read_names(names)))
    assert len(done.store) == 4
    assert done.left_out == ()
    with pytest.raises(UsageError, match=r"gone\.txt: cannot be read"):
        read_names(tmp_path / "gone.txt")


def test_the_protocols_of_ntu(make_ntu_store) -> None:
    """Training subjects, cameras and setups as published: 20 of 40, 53 of 106, cameras 2 and 3, even setups."""
    sixty, more = make_ntu_store("ntu-60", 40), make_ntu_store("ntu-120", 106)
    _, split = split_store(sixty, "xsub")
    assert len(set(sixty.subject_N[split.test[0].gallery_N])) == 20
    _, split = split_store(sixty, "xview")
    assert set(sixty.camera_N[split.test[0].gallery_N]) == {2, 3}
    _, split = split_store(more, "xsub")
    assert len(set(more.subject_N[split.test[0].gallery_N])) == 53
    assert {103, 45} <= set(more.subject_N[split.test[0].gallery_N])
    _, split = split_store(more, "xsetup")
    assert set(more.setup_N[split.test[0].query_N] % 2) == {1}
    held = set(more.setup_N[split.validation[0].query_N])
    assert len(held) == 4
    assert not held & set(more.setup_N[split.pretrain_N])
    assert {setup % 2 for setup in held} == {0}


@pytest.fixture
def make_ntu_store(tmp_path: Path):
    """Every subject seen by every camera, one frame each; setups 1 to 32 in turn."""

    def make(dataset: str, subjects: int):
        clips = [
            Clip(f"{s}-{c}", np.ones((1, 25, 3, 2), np.float32), label=s % 3, subject=s, camera=c, setup=1 + s % 32)
            for s in range(1, subjects + 1)
            for c in (1, 2, 3)
        ]
        path = tmp_path / f"{dataset}.arrow"
        write_store(path, clips, dataset=dataset, layout=LAYOUTS["ntu-25"], normalization="none")
        return open_store(path)

    return make


def test_ucla_still_names_its_clips(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for stem in ("a01_s01_e00_v01", "a02_s02_e00_v02"):
        record = {"skeletons": rng.normal(size=(4, 20, 3)).tolist(), "label": 1}
        (tmp_path / f"{stem}.json").write_text(json.dumps(record))
    done = ingest("nw-ucla", tmp_path, tmp_path / "ucla.arrow")
    assert done.store.names == ["a01_s01_e00_v01", "a02_s02_e00_v02"]


def test_counts_stand_beside_the_published_ones(nw_ucla_store, make_ntu_store) -> None:
    assert describe_counts(nw_ucla_store, "xview") == "xview: 1020 training clips, 464 test clips, as published"
    few = make_ntu_store("ntu-60", 40)
    assert describe_counts(few, "xsub") == "xsub: 60 training clips, 60 test clips (published: 40091 and 16487)"
    assert describe_counts(make_ntu_store("ntu-120", 106), "xsub") == "xsub: 159 training clips, 159 test clips"
    one_subject = make_ntu_store("ntu-60", 1)
    assert "protocol xsub leaves no clips to test" in describe_counts(one_subject, "xsub")


def test_half_precision_holds_whatever_is_let_through(tmp_path: Path) -> None:
    """Float16 ends at 65,504: of joints just short of 10 km, opposite each other, none becomes infinite."""
    x = np.full((1, 20, 3), 9_999.0)
    x[0, 1] = -x[0, 0]
    for stem, far in (("a01_s01_e00_v01", 1.0), ("a02_s02_e00_v02", 1.1)):
        (tmp_path / f"{stem}.json").write_text(json.dumps({"skeletons": (far * x).tolist(), "label": 1}))
    done = ingest("nw-ucla", tmp_path, tmp_path / "ucla.arrow", dtype="float16", normalization="2s-agcn")
    assert done.store.names == ["a01_s01_e00_v01"]
    assert np.isfinite(done.store.rows_FX.numpy()).all()
    assert done.left_out[0].endswith("a02_s02_e00_v02.json: coordinates that are not finite, or beyond 10000 metres")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("generic", "two"), ("generic parquet", "two"), ("ctr-gcn", "train-000001"), ("pyskl", "S001C002P002R001A002")],
)
def test_names_inside_one_file_are_left_out_and_not_counted(write_source, tmp_path: Path, kind: str, name: str) -> None:
    """Four clips without one: the bar ends at three of three."""
    path, options = write_source(kind)
    seen: list[tuple[int, int]] = []
    options = replace(options, exclude=frozenset([name]))
    done = ingest(kind.split()[0], path, tmp_path / "a.arrow", options=options, progress=lambda *at: seen.append(at))
    assert seen == [(0, 3), (3, 3)]
    assert name not in done.store.names
    assert done.left_out == ()


def test_joints_that_a_format_has_of_its_own_are_not_given(skeletons: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--layout: ntu-60 has joints of its own, ntu-25; leave it out"):
        ingest("ntu-60", skeletons, tmp_path / "out.arrow", options=ReadOptions(layout=LAYOUTS["kinect-20"]))
    assert not (tmp_path / "out.arrow").exists()
