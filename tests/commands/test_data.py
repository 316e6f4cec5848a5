"""The help of `ingest`, which is typed by hand: deriving it would import the readers before a command is known."""

import re

import typer

from cmd_tune.cli import app
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.readers import READERS


def test_the_help_of_ingest_names_every_format_and_no_other(help_of):
    (listed,) = re.findall(r"^Format of the source: (.+)\.$", help_of("ingest", "format_name"))
    assert sorted(re.split(", | or ", listed)) == sorted(READERS)


def test_the_help_of_ingest_names_every_normalisation_and_no_other(help_of):
    (listed,) = re.findall(r"^(.+)\. \[default", help_of("ingest", "normalise"))
    assert re.split(", | or ", listed) == list(NORMALIZATIONS)


def test_the_help_of_ingest_names_the_way_for_what_has_no_format():
    text = typer.main.get_command(app).commands["ingest"].help
    assert [
        word for word in ("generic", "--layout", ".npz", "Parquet", ".npy", ".csv", "index.csv") if word not in text
    ] == []
