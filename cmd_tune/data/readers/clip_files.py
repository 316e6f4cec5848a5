"""Data sets of many files, in a folder or in a zip file."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.source import ReadOptions, Source, in_batches
from cmd_tune.data.readers.stray_files import is_data
from cmd_tune.errors import DataError

BATCH = 32  # files that a process is given at a time
_PARALLEL_FROM = 1000


class ClipFiles:
    """The files with one suffix, by name. Each process opens the source anew: an open zip file cannot be shared.

    Raises DataError, in one line, if the source is neither a folder nor a whole zip file.
    """

    def __init__(self, source: Path, suffix: str) -> None:
        self.source, self.suffix = source, suffix
        self._archive: zipfile.ZipFile | None = None
        if not source.is_dir():
            try:
                self._archive = zipfile.ZipFile(source)
            except FileNotFoundError as error:
                raise DataError(f"{source}: no such file or folder") from error
            except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
                raise DataError(f"{source}: neither a folder nor a whole zip file ({error})") from error

    def __reduce__(self) -> tuple[type["ClipFiles"], tuple[Path, str]]:
        return ClipFiles, (self.source, self.suffix)

    def names(self) -> Sequence[str]:
        """Paths inside the source, in the order of the clips' names; without files that are no data."""
        if self._archive:
            found = [name for name in self._archive.namelist() if name.endswith(self.suffix)]
        else:
            found = [str(path.relative_to(self.source)) for path in self.source.rglob(f"*{self.suffix}")]
        return sorted(filter(is_data, found), key=lambda name: (Path(name).stem, name))

    def paths(self, names: Sequence[str]) -> Sequence[Path]:
        """The paths on disk that hold these files: the files, or the zip file."""
        return [self.source] if self._archive else [self.source / name for name in names]

    def read(self, name: str) -> bytes:
        """The content of a file. Raises DataError, with the file's name, if it cannot be read."""
        if not self._archive and (path := self.source / name).exists() and not path.is_file():  # a pipe never ends
            raise DataError(f"{self.where(name)}: is no file")
        try:
            return self._archive.read(name) if self._archive else (self.source / name).read_bytes()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError) as error:
            inside = "damaged inside the zip file" if self._archive else "cannot be read"
            raise DataError(f"{self.where(name)}: {inside} ({error})") from error

    def where(self, name: str) -> str:
        """The name of a file in messages."""
        return f"{self.source}: {name}"


Parse = Callable[[str, str, bytes], Clip]


def open_clip_files(
    dataset: str,
    layout: Layout,
    bodies: int,
    suffix: str,
    parse: Parse,
    path: Path,
    options: ReadOptions,
    *,
    default: str = "2s-agcn",
) -> Source:
    """Open a data set of one file per clip.

    parse: (name in messages, stem of the file's name, its bytes) → the clip. It raises DataError for whatever is wrong
    with a file; of any other exception `ingest` says that the reader failed. default: as of `Source`.
    """
    files = ClipFiles(path, suffix)
    names = [name for name in files.names() if Path(name).stem not in options.exclude]
    if not names:
        raise DataError(f"{path}: holds no {suffix} files")
    return Source(
        dataset=dataset,
        layout=layout,
        bodies=bodies,
        normalization=None,
        files=files.paths(names),
        what="files",
        units=len(names),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(names, BATCH),
        read=partial(_read, files, parse),
        default=default,
    )


def _read(files: ClipFiles, parse: Parse, names: Sequence[str]) -> list[Clip | str]:
    return [_read_one(files, parse, name) for name in names]


def _read_one(files: ClipFiles, parse: Parse, name: str) -> Clip | str:
    try:
        return parse(files.where(name), Path(name).stem, files.read(name))
    except DataError as error:
        return str(error)
