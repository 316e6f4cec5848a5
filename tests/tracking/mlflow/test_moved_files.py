"""Rows of MLflow's database that name files of a storage which has moved."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cmd_tune.sqlite_url import sqlite_url
from cmd_tune.tracking.mlflow.moved_files import follow_storage


def rows(uri: str) -> list[str]:
    with create_engine(uri).connect() as database:
        return [
            str(row[0])
            for column in ("artifact_location from experiments", "artifact_uri from runs")
            for row in database.execute(text(f"select {column}"))
        ]


def test_models_follow_a_storage_too(tmp_path: Path) -> None:
    """Their files, and where the registry has them from, in tables of other keys."""
    storage, old = tmp_path / "moved", (tmp_path / "gone" / "mlartifacts").as_uri()
    uri, place = sqlite_url(tmp_path / "moved" / "mlflow.db"), (storage / "mlartifacts").as_uri()
    storage.mkdir()
    with create_engine(uri).begin() as connection:
        connection.execute(text("create table logged_models (model_id text, artifact_location text)"))
        columns = "name text, version integer, source text, storage_location text"
        connection.execute(text(f"create table model_versions ({columns})"))
        of_first = {"place": f"{old}/models/m-1/artifacts"}
        connection.execute(text("insert into logged_models values ('m-1', :place)"), of_first)
        for version in (1, 2):
            row = {"version": version, "place": f"{old}/models/m-{version}/artifacts"}
            connection.execute(text("insert into model_versions values ('encoder', :version, :place, :place)"), row)
    follow_storage(uri, storage, place)
    with create_engine(uri).connect() as connection:
        found = [tuple(row) for row in connection.execute(text("select * from model_versions"))]
        assert found == [("encoder", n, *[f"{place}/models/m-{n}/artifacts"] * 2) for n in (1, 2)]
        (location,) = connection.execute(text("select artifact_location from logged_models")).one()
    assert location == f"{place}/models/m-1/artifacts"


def database(path: Path, root: str, other: str) -> str:
    """A database of two experiments, the second of somebody else, with a run each."""
    uri = sqlite_url(path)
    with create_engine(uri).begin() as connection:
        connection.execute(text("create table experiments (experiment_id integer, artifact_location text)"))
        connection.execute(text("create table runs (run_uuid text, artifact_uri text)"))
        for number, place in enumerate((root, other)):
            connection.execute(text("insert into experiments values (:n, :p)"), {"n": number, "p": place})
            connection.execute(
                text("insert into runs values (:n, :p)"), {"n": str(number), "p": f"{place}/{number}f/artifacts"}
            )
    return uri


@pytest.mark.parametrize("name", ["moved", "with mlartifacts/in its #name"])
def test_rows_follow_a_storage_and_no_others_do(tmp_path: Path, name: str) -> None:
    storage, old = tmp_path / name, (tmp_path / "a b" / "mlartifacts").as_uri()
    (storage / "mlartifacts" / "0f" / "artifacts").mkdir(parents=True)
    place = (storage / "mlartifacts").as_uri()
    uri = database(storage / "mlflow.db", old, "s3://bucket/mlartifacts")
    theirs = ["s3://bucket/mlartifacts", "s3://bucket/mlartifacts/1f/artifacts"]
    for _ in range(2):
        follow_storage(uri, storage, place)
        assert rows(uri) == [place, theirs[0], f"{place}/0f/artifacts", theirs[1]]


def test_a_database_that_several_storages_share_keeps_what_lies_elsewhere(tmp_path: Path) -> None:
    """Its second experiment has files in a storage that is there; of the first, that is gone, one run's are here."""
    storage, there = tmp_path / "moved", tmp_path / "there" / "mlartifacts"
    (storage / "mlartifacts" / "0f" / "artifacts").mkdir(parents=True)
    (storage / "mlartifacts" / "1f" / "artifacts").mkdir(parents=True)
    there.mkdir(parents=True)
    place = (storage / "mlartifacts").as_uri()
    uri = database(tmp_path / "team.db", "file:///gone/mlartifacts", there.as_uri())
    with create_engine(uri).begin() as connection:
        connection.execute(text("insert into runs values ('2', 'file:///gone/mlartifacts/2f/artifacts')"))
    follow_storage(uri, storage, place)
    kept = [there.as_uri(), f"{there.as_uri()}/1f/artifacts", "file:///gone/mlartifacts/2f/artifacts"]
    assert rows(uri) == [place, kept[0], f"{place}/0f/artifacts", *kept[1:]]


def test_what_is_no_database_yet_is_left_alone(tmp_path: Path) -> None:
    place = (tmp_path / "mlartifacts").as_uri()
    for uri in (sqlite_url(tmp_path / "mlflow.db"), "http://here:5000", "postgresql://here/db"):
        follow_storage(uri, tmp_path, place)
    (tmp_path / "mlflow.db").touch()
    follow_storage(sqlite_url(tmp_path / "mlflow.db"), tmp_path, place)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
