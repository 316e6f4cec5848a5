"""The URI of the MLflow server or database that a run is recorded in."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from cmd_tune.errors import UsageError, did_you_mean, usage_error
from cmd_tune.files import home_path
from cmd_tune.redact import is_redacted, redact
from cmd_tune.sqlite_url import sqlite_url

_SERVERS, _DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql")
_DATABASE = "mlflow.db"  # in the storage
_OPTION, _VARIABLE = "--tracking-uri", "MLFLOW_TRACKING_URI"
_PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105  (the name of a variable)
_OTHERS = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")  # which a run chooses by itself
_UNSUPPORTED = ("databricks", "uc:")
# Of a database whose driver is absent: a package that has one, and the word that chooses it.
_DRIVERS = {
    "postgresql": ("psycopg2-binary", "psycopg2"),
    "mysql": ("pymysql", "pymysql"),
    "mssql": ("pyodbc", "pyodbc"),
}
_WRITE = "write http://HOST:PORT or sqlite:///FILE"


def is_server(uri: str) -> bool:
    """Whether a URI is a server's address, and not a database."""
    return uri.startswith(("http://", "https://"))


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database at a URI by itself."""
    return uri.startswith(_DATABASES)


def sqlite_file(uri: str, place: Path | None = None) -> Path | None:
    """The absolute path of the file that a URI of SQLite names, a relative one in `place`; None for any other URI."""
    if not uri.startswith("sqlite"):
        return None
    try:
        name = make_url(uri).database or ""
    except ArgumentError:
        return None
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    if not name or name.startswith(":"):
        return None
    return Path(os.path.abspath((place or Path()) / name))


def default_uri(storage: Path) -> str:
    """The URI of a database in the storage folder."""
    return sqlite_url(storage / _DATABASE)


def resolve_tracking_uri(given: str | None, storage: Path, others: Collection[str] = ()) -> str:
    """The URI of a new run: the given one, else that of MLFLOW_TRACKING_URI, else a database in the storage.

    others: schemes of other trackers. Raises UsageError for what no run can be recorded in.
    """
    if given is not None:
        return given if _is_of(others, given) else _checked(given, _OPTION)
    by_variable = os.environ.get(_VARIABLE, "").strip()
    return _checked(by_variable, _VARIABLE) if by_variable else default_uri(storage)


def resumed_tracking_uri(given: str | None, kept: str, storage: Path, others: Collection[str] = ()) -> str:
    """The URI of a resumed run: the given one, else that of its plan file. storage: where the run lies now.

    A plan file keeps no password: it is taken from MLFLOW_TRACKING_URI if this differs in nothing else, or, of a
    server, from MLFLOW_TRACKING_PASSWORD. Raises UsageError if it is not there.
    """
    if given is not None:
        return resolve_tracking_uri(given, storage, others)
    if not is_redacted(kept):
        return kept if _is_of(others, kept) else _checked(_moved(kept, storage), "tracking_uri")
    by_variable = os.environ.get(_VARIABLE, "").strip()
    if by_variable and redact(by_variable) == kept:
        return _checked(by_variable, _VARIABLE)
    if is_server(kept) and os.environ.get(_PASSWORD):
        return without_credentials(kept)
    ways = f"{_OPTION} or {_VARIABLE}" + (f", or the password by {_PASSWORD}" if is_server(kept) else "")
    raise UsageError(f"{_OPTION}: the password of {kept} is not kept in the run's folder; give the whole URI by {ways}")


def without_credentials(uri: str) -> str:
    """A server's address without user and password, for a browser."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if is_server(uri) else redact(uri)


def relative_uri(uri: str, storage: Path) -> str:
    """A URI as a plan file has it: a database in the storage by a path relative to that, so that it can be moved."""
    path = sqlite_file(uri)
    if path is None or not path.is_relative_to(root := Path(os.path.abspath(storage))):
        return uri
    relative = path.relative_to(root).as_posix()
    plain = quote(relative) == relative and make_url(uri).query.keys() <= {"uri"}
    return f"sqlite:///{relative}" if plain else uri


def _moved(kept: str, storage: Path) -> str:
    """What a plan file has, as it is now. storage: where the run lies now.

    A database of the storage is found where the storage has moved to. Raises UsageError if a database's folder is gone.
    """
    path = sqlite_file(kept, storage)
    if path is None:
        return kept
    moved = storage / path.name
    if not path.is_file() and (moved.is_file() or (path.name == _DATABASE and not path.parent.is_dir())):
        return sqlite_url(moved)
    if not path.parent.is_dir():
        raise UsageError(f"tracking_uri: {path.parent}, the folder of its database, is not there; put it back")
    return kept if path == sqlite_file(kept, Path("/nowhere")) else sqlite_url(path)


