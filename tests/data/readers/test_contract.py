"""What source.py promises of a reader, for every one that is registered, on the small sources of conftest.py."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import MOST_CLASSES, NEITHER, TEST, TRAIN, Clip
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.source import ReadOptions, Source
from cmd_tune.errors import DataError, UsageError
from tests.data.conftest import WRITERS

WRITTEN = {kind.split()[0] for kind in WRITERS}  # "generic parquet" is a second form of "generic"


def read(source: Source) -> list[Clip | str]:
    return [one for batch in source.batches for one in source.read(batch)]


@pytest.mark.parametrize("word", READERS)
def test_every_format_has_a_small_source(word: str) -> None:
    missing = f"{word}: add a function that writes a small source of it to WRITERS in tests/data/conftest.py"
    assert word in WRITTEN, missing


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def written(kind: str, write_source: Callable[..., tuple[Path, ReadOptions]]) -> tuple[Path, ReadOptions]:
    return write_source(kind)


@pytest.fixture
def opened(kind: str, written: tuple[Path, ReadOptions]) -> Callable[..., Source]:
    """Opens the source, with some names left out."""
    path, options = written
    return lambda *exclude: READERS[kind.split()[0]](path, replace(options, exclude=frozenset(exclude)))


def test_units_count_what_is_read(opened: Callable[..., Source]) -> None:
    source = opened()
    batches = list(source.batches)
    assert all(len(batch) > 0 for batch in batches)
    assert sum(map(len, batches)) == source.units > 0
    clips = [one for batch in batches for one in source.read(batch)]
    assert len(clips) == source.units or source.what == "recordings"  # of several clips each
    assert source.parallel_from > 0


def test_the_files_are_there_and_in_the_source(
    opened: Callable[..., Source], written: tuple[Path, ReadOptions]
) -> None:
    """Their change makes another source."""
    files = opened().files
    assert len(files) > 0
    assert all(file.is_file() and file.is_relative_to(written[0]) for file in files)


def test_clips_are_as_the_source_says(opened: Callable[..., Source], written: tuple[Path, ReadOptions]) -> None:
    source = opened()
    assert written[1].layout in (None, source.layout)
    clips = read(source)
    assert [one for one in clips if isinstance(one, str)] == []
    for clip in clips:
        assert clip.joints_TVCP.dtype == np.float32
        assert len(clip.joints_TVCP) > 0
        assert clip.joints_TVCP.shape[1:] == (len(source.layout.joints), source.layout.coordinates, source.bodies)
        lost_TVCP = np.isnan(clip.joints_TVCP)  # joints that were not found
        assert np.isfinite(clip.joints_TVCP[~lost_TVCP]).all()
        assert np.array_equal(lost_TVCP.any(axis=2), lost_TVCP.all(axis=2))
        assert clip.joints_TVCP.any()
        assert type(clip.label) is int
        assert 0 <= clip.label < MOST_CLASSES
        assert min(clip.subject, clip.camera, clip.setup) >= 0
        assert set(clip.parts.values()) <= {NEITHER, TRAIN, TEST}


def test_names_are_different_and_messages_name_the_file(
    opened: Callable[..., Source], written: tuple[Path, ReadOptions]
) -> None:
    clips = read(opened())
    assert len({clip.name for clip in clips}) == len({clip.where for clip in clips}) == len(clips)
    assert all(clip.where.startswith(str(written[0])) for clip in clips)


def test_clips_come_in_a_fixed_order_in_any_process(opened: Callable[..., Source]) -> None:
    """What is sent to another process reads the same there."""
    first, again = opened(), opened()
    for one, other in zip(first.batches, again.batches, strict=True):
        sent_read, sent_batch = pickle.loads(pickle.dumps((again.read, other)))  # noqa: S301
        for clip, sent in zip(first.read(one), sent_read(sent_batch), strict=True):
            assert np.array_equal(clip.joints_TVCP, sent.joints_TVCP)
            assert replace(clip, joints_TVCP=None) == replace(sent, joints_TVCP=None)


def test_names_that_are_excluded_are_left_out_and_not_counted(opened: Callable[..., Source]) -> None:
    clips = read(opened())
    one = clips[1].name
    source = opened(one, "no such clip")
    assert source.units == opened().units - (source.what != "recordings")
    assert [clip.name for clip in read(source)] == [clip.name for clip in clips if clip.name != one]


@pytest.mark.parametrize("wrong", ["absent", "an empty folder", "another kind of file"])
def test_a_source_that_is_none_ends_in_one_line_that_names_it(
    kind: str, written: tuple[Path, ReadOptions], tmp_path: Path, wrong: str
) -> None:
    path = (tmp_path / "wrong").with_suffix(written[0].suffix)
    if wrong == "an empty folder":
        path.mkdir()
    elif wrong == "another kind of file":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises((DataError, UsageError)) as caught:
        read(READERS[kind.split()[0]](path, written[1]))
    (line,) = caught.value.args
    assert "\n" not in line
    assert str(path) in line
