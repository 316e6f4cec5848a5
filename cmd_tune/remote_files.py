"""Files at a URI: S3 and what else PyArrow opens. Credentials come from the environment, and are never kept or shown.

A path on this machine, or one that NFS or FUSE brings there, is a path; so is file://PATH.
"""

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cmd_tune.errors import CmdTuneError, UsageError, did_you_mean, first_line
from cmd_tune.files import home_path

Place = Path | str  # a path on this machine, or the URI of an object store

_STORES = ("s3", "gs", "abfs", "abfss")
_S3_OPTIONS = ("endpoint_override", "region", "scheme")  # that may stand behind the ? of a URI
_INSTEAD = {
    "s3a": "write s3://BUCKET/FOLDER",
    "s3n": "write s3://BUCKET/FOLDER",
    "gcs": "write gs://BUCKET/FOLDER",
    "az": "write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER",
    "adl": "write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER",
    "wasb": "write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER",
    "hdfs": "mount it, and name the folder",
    "nfs": "mount it, and name the folder",
    "http": "download it, and name the file",
    "https": "download it, and name the file",
    "ftp": "download it, and name the file",
}
_WHOLE = 64 * 1024**2  # bytes of a file up to which it is read before its upload begins
_PATIENCE_S = 10  # for a server to take a connection


class RemoteError(CmdTuneError):
    """An object store does not do what it is asked for."""


def looks_like_uri(text: str) -> bool:
    """Whether a text is meant as a URI: s3://bucket, also s3:/bucket, but not C:/folder or a:b."""
    found = re.match(r"([A-Za-z][\w+.-]+):(/?)", text)
    return bool(found and (found[2] or found[1].lower() in (*_STORES, "file", *_INSTEAD)))


def read_place(text: str, option: str) -> Place:
    """What was typed as a path or as a URI, without what ends in /. Raises UsageError, in one line, for a wrong URI.

    option: what it was typed behind.
    """
    if not looks_like_uri(text):
        return home_path(text)
    scheme, _, rest = text.partition(":")
    shown = f"{option} {redacted(text)}"
    if scheme.lower() == "file":
        url = urlsplit(text)
        if scheme != "file" or url.netloc not in ("", "localhost") or not url.path.startswith("/"):
            raise UsageError(f"{shown}: is no URI of a file here; write file:///PATH, or the path itself")
        return Path(unquote(url.path))
    if scheme not in _STORES:
        lower = f"write {scheme.lower()}://" if scheme.lower() in _STORES else ""
        cure = _INSTEAD.get(scheme.lower()) or lower or did_you_mean(scheme, (*_STORES, "file"))
        raise UsageError(f"{shown}: {scheme}:// is no kind of storage that is known; {cure}")
    if not re.match(r"//[^/?#]", rest):
        raise UsageError(
            f"{shown}: names no bucket; write {scheme}://BUCKET/FOLDER, or ./ before the name of a folder here"
        )
    url = urlsplit(text)
    if re.match(r"//[^@]*:[^@]*@", rest) or (scheme in ("s3", "gs") and "@" in url.netloc + url.query):
        raise UsageError(
            f"{shown}: a URI is kept and shown, so it may have no credentials; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or write them into ~/.aws/credentials"
        )
    if url.fragment or any(part in ("", ".", "..") for part in url.path.rstrip("/").split("/")[1:]):
        raise UsageError(f"{shown}: has '#', '//' or '..' in it; write {scheme}://BUCKET/FOLDER")
    if scheme == "s3" and (odd := [key for key, _ in parse_qsl(url.query, True) if key not in _S3_OPTIONS]):
        raise UsageError(
            f"{option} s3://{url.netloc}{url.path}: unknown ?{odd[0]}=, {did_you_mean(odd[0], _S3_OPTIONS)}"
        )
    query = f"?{url.query}" if url.query else ""
    return f"{scheme}://{url.netloc}{url.path.rstrip('/')}{query}"


def redacted(uri: str) -> str:
    """A URI for a message: without what may be a name and a password, and without what is behind its ?."""
    head, mark, _ = uri.partition("?")
    return re.sub(r"(:/*).*@", r"\1…@", head) + (f"{mark}…" if mark else "")


def beside(uri: str, name: str) -> str:
    """The URI of a name below that of a folder."""
    head, mark, query = uri.partition("?")
    return f"{head}/{name}{mark}{query}"


def split_uri(uri: str) -> tuple[str, str]:
    """The URI of the folder that a URI's last name lies in, and that name."""
    head, mark, query = uri.partition("?")
    folder, _, name = head.rpartition("/")
    return f"{folder}{mark}{query}", name


