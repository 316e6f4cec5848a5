"""Commands as they are typed, run in this process; `cli.main` gives out what ends them as lines and an exit code."""

from typer.testing import CliRunner

from cmd_tune.cli import app
from cmd_tune.errors import UsageError


def invoke(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def refused(*words, kind=UsageError):
    """What a command ends with, which is of this kind."""
    error = invoke(*words).exception
    assert isinstance(error, kind)
    return error
