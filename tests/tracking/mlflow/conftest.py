"""What the tests of MLflow share: a real server, and a proxy before it."""

import pytest

from tests.tracking.mlflow.servers import Proxy, mlflow_server


@pytest.fixture(autouse=True)
def written_soon(monkeypatch):
    """A trial's snapshot, for the next one of which these tests do not wait."""
    monkeypatch.setattr("cmd_tune.tracking.backlog.SETTLE_S", 0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a real MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    with Proxy(server) as between:
        yield between
        between.shutdown()
