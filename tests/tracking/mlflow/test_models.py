"""Models in MLflow's registry: real databases, and a real server."""

import subprocess
import sys
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from cmd_tune.tracking import Model, RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.uris import default_uri

LOADER = """
class Scale:
    def __init__(self, factor):
        self.factor = factor

    def predict(self, data):
        return self.factor * data


def _load_pyfunc(path):
    return Scale(float(open(path).read()))
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return default_uri(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def model(tmp_path, request):
    """A package whose model multiplies by the number in its file of weights."""
    code = tmp_path / "scaling"
    (code / "more").mkdir(parents=True)
    for name, text in (("__init__.py", ""), ("loader.py", LOADER), ("more/none.py", "")):
        (code / name).write_text(text)
    (tmp_path / "weights").write_text("3")
    return Model(
        name=request.node.name.replace("[", "-").replace("]", ""),
        about="Scales.",
        note="By *three*.",
        weights=tmp_path / "weights",
        digest="three",
        loader="scaling.loader",
        code=code,
        code_left_out=("more",),
        packages=("numpy",),
        shape_in=(-1, 2),
        shape_out=(-1, 2),
        metric="val/knn/fused",
        score=60.0,
        maximize=True,
        data="f00d",
        tags={"cmd_tune.search": "it", "cmd_tune.trial": "6"},
    )


@pytest.fixture
def session(tmp_path):
    """Shows a search with a model, and closes; returns the lines that were told."""

    def show(uri, model, identity=""):
        told = []
        tracker = open_tracker(
            uri, "synthetic-xview", "it", tmp_path, tell=told.append, identity=identity or model.name
        )
        tracker.show(RunSnapshot(key=None, name="it", params={}, documents={}, model=model))
        assert tracker.close() == ""
        return told

    return show


def versions(uri, name):
    return sorted(MlflowClient(uri, uri).search_model_versions(f"name = '{name}'"), key=lambda each: int(each.version))


def champion(uri, name):
    return int(MlflowClient(uri, uri).get_model_version_by_alias(name, "champion").version)


def test_a_model_is_registered_once_with_its_signature_and_loads_with_its_own_code(database, model, session, tmp_path):
    (line,) = session(database, model)
    assert line == f"MLflow: the encoder is version 1 of the registered model {model.name}; it is its champion"
    assert session(database, model) == []  # a later session, which knows nothing of the first
    (version,) = versions(database, model.name)
    assert version.tags.items() >= {**model.tags, "cmd_tune.metric": "val/knn/fused", "cmd_tune.score": "60.0"}.items()
    assert version.description == "By *three*."
    (run,) = MlflowClient(database).search_runs(["1"], f"tags.`cmd_tune.id` = '{model.name}'")
    assert version.run_id == run.info.run_id
    assert len(run.outputs.model_outputs) == 1
    code = (
        "import mlflow, numpy, sys\n"
        f"mlflow.set_tracking_uri({database!r})\n"
        f"model = mlflow.pyfunc.load_model('models:/{model.name}@champion')\n"
        "print(model.predict(numpy.array([[1, 2]], 'float32')).tolist())\n"
        "print(model.metadata.signature.inputs)\n"
        "import scaling, importlib.util\n"
        "print(importlib.util.find_spec('scaling.more'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path.parent, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[[3.0, 6.0]]", "[Tensor('float32', (-1, 2))]", "None"]


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_by_the_same_metric_on_the_same_data_is_champion(database, model, session, maximize):
    sign = 1 if maximize else -1

    def show(number, score, **changes):
        changes = {"metric": "val/knn/fused", "score": sign * score, **changes}
        told = session(
            database, replace(model, digest=str(number), maximize=maximize, **changes), f"{model.name}{number}"
        )
        assert len(versions(database, model.name)) == number
        return told[0].partition("; ")[2]

    assert show(1, 60) == "it is its champion"
    assert show(2, 59) == f"version 1 stays its champion, with val/knn/fused {60 * sign} against {59 * sign}"
    assert show(3, 60).startswith("version 1 stays")  # as good is not better
    assert show(4, 61).startswith("it is its champion in place of version 1")
    other = "version 4 stays its champion, whose score is of another metric or of other clips"
    assert show(5, 99, metric="val/linear/fused") == other
    assert show(6, 99, data="beef") == other
    assert champion(database, model.name) == 4


def test_what_was_done_before_an_answer_was_lost_is_not_done_again(database, model, session, monkeypatch):
    """Each call is carried out, and its answer lost, once."""
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    lost = set()
    calls = (
        "create_registered_model", "create_logged_model", "log_model_artifacts", "log_outputs", "finalize_logged_model",
        "create_model_version", "set_registered_model_alias",
    )  # fmt: skip

    def losing(name):
        original = getattr(MlflowClient, name)

        def call(*arguments, **options):
            answer = original(*arguments, **options)
            if name not in lost:
                lost.add(name)
                raise ConnectionResetError(name)
            return answer

        return call

    for name in calls:
        monkeypatch.setattr(MlflowClient, name, losing(name))
    assert session(database, model)[-1].endswith("it is its champion")
    assert lost == set(calls)
    (version,) = versions(database, model.name)
    client = MlflowClient(database)
    assert len(client.search_logged_models(["1"], f"source_run_id = '{version.run_id}'")) == 1
    assert champion(database, model.name) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RestException({"error_code": "ENDPOINT_NOT_FOUND", "message": "no registry here"}), "no registry here"),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "not for you"}), "not for you"),
    ],
)
def test_where_there_is_no_registry_a_line_says_so_and_all_else_is_recorded(
    database, model, session, monkeypatch, error, told
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(MlflowClient, "create_registered_model", refuse)
    (line,) = session(database, model)
    assert line.startswith(f"MLflow: the encoder is not registered as {model.name}: ")
    assert line.endswith(told)


@pytest.mark.long
def test_a_server_takes_it_as_well(server, model, session):
    session(server, model)
    (version,) = versions(server, model.name)
    assert champion(server, model.name) == 1
    client = MlflowClient(server)
    (output,) = client.get_run(version.run_id).outputs.model_outputs
    files = {file.path for file in client.list_logged_model_artifacts(output.model_id)}
    assert {"MLmodel", "code", "data", "requirements.txt"} <= files
