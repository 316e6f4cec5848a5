"""The URL of a database opens the file of that name, and no other."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cmd_tune.sqlite_url import sqlite_url
from tests.odd_names import ALL, ODD


def test_the_url_of_a_plain_path_is_plain() -> None:
    assert sqlite_url(Path("/home/me/runs_1/mlflow.db")) == "sqlite:////home/me/runs_1/mlflow.db"


@pytest.mark.parametrize("name", [*ODD, ALL], ids=ascii)
def test_the_database_lies_in_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    path = tmp_path / name / f"{name}.db"
    engine = create_engine(sqlite_url(path))
    with engine.begin() as connection:
        connection.execute(text("create table a (b)"))
    engine.dispose()
    assert [file.relative_to(tmp_path) for file in tmp_path.rglob("*")] == [Path(name), Path(name) / f"{name}.db"]
    with sqlite3.connect(path.as_uri(), uri=True) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("a",)]
