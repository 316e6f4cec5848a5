"""Raw files → one normalised store. Every format goes through here, on all cores; so does the synthetic set."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout
from cmd_tune.data.normalize import NORMALIZATION
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.reading import normalized, read_all
from cmd_tune.data.store import Precision, Store, open_store, write_store
from cmd_tune.errors import DataError, UsageError, nearest

Progress = Callable[[int, int], None]  # (files read, files in all)


@dataclass(frozen=True)
class Ingested:
    """The store, and a line for each file that could not be used."""

    store: Store
    left_out: tuple[str, ...]


def ingest(
    format_name: str,
    source: Path,
    out: Path,
    *,
    strict: bool = False,
    exclude: Collection[str] = (),
    dtype: Precision = "float32",
    progress: Progress = lambda done, total: None,
) -> Ingested:
    """Read, normalise and store a data set; nothing appears at `out` before it is whole.

    exclude: names of clips to pass over, without a suffix. dtype: of the coordinates on disk. Raises UsageError for an
    unknown format; DataError where the source or, if strict, any file is wrong, or where no file is left. All in one
    line.
    """
    if format_name not in READERS:
        raise UsageError(f"ingest: unknown format '{format_name}', {nearest(format_name, READERS)}")
    reader = READERS[format_name]
    clips: dict[str, Clip] = {}
    left_out = []
    with ClipFiles(source, reader.suffix) as files:
        names = [name for name in files.names() if Path(name).stem not in exclude]
        if not names:
            raise DataError(f"{source}: holds no {reader.suffix} files")
        for done, (name, read) in enumerate(read_all(reader, files, names), start=1):
            if isinstance(read, Clip) and read.name in clips:
                read = f"{files.where(name)}: another file has the same name"
            if isinstance(read, Clip):
                clips[read.name] = read
            elif strict:
                raise DataError(read)
            else:
                left_out.append(read)
            progress(done, len(names))
    if not clips:
        raise DataError(f"none of {len(names)} files can be used; the first: {left_out[0]}")
    layout = reader.layout
    write_store(out, clips.values(), dataset=format_name, layout=layout, normalization=NORMALIZATION, dtype=dtype)
    return Ingested(open_store(out), tuple(left_out))


def read_names(path: Path) -> frozenset[str]:
    """The names in a list, one a line; a line of several words is none (the official lists start with a heading)."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a list of names: {error}") from None
    return frozenset(Path(line.strip()).stem for line in lines if len(line.split()) == 1)


def store_clips(clips: Iterable[Clip], out: Path, *, dataset: str, layout: Layout, source: Path | str) -> Store:
    """Normalise and write clips, and open the result."""
    whole = [normalized(clip, layout, f"{source}: {clip.name}") for clip in clips]
    write_store(out, whole, dataset=dataset, layout=layout, normalization=NORMALIZATION)
    return open_store(out)
