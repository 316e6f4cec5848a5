"""Pickles of others: what they hold is read, what they ask for is not run."""

import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.readers.pickles import read_pickle
from cmd_tune.errors import DataError

CONTENT = {
    "split": {"xsub_train": ["a", "b"], "xsub_val": ("c",), "others": {"d"}},
    "annotations": [{"keypoint": np.arange(12, dtype=np.float16).reshape(2, 2, 3), "label": np.int64(3), "f": 2.5}],
    "ordered": OrderedDict(x=None, y=True),
    "bytes": b"\x00\xff",
    "array": bytearray(b"ab"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_are_read(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(CONTENT, protocol))
    read = read_pickle(tmp_path / "a.pkl")
    keypoint = read["annotations"][0].pop("keypoint")
    expected = CONTENT["annotations"][0]
    assert keypoint.dtype == np.float16
    assert np.array_equal(keypoint, expected["keypoint"])
    assert read["annotations"][0] == {"label": 3, "f": 2.5}
    assert {**read, "annotations": None} == {**CONTENT, "annotations": None}


def test_names_of_numpy_1_and_2(tmp_path: Path) -> None:
    """NumPy 2 moved what its pickles name."""
    now = pickle.dumps(np.arange(3), 2)
    before = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert before != now
    for content in (now, before):
        (tmp_path / "a.pkl").write_bytes(content)
        assert read_pickle(tmp_path / "a.pkl").tolist() == [0, 1, 2]


class Evil:
    def __init__(self, function: object, *arguments: object) -> None:
        self.asked = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.asked


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (exec, ".exec"),
        (getattr, ".getattr"),
        (subprocess.run, ".run"),
        (np.load, "numpy.load"),
        (np.lib.format.read_array, "read_array"),
        (Path, "pathlib"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, function: object, named: str, protocol: int) -> None:
    target = tmp_path / "written"
    evil = Evil(function, f"open({str(target)!r}, 'w').write('x')")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([np.arange(3), evil], protocol))
    with pytest.raises(DataError) as caught:
        read_pickle(tmp_path / "a.pkl")
    assert str(caught.value).startswith(f"{tmp_path / 'a.pkl'}: asks for ")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_an_attribute_of_what_is_allowed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.")
    with pytest.raises(DataError, match=r"asks for numpy\.ndarray\.__class__"):
        read_pickle(tmp_path / "a.pkl")


class Forged:
    """Pickled as what an allowed function makes, with a state that somebody made up."""

    def __init__(self, function: object, arguments: tuple[object, ...], state: object) -> None:
        self.parts = function, arguments, state

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


RECONSTRUCT, _, STATE = np.arange(3).__reduce__()
PLAIN = (3, "|", None, None, None, -1, -1, 0)
FORGED = {
    # Eight bytes that are taken for the address of an object: reading it ends the interpreter.
    "fields of objects, that say they hold none": Forged(
        np.dtype, ("V8",), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
    ),
    "fields beyond the end": Forged(np.dtype, ("V8",), (3, "|", None, ("a",), {"a": (np.dtype("f8"), 10**6)}, 8, 1, 0)),
    "a larger item": Forged(np.dtype, ("V8",), (3, "|", None, None, None, 10**6, 1, 0)),
    "other flags": Forged(np.dtype, ("O",), PLAIN),
    "fields by name": Forged(np.dtype, ([("a", "O")],), PLAIN),
    "a negative length": Forged(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (-1,), *STATE[2:])),
    "objects as bytes": Forged(
        RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("O"), False, (12345).to_bytes(8, "little"))
    ),
    "another class": Forged(RECONSTRUCT, (np.matrix, (0,), b"b"), STATE),
    "a state of a function": Forged(OrderedDict, (), {"x": 1}),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_forged_type_or_array_is_refused(tmp_path: Path, name: str, protocol: int) -> None:
    """What NumPy itself would take, and then read or write memory that is not its own."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(FORGED[name], protocol))
    with pytest.raises(DataError, match=r"a\.pkl: asks for .*; not loaded"):
        read_pickle(tmp_path / "a.pkl")


def test_an_array_is_given_its_content_once(tmp_path: Path) -> None:
    """A second one would free the memory that others may still look at."""
    whole = pickle.dumps(np.arange(3), 2)
    assert whole.endswith(b"b.")
    content = whole[:-1]
    again = content + content[content.index(b"(K\x01K\x03") :] + b"."
    (tmp_path / "a.pkl").write_bytes(again)
    with pytest.raises(DataError, match="a state that no ndarray has"):
        read_pickle(tmp_path / "a.pkl")


def test_nothing_of_this_program_is_changed(tmp_path: Path) -> None:
    """A pickle may ask to set attributes of whatever it can name: here the defaults of a function."""
    asked = b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__)s\x86b."
    (tmp_path / "a.pkl").write_bytes(asked)
    with pytest.raises(DataError, match="a state that no function has"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("order", ["<f4", ">f4", "<i8", ">U3", "S4", "O", "?"])
def test_values_are_kept_in_every_type_and_byte_order(tmp_path: Path, order: str) -> None:
    x = np.array([1, 0, 3]).astype(order).reshape(3, 1)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": x, "item": x[0, 0]}, 2))
    read = read_pickle(tmp_path / "a.pkl")
    assert read["x"].dtype in (x.dtype, x.dtype.newbyteorder("="))  # NumPy turns the bytes of whole arrays
    assert np.array_equal(read["x"], x)
    assert read["item"] == x[0, 0]


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps(CONTENT)[:-9], pickle.dumps([1])[:-1] + b"R."])
def test_what_is_no_whole_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pkl: not a whole pickle"):
        read_pickle(tmp_path / "a.pkl")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_pickle(tmp_path / "a.pkl")
