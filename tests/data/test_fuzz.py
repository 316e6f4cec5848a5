"""Damaged sources in every format, and damaged stores: one line that names the file, or a store that is whole.

Examples are derived from the tests' own text, so that every run sees the same ones.
"""

import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.mutations import damaged
from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.inspect.statistics import presence, protocol_counts
from cmd_tune.data.layouts import LAYOUTS, layout_from
from cmd_tune.data.readers.ntu import parse_ntu
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.store import open_store, write_store
from cmd_tune.errors import CmdTuneError, DataError

FORMATS = ["ntu-60", "nw-ucla", "nw-ucla-text", "pku-mmd-1", "pku-mmd-2", "npy", "ctr-gcn", "pyskl", "pyskl lists"]
FORMATS += ["pyskl 2-D", "kinetics-skeleton", "mediapipe", "mediapipe-world", "bvh"]
FORMATS += ["generic", "generic parquet", "generic folder", "generic 2-D"]
ROUNDS = 40
LAYOUT_KEYS = ["name", "joints", "parents", "landmarks", "coordinates", "a", "base"]
REPEATABLE = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def ingested_or_named(kind: str, path: Path, options: ReadOptions, out: Path) -> list[str]:
    """Lines about what is wrong, each naming the source; beside them a store of finite numbers, or none at all."""
    lines: list[str] = []
    try:
        done = ingest(kind.split()[0], path, out, options=options)
    except CmdTuneError as error:
        lines.append(str(error))
        assert not out.exists()
    else:
        lines += done.left_out
        assert np.isfinite(done.store.rows_FX.float().numpy()).all()
        out.unlink()
    assert [line for line in lines if "\n" in line or str(path.parent) not in line] == []
    assert [line for line in lines if "the reader failed with" in line] == []  # a mistake of ours
    return lines


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_source_is_read_or_named(kind: str, write_source: Callable[..., tuple[Path, ReadOptions]]) -> None:
    path, options = write_source(kind)
    out = path.parent / "store.arrow"
    inside = path.rglob("*") if path.is_dir() else [path]
    files = sorted(file for file in inside if file.is_file() and file.stat().st_size)
    if path.is_file():
        out = path.parent.parent / "store.arrow"
    assert ingested_or_named(kind, path, options, out) == []
    rng = random.Random(kind)  # noqa: S311
    seen: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            file = rng.choice(files)
            before = file.read_bytes()
            file.write_bytes(damaged(before, rng))
            seen.update(ingested_or_named(kind, path, options, out))
            file.write_bytes(before)
    assert len(seen) > 5
    assert not [left for left in out.parent.iterdir() if left.name.startswith(".")]


def test_damaged_reference_files_are_read_or_named(golden: Path) -> None:
    """Each of the six, in every way."""
    rng = random.Random("golden")  # noqa: S311
    for path in sorted((golden / "ntu_skeleton").iterdir()):
        content = path.read_bytes()
        for _ in range(15):
            clip = parsed_or_named(path, damaged(content, rng))
            if isinstance(clip, str):
                assert clip.startswith(f"here: {path.name}: ")
                assert "\n" not in clip
            else:
                assert clip.joints_TVCP.shape[1:] == (25, 3, 2)
                assert np.isfinite(clip.joints_TVCP).all()


def parsed_or_named(path: Path, text: bytes) -> Clip | str:
    try:
        return parse_ntu(120, f"here: {path.name}", path.stem, text)
    except DataError as error:
        return str(error)


@pytest.fixture
def whole_store(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    clips = [
        Clip(f"clip {n}", rng.normal(size=(3 + n, 20, 3, 1)), n % 2, 1 + n, 1 + n % 3, parts={"xsub": 1 + n % 2})
        for n in range(6)
    ]
    write_store(tmp_path / "whole.arrow", clips, dataset="synthetic", layout=LAYOUTS["kinect-20"], normalization="none")
    return tmp_path / "whole.arrow"


def opened_or_named(path: Path) -> str:
    """Whatever opens can be used from one end to the other; else the line that says why not."""
    line = "opened"
    try:
        store = open_store(path)
        protocol_counts(store)
        presence(store)
    except CmdTuneError as error:
        line = str(error)
    else:
        assert int(store.length_N.sum()) == len(store.rows_FX)
        assert store.width == int(np.prod(store.frame_shape()))
        assert len(store.names) == len(store.label_N) == len(store.start_N)
    assert line == "opened" or line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def test_every_truncation_of_a_store_is_named(whole_store: Path) -> None:
    content = whole_store.read_bytes()
    for length in [*range(0, len(content), 97), *range(len(content) - 40, len(content))]:
        whole_store.write_bytes(content[:length])
        assert "not a whole Arrow file" in opened_or_named(whole_store)


def test_flipped_bits_of_a_store_are_opened_or_named(whole_store: Path) -> None:
    """Half of them in the metadata at both ends, where they hurt."""
    content = whole_store.read_bytes()
    rng = random.Random("store")  # noqa: S311
    seen: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for round_ in range(400):
            changed = bytearray(content)
            span = (0, len(content)) if round_ % 2 else rng.choice([(0, 3000), (len(content) - 3500, len(content))])
            for _ in range(rng.choice([1, 1, 3])):
                changed[rng.randrange(*span)] ^= 1 << rng.randrange(8)
            whole_store.write_bytes(changed)
            seen.add(opened_or_named(whole_store))
    assert "opened" in seen
    assert len(seen) > 20


@REPEATABLE
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["name", "a"]), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(LAYOUT_KEYS), inner, max_size=4)
)))  # fmt: skip
def test_a_layout_of_anything_is_made_or_named(content: object) -> None:
    with suppress(ValueError):
        layout_from(content)


@REPEATABLE
@given(
    lengths=st.lists(st.integers(-2, 6), max_size=4),
    labels=st.lists(st.integers(-(2**40), 2**40), max_size=4),
    frames=st.integers(0, 12),
    joints=st.integers(3, 6),
    bodies=st.integers(0, 3),
    value=st.sampled_from([1.0, 0.0, np.nan, np.inf, 1e7]),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, np.int8, np.complex64, np.bool_, np.str_]),
)
def test_generic_arrays_of_any_numbers_are_read_or_named(
    tmp_path: Path, lengths: list, labels: list, frames: int, joints: int, bodies: int, value: float, dtype: type
) -> None:
    rig = layout_from(
        {
            "name": "rig",
            "joints": ["a", "b", "c", "d", "e"],
            "parents": dict.fromkeys("bcde", "a"),
            "landmarks": {"base": "a", "centre": "b", "left_shoulder": "c", "right_shoulder": "d"},
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.full((frames, joints, 3, bodies), value).astype(dtype)
    folder = tmp_path / "made"
    folder.mkdir(exist_ok=True)
    np.savez(folder / "made.npz", joints=x, lengths=np.array(lengths, int), label=np.array(labels, int))
    ingested_or_named("generic", folder / "made.npz", ReadOptions(layout=rig), tmp_path / "store.arrow")
