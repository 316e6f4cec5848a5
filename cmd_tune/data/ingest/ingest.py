"""A source → one normalised store. Every format goes through here, on all cores; so does the synthetic set."""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cmd_tune
from cmd_tune.data.clip import Clip
from cmd_tune.data.clip_names import clip_name
from cmd_tune.data.ingest.parallel_reading import normalized, processes_that_pay, read_all
from cmd_tune.data.ingest.partial_store import PartialStore
from cmd_tune.data.ingest.reader_failures import open_guarded
from cmd_tune.data.layouts import Layout, layout_content
from cmd_tune.data.normalizations import NORMALIZATIONS, families_from
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.source import ReadOptions, Source
from cmd_tune.data.store import SCHEMA_VERSION, Description, Precision, Store, open_store, write_store
from cmd_tune.errors import DataError, Interrupted, UsageError, did_you_mean

Progress = Callable[[int, int], None]  # (files or clips read, all of them)
_ALL_CLIPS = ReadOptions()


@dataclass(frozen=True)
class Ingested:
    """The store, and one line per file or clip that could not be used. what: "files" or "clips".

    normalized: one line about the normalisation and its alternatives; empty if it was asked for.
    """

    store: Store
    left_out: tuple[str, ...]
    what: str
    normalized: str


def ingest(
    format_name: str,
    path: Path,
    out: Path,
    *,
    options: ReadOptions = _ALL_CLIPS,
    normalization: str | None = None,
    strict: bool = False,
    dtype: Precision = "float32",
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Ingested:
    """Read, normalise and store a data set; nothing appears at `out` before it is whole.

    Clips that have been read are kept in a hidden folder beside `out`: after an interruption, the same call on the same
    files continues from there, and says so to `tell`. normalization: a family in NORMALIZATIONS; None: the source's
    own, or its default. dtype: of the coordinates on disk. processes: None: as many as save time.

    Raises, each in one line: UsageError for an unknown format, and for a family that is unknown or cannot be made from
    the source; DataError if the source cannot be used, if no clip is left, or, if strict, for the first file that
    cannot be used; CmdTuneError if the disk is full; Interrupted on Ctrl-C.
    """
    if normalization is not None and normalization not in NORMALIZATIONS:
        raise UsageError(
            f"--normalise: unknown family '{normalization}', {did_you_mean(normalization, NORMALIZATIONS)}"
        )
    source = open_source(format_name, path, options)
    family = _family(source, format_name, normalization)
    described = Description(source.dataset, source.layout, source.bodies, format_name, family)
    key = _fingerprint(source, path, described, options, dtype)
    with closing(PartialStore(out, key, described, dtype)) as partial:
        if partial.batches:
            tell(f"going on: {partial.units} of {source.units} {source.what} were already read")
        try:
            _read_into(partial, source, family, path, strict, processes or processes_that_pay(source), progress)
        except DataError:
            partial.remove()
            raise
        except KeyboardInterrupt:
            read = f"{partial.units} of {source.units} {source.what}"
            raise Interrupted(f"interrupted after {read}; the same command goes on from there") from None
        partial.finish()
        why = "" if normalization else _why(source, format_name, family)
        return Ingested(open_store(out), tuple(partial.left_out), source.what, why)


def open_source(format_name: str, path: Path, options: ReadOptions) -> Source:
    """Open a source of a format in READERS. Raises UsageError, or DataError if it cannot be used."""
    if format_name not in READERS:
        cure = "recordings without a format of their own are read as 'generic', whose forms 'ingest --help' names"
        raise UsageError(f"ingest: unknown format '{format_name}', {did_you_mean(format_name, READERS)}; {cure}")
    source = open_guarded(READERS[format_name], path, options)
    if options.layout is not None and source.layout is not options.layout:
        raise UsageError(f"--layout: {format_name} has joints of its own, {source.layout.name}; leave it out")
    return source


def _family(source: Source, format_name: str, asked: str | None) -> str:
    family = asked or source.normalization or source.default
    if family not in (allowed := families_from(source.normalization, source.layout.coordinates)):
        held = source.normalization
        why = f"the clips of {format_name} are normalised as {held}" if held else "these joints are in 2-D"
        raise UsageError(f"--normalise {family}: {why}, which allows {' or '.join(allowed)}")
    return family


def _why(source: Source, format_name: str, family: str) -> str:
    """One line: the family that was not asked for, why it is this one, and which others there are."""
    others = [name for name in families_from(source.normalization, source.layout.coordinates) if name != family]
    why = f"the default of {format_name}" if source.normalization is None else "as its files are"
    return f"normalised as {family}, {why}" + (f"; --normalise takes {', '.join(others)} as well" if others else "")


def _read_into(
    partial: PartialStore, source: Source, family: str, path: Path, strict: bool, processes: int, progress: Progress
) -> None:
    if strict and partial.left_out:
        raise DataError(partial.left_out[0])
    progress(partial.units, source.units)
    with closing(read_all(source, family, path, partial.batches, processes)) as batches:
        for units, read in batches:
            left_out = partial.add(units, read)
            if strict and left_out:
                raise DataError(left_out[0])
            progress(partial.units, source.units)
    if not partial.clips:
        first = f"; the first: {partial.left_out[0]}" if partial.left_out else ""
        raise DataError(f"{path}: none of {source.units} {source.what} can be used{first}")


def _fingerprint(source: Source, path: Path, described: Description, options: ReadOptions, dtype: Precision) -> str:
    """A hash of all that the store depends on: files' names, sizes and times, options, and this package's version."""
    key = hashlib.blake2b(digest_size=16)
    content = [cmd_tune.__version__, SCHEMA_VERSION, described.format, described.dataset, described.normalization]
    layout = layout_content(described.layout)
    key.update(json.dumps([*content, layout, described.bodies, dtype, str(path.absolute())]).encode())
    key.update(json.dumps(sorted(options.exclude)).encode())
    for file in source.files:
        try:
            stat = file.stat()
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        key.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return key.hexdigest()


def read_names(path: Path) -> frozenset[str]:
    """The names in a text file, one per line. Lines of several words are skipped: official lists have headings."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a list of names: {error}") from None
    return frozenset(clip_name(line.strip()) for line in lines if len(line.split()) == 1)


def store_clips(clips: Iterable[Clip], out: Path, *, dataset: str, layout: Layout, normalization: str) -> Store:
    """Normalise clips as recorded, write them, and open the result. Raises ValueError for one that has no body."""
    whole = [normalized(clip, layout, normalization) for clip in clips]
    write_store(out, whole, dataset=dataset, layout=layout, normalization=normalization)
    return open_store(out)
