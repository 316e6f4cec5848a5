"""Data sets that are handed out as one file a clip, in a folder or in a zip file."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cmd_tune.errors import DataError


class ClipFiles:
    """The files of one suffix, by name. Made anew in every process that reads: an open zip file cannot be shared.

    Raises DataError in one line where the source is neither a folder nor a whole zip file.
    """

    def __init__(self, source: Path, suffix: str) -> None:
        self.source, self.suffix = source, suffix
        self._archive: zipfile.ZipFile | None = None
        if not source.is_dir():
            try:
                self._archive = zipfile.ZipFile(source)
            except FileNotFoundError as error:
                raise DataError(f"{source}: no such file or folder") from error
            except (zipfile.BadZipFile, EOFError, OSError) as error:
                raise DataError(f"{source}: neither a folder nor a whole zip file ({error})") from error

    def names(self) -> Sequence[str]:
        """Paths inside the source, in the order of the clips' names."""
        if self._archive:
            found = [name for name in self._archive.namelist() if name.endswith(self.suffix)]
        else:
            found = [str(path.relative_to(self.source)) for path in self.source.rglob(f"*{self.suffix}")]
        return sorted(found, key=lambda name: (Path(name).stem, name))

    def read(self, name: str) -> bytes:
        """Raises DataError, with the file's name, where it cannot be read."""
        try:
            return self._archive.read(name) if self._archive else (self.source / name).read_bytes()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            inside = "damaged inside the zip file" if self._archive else "cannot be read"
            raise DataError(f"{self.where(name)}: {inside} ({error})") from error

    def where(self, name: str) -> str:
        """A file, as messages name it."""
        return f"{self.source}: {name}"

    def close(self) -> None:
        if self._archive:
            self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
