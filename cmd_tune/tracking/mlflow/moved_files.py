"""Where a database in the storage says that files lie: MLflow writes absolute paths, which a moved storage leaves."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from cmd_tune.tracking.mlflow.uris import sqlite_file

_FOLDER = "/mlartifacts"
_COLUMNS = (
    ("experiments", "experiment_id", "artifact_location"),
    ("runs", "run_uuid", "artifact_uri"),
    ("logged_models", "model_id", "artifact_location"),
    ("model_versions", "rowid", "source"),
    ("model_versions", "rowid", "storage_location"),
)


def follow_storage(uri: str, storage: Path, place: str) -> None:
    """Have experiments and runs of a database in SQLite find their files in the storage, if it has been moved.

    place: the URI of the storage's folder of files. Rows of a database that is the storage's own are changed if their
    old folder is gone, or if their files are here, as in a copied storage; those of another database, which may have
    runs of several storages, if both is so.
    """
    from sqlalchemy import create_engine, inspect, text

    file = sqlite_file(uri)
    if file is None or not file.is_file():
        return
    own = file.parent.resolve() == storage.resolve()
    engine = create_engine(uri)
    try:
        with engine.begin() as database:
            for table, key, column in _COLUMNS:
                if not inspect(database).has_table(table):
                    continue
                for identity, old in database.execute(text(f"SELECT {key}, {column} FROM {table}")).all():  # noqa: S608
                    root, rest = _split(old or "")
                    if not root or root == place:
                        continue
                    gone, here = not _path(root).is_dir(), _path(place + rest).exists()
                    if (own and (gone or here)) or (gone and (here or not rest)):
                        change = text(f"UPDATE {table} SET {column} = :new WHERE {key} = :key")  # noqa: S608
                        database.execute(change, {"new": place + rest, "key": identity})
    finally:
        engine.dispose()


def _split(location: str) -> tuple[str, str]:
    """The URI of a folder of files, and what follows it; empty texts of any other location."""
    head, folder, rest = f"{location}/".rpartition(f"{_FOLDER}/")
    if not folder or not location.startswith("file:"):
        return "", ""
    return head + _FOLDER, f"/{rest}".rstrip("/")


def _path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
