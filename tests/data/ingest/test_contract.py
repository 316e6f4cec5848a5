"""The family of a store: the reader's default, what was asked for, what a source that is normalised allows."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import Ingested, ingest
from cmd_tune.data.ingest.missing_joints import fill_missing
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.store import Store, open_store
from cmd_tune.errors import DataError, UsageError
from tests.data.conftest import WRITERS

DEFAULTS = {
    "ntu-60": "2s-agcn",
    "pku-mmd-1": "2s-agcn",
    "pku-mmd-2": "2s-agcn",
    "nw-ucla": "upright",
    "nw-ucla-text": "upright",
    "npy": "2s-agcn",
    "ctr-gcn": "ctr-gcn",
    "pyskl": "2s-agcn",
    "bvh": "upright",
    "generic": "upright",
    "generic parquet": "upright",
    "generic folder": "upright",
}


@pytest.fixture
def read(write_source: Callable, tmp_path: Path) -> Callable[..., Ingested]:
    def read(kind: str, family: str | None = None) -> Ingested:
        source, options = write_source(kind)
        return ingest(kind.split()[0], source, tmp_path / "a.arrow", options=options, normalization=family)

    return read


def frames(store: Store) -> np.ndarray:
    return store.rows_FX.numpy().reshape(-1, *store.frame_shape())


@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_reader_has_a_default_and_says_it(read: Callable[..., Ingested], kind: str) -> None:
    done = read(kind)
    family, name = DEFAULTS[kind], kind.split()[0]
    assert done.store.normalization == family
    why = "as its files are" if name in ("npy", "ctr-gcn") else f"the default of {name}"
    assert done.normalized.startswith(f"normalised as {family}, {why}")
    others = {"npy": [], "ctr-gcn": ["2s-agcn", "upright", "torso", "centred"]}.get(name, list(NORMALIZATIONS))
    for other in NORMALIZATIONS:
        assert (other in done.normalized.partition(";")[2]) is (other in others and other != family)


@pytest.mark.parametrize("family", NORMALIZATIONS)
def test_a_family_that_is_asked_for(read: Callable[..., Ingested], family: str) -> None:
    done = read("nw-ucla", family)
    raw = frames(read("nw-ucla", "none").store)
    store = read("nw-ucla", family).store
    assert done.normalized == ""
    assert store.normalization == family
    for start, length in zip(store.start_N.tolist(), store.length_N.tolist(), strict=True):
        clip = slice(start, start + length)
        ours = NORMALIZATIONS[family].function(fill_missing(raw[clip], store.layout)[0], store.layout)
        assert np.array_equal(frames(store)[clip], ours)


def test_a_source_that_is_shifted_allows_what_takes_a_shift_out(read: Callable[..., Ingested]) -> None:
    held = frames(read("ctr-gcn").store)
    store = read("ctr-gcn", "centred").store
    assert store.missing_V is None
    np.testing.assert_allclose(frames(store), held - held[:, 1:2, :, :1], atol=1e-5)
    with pytest.raises(
        UsageError,
        match=r"^--normalise none: the clips of ctr-gcn are normalised as ctr-gcn, which allows 2s-agcn or upright or "
        r"torso or centred or ctr-gcn$",
    ):
        read("ctr-gcn", "none")


def test_arrays_that_are_turned_allow_nothing_else(read: Callable[..., Ingested]) -> None:
    assert np.array_equal(frames(read("npy", "2s-agcn").store), frames(read("npy").store))
    with pytest.raises(UsageError, match=r"^--normalise upright: .* normalised as 2s-agcn, which allows 2s-agcn$"):
        read("npy", "upright")


def test_a_wrong_word_is_one_line_with_the_nearest(read: Callable[..., Ingested]) -> None:
    with pytest.raises(UsageError, match=r"^--normalise: unknown family 'uprigth', did you mean 'upright'\?$"):
        read("nw-ucla", "uprigth")


def test_missing_joints_are_counted_and_too_many_leave_a_clip_out(write_source: Callable, tmp_path: Path) -> None:
    """Joint 3: of a body in 2 of 8 frames, of two bodies in 1 of 4. Of the first clip, a joint in all of 5 frames."""
    source, _ = write_source("pyskl")
    content = pickle.loads(source.read_bytes())  # noqa: S301
    first, _, third, fourth = (annotation["keypoint"] for annotation in content["annotations"])
    first[0, :, 7] = np.nan
    third[1, 2:4, 3], third[0, 5, 24] = np.nan, 0
    fourth[:, 1, 3] = 0
    source.write_bytes(pickle.dumps(content))
    done = ingest("pyskl", source, tmp_path / "a.arrow")
    (line,) = done.left_out
    assert (
        line == f"{source}: {content['annotations'][0]['frame_dir']}: left_hand of body 1 is missing in 5 of 5 frames"
    )
    missing = open_store(tmp_path / "a.arrow").missing_V
    assert missing == (0, 0, 0, 4, *[0] * 20, 1)
    assert np.isfinite(done.store.rows_FX.numpy()).all()


def test_the_counts_survive_processes(write_source: Callable, tmp_path: Path) -> None:
    source, options = write_source("generic")
    stores = [
        ingest("generic", source, tmp_path / f"{n}.arrow", options=options, processes=n).store.missing_V for n in (1, 2)
    ]
    assert stores == [(0,) * 5] * 2


@pytest.mark.parametrize("kind", WRITERS)
def test_two_processes_write_the_same_file_and_nothing_else(write_source: Callable, tmp_path: Path, kind: str) -> None:
    source, options = write_source(kind)
    for n in (1, 2):
        ingest(kind.split()[0], source, tmp_path / str(n) / "a.arrow", options=options, processes=n)
        assert [file.name for file in (tmp_path / str(n)).iterdir()] == ["a.arrow"]
    assert (tmp_path / "1" / "a.arrow").read_bytes() == (tmp_path / "2" / "a.arrow").read_bytes()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_source_that_is_none_leaves_nothing_behind(write_source: Callable, tmp_path: Path, kind: str) -> None:
    source, options = write_source(kind)
    wrong = (tmp_path / "wrong").with_suffix(source.suffix)
    wrong.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises((DataError, UsageError)):
        ingest(kind.split()[0], wrong, tmp_path / "out" / "a.arrow", options=options)
    assert not list(tmp_path.glob("out/*"))
