"""The data of a run as an input of MLflow's: what the UI shows in its column Dataset."""

import json
from typing import Any

from cmd_tune.tracking.base import DataInput

_DIGEST = 36  # characters that MLflow takes


def digest_of(data: DataInput) -> str:
    """What tells two contents of a data set apart, as MLflow keeps it."""
    return data.digest[:_DIGEST]


def known_inputs(run: Any) -> set[str]:
    """The digests of the data sets that a run in MLflow has."""
    inputs = getattr(run, "inputs", None)
    return {each.dataset.digest for each in inputs.dataset_inputs} if inputs else set()


def as_input(data: DataInput) -> Any:
    """A data set in MLflow's form."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=data.name,
        digest=digest_of(data),
        source_type="local" if "://" not in data.source else data.source.partition("://")[0],
        source=json.dumps({"uri": data.source}),
        profile=json.dumps(data.profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])
