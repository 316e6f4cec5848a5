"""Secrets in URIs, as people write them, and URIs without any, which stay as they are."""

import pytest

from cmd_tune.redact import is_redacted, redact

SECRETS = [
    ("http://me:s3cret@host:5000", "http://me:***@host:5000"),
    ("https://me:p%40ss@host/mlflow", "https://me:***@host/mlflow"),
    ("http://me:a@b@host", "http://me:***@host"),
    ("http://me:a:b@host", "http://me:***@host"),
    ("http://me:a/b@host", "http://me:***@host"),
    ("http://me:12345@host", "http://me:***@host"),
    ("http://me:123#5@host", "http://me:***@host"),
    ("http://:s3cret@host", "http://:***@host"),
    ("https://gho_token@host/x", "https://***@host/x"),
    ("postgresql+psycopg2://me:pw@db:5432/mlflow?sslmode=require", "postgresql+psycopg2://me:***@db:5432/mlflow?sslmode=require"),
    ("postgresql://db/mlflow?user=me&password=pw&sslmode=on", "postgresql://db/mlflow?user=me&password=***&sslmode=on"),
    ("s3://KEY:SECRET@bucket/runs?endpoint_override=http://h:1", "s3://KEY:***@bucket/runs?endpoint_override=http://h:1"),
    ("s3://bucket?secret_key=abc&access_key=def", "s3://bucket?secret_key=***&access_key=***"),
    ("https://acc.blob/x?sv=2024&sig=abc%3D", "https://acc.blob/x?sv=2024&sig=***"),
]  # fmt: skip
PLAIN = [
    "http://host:5000",
    "http://host:5000/path@2",
    "http://[::1]:5000/#/experiments/1/runs?viewStateShareKey=ab12&workflowType=machine_learning",
    "sqlite:////runs/a:b@c/mlflow.db",
    "sqlite+pysqlite:///file:///runs/a%3Fb@c.db?uri=true",
    "postgresql://me@db/mlflow",
    "postgresql+psycopg2://me:@/mlflow?host=/run/pg",
    "s3://bucket/me@home",
    "mail me@home: now",
]


@pytest.mark.parametrize(("uri", "shown"), SECRETS)
def test_no_secret_is_left(uri: str, shown: str) -> None:
    assert redact(uri) == shown
    assert redact(f"it is '{uri}', no answer; see {uri}") == f"it is '{shown}', no answer; see {shown}"
    assert redact(shown) == shown
    assert is_redacted(shown)


@pytest.mark.parametrize("text", PLAIN)
def test_what_has_no_secret_stays(text: str) -> None:
    assert redact(text) == text
    assert not is_redacted(text)
