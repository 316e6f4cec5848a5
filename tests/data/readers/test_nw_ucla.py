"""Northwestern-UCLA: files written here, each way they can be wrong, and the real ones."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.readers.nw_ucla import parse_nw_ucla
from cmd_tune.errors import DataError


def read_nw_ucla(source):
    """All clips, or the first complaint."""
    files = ClipFiles(source, ".json")
    for name in files.names():
        yield parse_nw_ucla(files.where(name), Path(name).stem, files.read(name))


def record(frames=3, label=1, seed=0):
    joints = np.random.default_rng(seed).normal(size=(frames, 20, 3)).astype(np.float32)
    return {"file_name": "…", "skeletons": joints.tolist(), "label": label}


GOOD = {
    "a12_s10_e02_v03": record(1, 10, seed=1),
    "a01_s02_e00_v01": record(4, 1, seed=2),
    "a03_s07_e04_v02": record(7, 3, seed=3),
}


def as_folder(path: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        target = path / "folder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return path / "folder"


def as_zip(path: Path, texts: dict[str, str]) -> Path:
    with zipfile.ZipFile(path / "clips.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path / "clips.zip"


@pytest.mark.parametrize("pack", [as_folder, as_zip])
def test_clips_in_the_order_of_their_names(tmp_path, pack):
    texts = {f"all_sqe/{name}.json": json.dumps(content) for name, content in GOOD.items()}
    texts["all_sqe/readme.txt"] = "not a clip"
    clips = list(read_nw_ucla(pack(tmp_path, texts)))
    assert [clip.name for clip in clips] == sorted(GOOD)
    for clip in clips:
        skeletons = np.array(GOOD[clip.name]["skeletons"], dtype=np.float32)
        assert np.array_equal(clip.joints_TVCP, skeletons[..., None])
        assert clip.joints_TVCP.dtype == np.float32
    numbers = [(clip.label, clip.subject, clip.camera, clip.setup) for clip in clips]
    assert numbers == [(0, 2, 1, 0), (2, 7, 2, 0), (9, 10, 3, 0)]


def test_the_label_is_the_records_not_the_names(tmp_path):
    """Action codes skip numbers: a12 is class 10."""
    (clip,) = read_nw_ucla(as_folder(tmp_path, {"a12_s01_e00_v01.json": json.dumps(record(label=10))}))
    assert clip.label == 9


def without(key):
    return {name: value for name, value in record().items() if name != key}


BAD = {
    "not JSON": ('{"label": 1, "skel', "JSON"),
    "not text": (b"\xff\xfe\x00bad", "JSON"),
    "a list": ("[1, 2]", "JSON"),
    "no skeletons": (json.dumps(without("skeletons")), "skeletons"),
    "no label": (json.dumps(without("label")), "label"),
    "label a word": (json.dumps(record(label="drop")), "label"),
    "label 0": (json.dumps(record(label=0)), "label 0"),
    "label 11": (json.dumps(record(label=11)), "label 11"),
    "label infinite": (json.dumps(record(label=float("inf"))), "label"),
    "no frames": (json.dumps({**record(), "skeletons": []}), "skeletons of shape"),
    "19 joints": (json.dumps({**record(), "skeletons": np.ones((3, 19, 3)).tolist()}), r"\(3, 19, 3\)"),
    "2 coordinates": (json.dumps({**record(), "skeletons": np.ones((3, 20, 2)).tolist()}), r"\(3, 20, 2\)"),
    "ragged": (json.dumps({**record(), "skeletons": [[[1.0, 2.0, 3.0]] * 20, [[1.0, 2.0, 3.0]] * 19]}), "skeletons"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named(tmp_path, case):
    text, what = BAD[case]
    source = as_folder(tmp_path, {f"{name}.json": json.dumps(content) for name, content in GOOD.items()})
    bad = source / "a02_s01_e00_v01.json"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=what) as caught:
        list(read_nw_ucla(source))
    message = str(caught.value)
    assert message.startswith(f"{source}: {bad.name}: ")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["clip7", "a01_s02_e00", "a01_s02_e00_v01_copy", "b01_s02_e00_v01"])
def test_a_name_that_says_nothing_is_named(tmp_path, name):
    source = as_folder(tmp_path, {f"{name}.json": json.dumps(record())})
    with pytest.raises(DataError, match=re.escape(f"{name}.json") + ".*aXX_sXX_eXX_vXX"):
        list(read_nw_ucla(source))


def one_line(source: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_nw_ucla(source))
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing(tmp_path):
    assert "no such file" in one_line(tmp_path / "none.zip")


def test_not_a_zip(tmp_path):
    (tmp_path / "clips.zip").write_text("hello")
    assert "zip" in one_line(tmp_path / "clips.zip")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_zip(tmp_path, share):
    path = as_zip(tmp_path, {f"{name}.json": json.dumps(content) for name, content in GOOD.items()})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "zip" in one_line(path)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_a_zip_with_damage_inside(tmp_path, where):
    """The directory at the end is whole, a member is not."""
    path = as_zip(tmp_path, {"a01_s02_e00_v01.json": json.dumps(record(frames=40))})
    content = bytearray(path.read_bytes())
    at = int(where * len(content))
    content[at : at + 8] = bytes(255 - byte for byte in content[at : at + 8])
    path.write_bytes(content)
    assert "zip" in one_line(path)


def test_the_real_clips(nw_ucla_zip):
    """The counts of the data set's own description: 1,484 clips, 10 subjects, 10 classes, 3 cameras."""
    clips = list(read_nw_ucla(nw_ucla_zip))
    lengths = [len(clip.joints_TVCP) for clip in clips]
    assert len(clips) == 1484
    assert (min(lengths), np.median(lengths), max(lengths)) == (1, 31, 201)
    assert next(clip for clip in clips if clip.name == "a02_s09_e04_v03").joints_TVCP.shape == (1, 20, 3, 1)
    assert {clip.subject for clip in clips} == set(range(1, 11))
    assert {clip.label for clip in clips} == set(range(10))
    cameras = [clip.camera for clip in clips]
    assert (cameras.count(1) + cameras.count(2), cameras.count(3)) == (1020, 464)
