"""Reported accuracies and their origin, as a space file states them."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from cmd_tune.data.views.modalities import MODALITIES
from cmd_tune.evaluate.scores import PROBES
from cmd_tune.search.spaces.file_model import FileModel, Text, number, read_mapping, text

REPORTED, REPORTED_ON = "reported", "reported_on"  # the keys
TESTED = tuple(f"test/{kind}/{stream}" for kind in PROBES for stream in (*MODALITIES, "fused"))  # metrics


def _probes(value: Any) -> dict[str, str]:
    return read_mapping(value, str(PROBES), lambda kind, probe: text(probe), PROBES)


class Origin(FileModel):
    """Data, protocol and probes of accuracies. probes: how "knn" and "linear" are found, in words; ours are PROBES."""

    example: ClassVar[str] = "{by: whom, dataset: ntu-60, protocol: xsub, probes: {knn: 1-NN}}"

    by: Text
    dataset: Text
    protocol: Text
    probes: Annotated[dict[str, str], PlainValidator(_probes)]


def read_reported(value: Any, known: Collection[str] | None = None) -> dict[str, float]:
    """Accuracies in percent by metric. known: the metrics there may be; None: any. Raises ValueError."""
    return read_mapping(value, "{metric: percent}", lambda metric, accuracy: _percent(accuracy), known)


def read_tested(value: Any) -> dict[str, float]:
    """The same of a search, whose best trial has accuracies on the test set alone. Raises ValueError."""
    return read_reported(value, TESTED)


def _percent(value: Any) -> float:
    if not 0 <= number(value) <= 100:
        raise ValueError(f"{value} is no accuracy in percent; write a number of 0 to 100")
    return float(value)