def variables_not_taken(uri: str, experiment: str) -> list[str]:
    """One line for each of MLflow's variables that a run with this URI and experiment does not follow."""
    by_variable = os.environ.get(_VARIABLE, "").strip()
    lines = []
    if by_variable and not _is_same(by_variable, uri):
        lines.append(f"{_VARIABLE} is not taken: this run goes to {redact(uri)}")
    names = [name for name in _OTHERS if os.environ.get(name)]
    return lines + [f"{name} is not taken: runs are made in the experiment {experiment}" for name in names]


def password_remark(uri: str) -> list[str]:
    """A line about a URI's password, if it has one."""
    if redact(uri) == uri:
        return []
    kept = f"its password is not kept in the run's folder: give the URI again by {_OPTION} or {_VARIABLE} to resume"
    return [f"MLflow at {redact(uri)}: {kept}"]


def _is_of(schemes: Collection[str], uri: str) -> bool:
    return uri.partition(":")[0] in schemes


def _is_same(by_variable: str, uri: str) -> bool:
    try:
        return _checked(by_variable, _VARIABLE) in (uri, without_credentials(uri))
    except UsageError:
        return False


def _checked(uri: str, where: str) -> str:
    """The URI as it is recorded. Raises UsageError if MLflow cannot record there."""
    uri = uri.strip()
    scheme, colon, rest = uri.partition(":")
    dialect, _, _ = scheme.partition("+")
    if uri.startswith(_UNSUPPORTED):
        raise _refusal(where, uri, f"Databricks names experiments in its own way, and is not supported; {_WRITE}")
    if not colon or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme) or re.match(r"\d+(/|$)", rest):
        raise _refusal(where, uri, f"is no URI; {_meant(uri)}")
    if dialect in _SERVERS:
        return _checked_server(uri, where)
    if dialect in _DATABASES:
        return _checked_database(uri, where)
    if dialect == "file":
        raise _refusal(
            where, uri, "MLflow no longer keeps runs in plain files; write sqlite:///FILE or http://HOST:PORT"
        )
    hint = did_you_mean(dialect, (*_SERVERS, *_DATABASES))
    raise _refusal(where, uri, f"unknown scheme {scheme}, {hint.removesuffix('?')}; {_WRITE}")


def _meant(uri: str) -> str:
    """What to write for something without a scheme: a file, or a host."""
    if re.fullmatch(r"[\w.-]+(:\d+)(/\S*)?|\[[\da-fA-F:]+\](:\d+)?(/\S*)?", uri):
        return f"write http://{uri}"
    if uri.endswith((".db", ".sqlite", ".sqlite3")):
        return f"write sqlite:///{uri}"
    return _WRITE


def _checked_server(uri: str, where: str) -> str:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _refusal(where, uri, f"its host or port cannot be; write {uri.partition(':')[0]}://HOST:PORT") from None
    if not host or " " in uri or not uri.startswith(f"{parts.scheme}://"):
        raise _refusal(where, uri, f"names no host; write {parts.scheme}://HOST:PORT")
    if parts.query or parts.fragment:
        raise _refusal(where, uri, f"is the address of a page; write {_server_of(parts)}")
    return uri.rstrip("/")


def _server_of(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _checked_database(uri: str, where: str) -> str:
    """Its driver must be installed; a SQLite database must be a file."""
    try:
        url = make_url(uri)
        driver = url.get_dialect()
    except NoSuchModuleError:
        raise _refusal(where, uri, f"its driver is not known; write {url.get_backend_name()}://…") from None
    except (ArgumentError, ValueError):
        form = "sqlite:///FILE" if uri.startswith("sqlite") else "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        raise _refusal(where, uri, f"is no URI of a database; write {form}") from None
    try:
        driver.import_dbapi()
    except ImportError as error:
        package, word = _DRIVERS[url.get_backend_name()]
        cure = f"pip install {package}, and write {url.get_backend_name()}+{word}://…"
        raise _refusal(where, uri, f"its driver {error.name} is not installed; {cure}") from None
    return _checked_sqlite(uri, url, where) if url.get_backend_name() == "sqlite" else uri


def _checked_sqlite(uri: str, url: URL, where: str) -> str:
    """The URI with the absolute path of the file: a resumed run may start in another folder."""
    path = url.database
    if url.host or not path or path.startswith(":") or "mode=memory" in uri:
        raise _refusal(where, uri, "names no file; write sqlite:///FILE")
    absolute = uri if path.startswith(("file:", "/")) else sqlite_url(home_path(path))
    file = sqlite_file(absolute)
    if file is not None and file.is_dir():
        raise _refusal(where, uri, f"is a folder; write {sqlite_url(file / 'mlflow.db')}")
    return absolute


def _refusal(where: str, uri: str, why: str) -> UsageError:
    return usage_error(f"{where} {redact(uri)}", why)
