"""What is said of a failure: the system's words, or a library's first and last ones."""

import pytest
import sqlalchemy

from cmd_tune.tracking.causes import describe_cause


def raised(error, cause=None, context=None):
    """An exception that was raised from a cause, or while another one was handled."""
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("first line\n  second line\n"), "first line second line"),
        (ValueError("   "), "ValueError"),
        (RuntimeError("a library's"), "a library's"),
        (raised(RuntimeError("a library's"), OSError(111, "Connection refused")), "Connection refused"),
        (raised(RuntimeError("a"), context=raised(RuntimeError("b"), OSError(28, "No space left"))), "No space left"),
        (raised(RuntimeError("a"), RuntimeError("pool", OSError(101, "Unreachable"))), "Unreachable"),  # as urllib3's
        (raised(RuntimeError("a"), OSError("timed out")), "timed out"),
        (raised(RuntimeError("the outermost"), KeyError("inside")), "the outermost"),
        (RuntimeError("no answer of http://me:s3cret@host:5000/api"), "no answer of http://me:***@host:5000/api"),
        (RuntimeError("502: <html><style>a {}</style><h1>Bad\nGateway</h1></html>"), "502: Bad Gateway"),
        (RuntimeError("run 'mlflow db upgrade <database_uri>'"), "run 'mlflow db upgrade <database_uri>'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_the_systems_words_if_there_are_such(error, words):
    assert describe_cause(error) == words


def test_a_long_failure_keeps_its_first_and_its_last_words():
    text = f"Out of date. {'word ' * 200}Now run 'mlflow db upgrade URI'. Good luck."
    said = describe_cause(ValueError(text))
    assert len(said) <= 403
    assert said.startswith("Out of date. word ")
    assert " … " in said
    assert said.endswith("word Now run 'mlflow db upgrade URI'. Good luck.")
    assert describe_cause(ValueError("x" * 400)) == "x" * 400
    assert describe_cause(ValueError("x" * 401)) == "x" * 160 + " … " + "x" * 240


def test_of_a_databases_failure_statement_and_link_are_left_out():
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        connection.execute(sqlalchemy.text("INSERT INTO runs VALUES (:a, :b)"), {"a": [1][0], "b": "it"})
    assert describe_cause(caught.value) == "(sqlite3.OperationalError) no such table: runs"
