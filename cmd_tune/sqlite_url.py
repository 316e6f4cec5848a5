"""A path as the URL that a database in SQLite goes by."""

from pathlib import Path

from sqlalchemy.engine import URL


def sqlite_url(path: Path) -> str:
    """The URL of a database file, whatever characters its path has; absolute, since Ray changes the working directory.

    If a character has a meaning in a URL, the path is quoted as SQLite reads it. MLflow creates a folder from the text
    after 'sqlite:///', quotes included, unless the URL names the driver.
    """
    path = path.absolute()
    if path.as_uri() == f"file://{path}":
        return URL.create("sqlite", database=str(path)).render_as_string()
    return URL.create("sqlite+pysqlite", database=path.as_uri(), query={"uri": "true"}).render_as_string()
