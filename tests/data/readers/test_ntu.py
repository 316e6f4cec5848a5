"""NTU RGB+D: the authors' reading of six files, files written here, and each way they can be wrong."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.readers.ntu import parse_ntu
from cmd_tune.errors import DataError

STEM = "S001C002P003R002A050"
parse = partial(parse_ntu, 120)


def write(frames: list[list[np.ndarray]], joints: int = 25) -> bytes:
    """A file in NTU's form: frames of bodies (V, 3)."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for number, x_VC in enumerate(bodies):
            lines += [f"7205759403793{number} 0 1 1 1 1 0 0.32 -0.15 2", str(joints)]
            lines += [f"{x:.7f} {y:.7f} {z:.7f} 295.0 333.7 837.8 954.0 0.48 0.53 -0.87 -0.72 2" for x, y, z in x_VC]
    return ("\n".join(lines) + "\n").encode()


def body(seed: int, spread: float = 1.0) -> np.ndarray:
    return np.round(spread * np.random.default_rng(seed).normal(size=(25, 3)), 7)


def test_the_six_reference_files(golden: Path) -> None:
    """One body; two; three; first frames empty; a body lost and found; last frames empty."""
    with np.load(golden / "ntu_reference.npz") as file:
        arrays = {name: file[name].transpose(1, 2, 0, 3) for name in file.files}
    paths = sorted((golden / "ntu_skeleton").iterdir())
    assert len(paths) == 6
    for path in paths:
        clip = parse(str(path), path.stem, path.read_bytes())
        assert np.array_equal(clip.joints_TVCP, arrays[f"{path.stem}/joints"]), path.stem
        ours = align_first_frame(clip.joints_TVCP, LAYOUTS["ntu-25"])
        theirs = arrays[f"{path.stem}/normalised_first_frames"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6, err_msg=path.stem)


def test_what_the_name_says() -> None:
    clip = parse("here", STEM, write([[body(0)]]))
    assert (clip.name, clip.setup, clip.camera, clip.subject, clip.label) == (STEM, 1, 2, 3, 49)


def test_the_two_of_largest_motion_are_kept_the_larger_first() -> None:
    """Bodies of spread 1, 3, 0.5 and 2, and a fifth that is never read."""
    spreads = (1.0, 3.0, 0.5, 2.0, 9.0)
    bodies = [body(seed, spread) for seed, spread in enumerate(spreads)]
    clip = parse("here", STEM, write([bodies, bodies]))
    assert np.array_equal(clip.joints_TVCP[0, ..., 0], bodies[1].astype(np.float32))
    assert np.array_equal(clip.joints_TVCP[1, ..., 1], bodies[3].astype(np.float32))


def test_a_body_that_comes_and_goes_stays_in_its_place() -> None:
    first, second = body(0), body(1, 0.1)
    clip = parse("here", STEM, write([[first, second], [], [first], [first, second]]))
    assert clip.joints_TVCP[..., 0].any((1, 2)).tolist() == [True, False, True, True]
    assert clip.joints_TVCP[..., 1].any((1, 2)).tolist() == [True, False, False, True]


GOOD = write([[body(0)], [body(1)]])
BAD = {
    "empty": (b"", "an empty file"),
    "blank": (b" \n", "an empty file"),
    "binary": (b"\xff\xfe\x00\x01", "not a text of numbers"),
    "a word among numbers": (GOOD.replace(b"295.0", b"left", 1), "not a text of numbers"),
    "no frames": (b"0\n", "no frames"),
    "more frames than said": (GOOD.replace(b"2", b"1", 1), "goes on after its 1 frames"),
    "fewer frames than said": (GOOD.replace(b"2", b"3", 1), "ends in frame 3 of 3"),
    "frames a fraction": (GOOD.replace(b"2", b"2.5", 1), "2.5 for its number of frames"),
    "frames negative": (GOOD.replace(b"2", b"-2", 1), "-2 for its number of frames"),
    "frames beyond counting": (GOOD.replace(b"2", b"99999999999", 1), "number of frames"),
    "20 joints": (write([[body(0)[:20]]], joints=20), "frame 1 has a body of 20 joints, expected 25"),
    "no bodies": (write([[], []]), "no body in any of its 2 frames"),
    "NaN": (GOOD.replace(b"295.0", b"0.0", 1).replace(b"%.7f" % body(0)[0, 0], b"nan", 1), "not finite"),
    "out of this world": (GOOD.replace(b"%.7f" % body(0)[0, 0], b"1e300", 1), "beyond 10000 metres"),
    "infinity": (GOOD.replace(b"%.7f" % body(0)[0, 0], b"inf", 1), "not finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named(case: str) -> None:
    text, what = BAD[case]
    with pytest.raises(DataError) as caught:
        parse("folder: clip.skeleton", STEM, text)
    assert str(caught.value).startswith("folder: clip.skeleton: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stem", ["clip", STEM[:-1], STEM + "x", "s001c002p003r002a050"])
def test_a_name_that_breaks_the_scheme(stem: str) -> None:
    with pytest.raises(DataError, match="SsssCcccPpppRrrrAaaa"):
        parse("here", stem, GOOD)


def test_labels_out_of_range() -> None:
    with pytest.raises(DataError, match="action 0 is not in 1–120"):
        parse("here", "S001C002P003R002A000", GOOD)
    with pytest.raises(DataError, match="action 61 is not in 1–60"):
        parse_ntu(60, "here", "S001C002P003R002A061", GOOD)
    assert parse("here", "S001C002P003R002A061", GOOD).label == 60


def read_or_complaint(text: bytes) -> Clip | str:
    try:
        return parse("here", STEM, text)
    except DataError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_named(data: st.DataObject) -> None:
    """Bytes cut off, changed or put in: a clip of the right shape, or one line."""
    text = bytearray(GOOD)
    at = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["cut", "change", "insert"]))
    if kind == "cut":
        del text[at:]
    else:
        text[at : at + (kind == "change")] = data.draw(st.binary(min_size=1, max_size=4))
    clip = read_or_complaint(bytes(text))
    if isinstance(clip, str):
        assert clip.startswith("here: ")
        assert "\n" not in clip
    else:
        assert clip.joints_TVCP.shape[1:] == (25, 3, 2)
        assert np.isfinite(clip.joints_TVCP).all()