@dataclass(frozen=True)
class Mark:
    """What tells one content of an object from another: bytes, and the server's time in ns."""

    size: int
    time: int


class RemoteFolder:
    """A folder of an object store. Names are relative to it, as a/b.txt. Every method raises RemoteError in one line.

    An object appears whole or not at all.
    """

    def __init__(self, uri: str) -> None:
        """uri: as `read_place` returns it. Connects to nothing yet."""
        self.uri = uri

    def files(self, below: str = "") -> dict[str, Mark]:
        """All files below a folder of it, by name."""
        from pyarrow.fs import FileSelector

        with self._named(below, "read"):
            base = self._path(below)
            found = self._system.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
            return {info.path[len(self._base) + 1 :]: _mark(info) for info in found if info.is_file}

    def folders(self) -> list[str]:
        """The names of the folders in it."""
        from pyarrow.fs import FileSelector, FileType

        with self._named("", "read"):
            found = self._system.get_file_info(FileSelector(self._base, allow_not_found=True))
            return sorted(info.base_name for info in found if info.type is FileType.Directory)

    def mark(self, name: str) -> Mark | None:
        """The mark of a file; None if there is none."""
        with self._named(name, "read"):
            info = self._system.get_file_info(self._path(name))
            return _mark(info) if info.is_file else None

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        with self._named(name, "read"):
            try:
                with self._system.open_input_stream(self._path(name)) as stream:
                    return stream.readall()
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes | mmap.mmap) -> None:
        """Write a file, in place of an earlier one."""
        with self._named(name, "written"), self._system.open_output_stream(self._path(name)) as stream:
            stream.write(content)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine there. Raises OSError if it cannot be read."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _WHOLE:
                self.write(name, file.read(size))
            else:
                with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
                    self.write(name, content)

    def download(self, name: str, path: Path) -> None:
        """Copy a file from there. Raises OSError if it cannot be written."""
        with path.open("wb") as file, self._named(name, "read"), self._system.open_input_stream(self._path(name)) as it:
            while chunk := it.read(2**22):
                file.write(chunk)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._named(name, "written"), suppress(FileNotFoundError):
            self._system.delete_file(self._path(name))

    def check(self) -> None:
        """Raise RemoteError if there is no such bucket, or if nobody answers."""
        bucket = self._base.partition("/")[0]
        with self._named("", "reached"):
            info = self._system.get_file_info(bucket)
        if not info.type:
            raise RemoteError(f"{self.uri}: there is no bucket {bucket}; make it first")

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    @property
    def _base(self) -> str:
        return self._opened[1]

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from pyarrow.fs import FileSystem

        url = urlsplit(self.uri)
        with self._named("", "opened"):
            if url.scheme == "s3":
                return _s3(url.netloc, dict(parse_qsl(url.query))), url.netloc + url.path
            return FileSystem.from_uri(self.uri)  # credentials as Google's and Azure's own tools find them

    @contextmanager
    def _named(self, name: str, done: str) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, OSError, ValueError, NotImplementedError) as error:
            if isinstance(error, OSError) and (error.errno and error.filename):
                raise  # of this machine
            where = beside(self.uri, name) if name else self.uri
            raise RemoteError(f"{where}: cannot be {done}: {_reason(error)}") from error


def _s3(bucket: str, options: dict[str, str]) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    by_variable = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    scheme, colon, endpoint = (options.get("endpoint_override") or by_variable).rpartition("://")
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        endpoint_override=endpoint.rstrip("/") or None,
        scheme=options.get("scheme") or (scheme if colon else "https"),
        region=region or ("us-east-1" if endpoint else resolve_s3_region(bucket)),
        connect_timeout=_PATIENCE_S,
        request_timeout=6 * _PATIENCE_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
    )


def _mark(info: Any) -> Mark:
    return Mark(int(info.size), int(info.mtime_ns or 0))


def _reason(error: Exception) -> str:
    """What a store says, in few words, with what to do where that is known."""
    text = first_line(error)
    said = re.search(r"AWS Error (\w+) during (\w+) operation: (.*)", text)
    if not said:
        return text
    code, _, words = said.groups()
    words = re.sub(r"\s*\(Request ID.*|; Details:.*", "", words).strip().rstrip(".") or "no reason is given"
    cures = {
        "NETWORK_CONNECTION": "; its address is that of AWS_ENDPOINT_URL or ?endpoint_override=",
        "ACCESS_DENIED": "; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
    }
    cures |= dict.fromkeys(("INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH"), cures["ACCESS_DENIED"])
    return f"{words} ({code}){cures.get(code, '')}"
