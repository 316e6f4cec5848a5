"""Trained models in MLflow's registry: saved as `python_function`, versioned, the best one under an alias.

As all of a tracker's calls, these can be repeated: what is there already is found by the digest of the weights.
"""

import json
import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cmd_tune.tracking.base import Model

CHAMPION = "champion"  # alias
DIGEST, METRIC, SCORE, DATA = "cmd_tune.digest", "cmd_tune.metric", "cmd_tune.score", "cmd_tune.data"  # tags
_KEPT = 250  # characters of a tag's value that every registry takes


def register(client: Any, experiment_id: str, run_id: str, model: Model) -> str:
    """Register a model as a new version of its name, unless it is there; returns a line that says which."""
    _make_name(client, model)
    found = _version_of(client, model) or _make_version(client, experiment_id, run_id, model)
    said = f"version {found.version} of the registered model {model.name}"
    return f"the encoder is {said}; {_choose_champion(client, model, str(found.version))}"


def save(model: Model, place: Path) -> None:
    """Write the model into a folder that is not there, in MLflow's form."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        code = Path(temporary) / model.code.name
        shutil.copytree(model.code, code, ignore=shutil.ignore_patterns("__pycache__", *model.code_left_out))
        signature = ModelSignature(
            Schema([TensorSpec(np.dtype("float32"), model.shape_in)]),
            Schema([TensorSpec(np.dtype("float32"), model.shape_out)]),
        )
        warnings.simplefilter("ignore", UserWarning)  # it asks for an example, which the signature does without
        mlflow.pyfunc.save_model(
            str(place),
            loader_module=model.loader,
            data_path=str(model.weights),
            code_paths=[str(code)],
            signature=signature,
            pip_requirements=[f"{name}=={_public(version(name))}" for name in ("mlflow", *model.packages)],
            metadata=model.tags,
        )


def _public(text: str) -> str:
    """A version as package indexes have it, without what a build adds: 2.13.0+cpu → 2.13.0."""
    return text.partition("+")[0]


def _make_name(client: Any, model: Model) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model.name, description=model.about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_of(client: Any, model: Model) -> Any:
    """The version that has these weights; None if there is none."""
    versions = client.search_model_versions(f"name = '{model.name}'", max_results=1000)
    return next((each for each in versions if each.tags.get(DIGEST) == model.digest), None)


def _make_version(client: Any, experiment_id: str, run_id: str, model: Model) -> Any:
    logged = _logged(client, experiment_id, run_id, model)
    tags = {**model.tags, DIGEST: model.digest, METRIC: model.metric, SCORE: repr(model.score), DATA: model.data}
    return client.create_model_version(
        model.name,
        logged.artifact_location,  # of models:/ID, MLflow would ask its global server
        run_id,
        tags={name: value[:_KEPT] for name, value in tags.items()},
        description=model.note,
        await_creation_for=0,
        model_id=logged.model_id,
    )


def _logged(client: Any, experiment_id: str, run_id: str, model: Model) -> Any:
    """The model among those of its run, with its files."""
    from mlflow.entities import LoggedModelOutput

    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    logged = next((each for each in found if each.tags.get(DIGEST) == model.digest), None)
    if logged is None:
        logged = client.create_logged_model(experiment_id, model.name, run_id, tags={DIGEST: model.digest})
    if str(logged.status) != "READY":
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / "model"
            save(model, place)
            client.log_model_artifacts(logged.model_id, str(place))
        outputs = client.get_run(run_id).outputs
        if logged.model_id not in [each.model_id for each in (outputs.model_outputs if outputs else [])]:
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        client.finalize_logged_model(logged.model_id, "READY")
    return logged


def _choose_champion(client: Any, model: Model, number: str) -> str:
    """Give the alias to the new version if it is the first, or better than the one that has it. Says who has it."""
    champion = _champion(client, model.name)
    if champion is None:
        client.set_registered_model_alias(model.name, CHAMPION, number)
        return f"it is its {CHAMPION}"
    if str(champion.version) == number:
        return f"it is its {CHAMPION}"
    stays = f"version {champion.version} stays its {CHAMPION}"
    if (champion.tags.get(METRIC), champion.tags.get(DATA)) != (model.metric, model.data[:_KEPT]):
        return f"{stays}, whose score is of another metric or of other clips"
    score = float(json.loads(champion.tags.get(SCORE, "NaN")))
    better = model.score > score if model.maximize else model.score < score
    if not better:
        return f"{stays}, with {model.metric} {score:.4g} against {model.score:.4g}"
    client.set_registered_model_alias(model.name, CHAMPION, number)
    before = f"in place of version {champion.version}"
    return f"it is its {CHAMPION} {before}, with {model.metric} {model.score:.4g} against {score:.4g}"


def _champion(client: Any, name: str) -> Any:
    """The version that has the alias; None if none has."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
