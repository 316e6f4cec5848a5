"""Raw files → one normalised store. Used for every format and for the synthetic set."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cmd_tune.data.layouts import Layout
from cmd_tune.data.normalize import NORMALIZATION, normalize
from cmd_tune.data.readers import READERS
from cmd_tune.data.store import Clip, Store, open_store, write_store
from cmd_tune.errors import DataError, UsageError, nearest


def ingest(format_name: str, source: Path, out: Path) -> Store:
    """Read, normalise and store a data set. Raises DataError or UsageError, in one line."""
    if format_name not in READERS:
        raise UsageError(f"ingest: unknown format '{format_name}', {nearest(format_name, READERS)}")
    reader = READERS[format_name]
    return store_clips(reader.read(source), out, dataset=format_name, layout=reader.layout, source=source)


def store_clips(clips: Iterable[Clip], out: Path, *, dataset: str, layout: Layout, source: Path | str) -> Store:
    """Normalise and write clips, and open the result."""
    normalized = [_normalized(clip, layout, source) for clip in clips]
    if not normalized:
        raise DataError(f"{source}: holds no clips")
    write_store(out, normalized, dataset=dataset, layout=layout, normalization=NORMALIZATION)
    return open_store(out)


def _normalized(clip: Clip, layout: Layout, source: Path | str) -> Clip:
    try:
        return replace(clip, joints_TVCP=normalize(clip.joints_TVCP, layout))
    except ValueError as error:
        raise DataError(f"{source}: {clip.name}: {error}") from None
