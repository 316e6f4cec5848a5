"""The origin of reported accuracies, as a space file states it."""

from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from cmd_tune.evaluate.scores import PROBES
from cmd_tune.search.spaces.file_model import FileModel, Text, read_mapping, text

REPORTED_ON = "reported_on"  # the key


def _probes(value: Any) -> dict[str, str]:
    return read_mapping(value, str(PROBES), lambda kind, probe: text(probe), PROBES)


class Origin(FileModel):
    """Data, protocol and probes of accuracies. probes: how "knn" and "linear" are found, in words; ours are PROBES."""

    example: ClassVar[str] = "{by: whom, dataset: ntu-60, protocol: xsub, probes: {knn: 1-NN}}"

    by: Text
    dataset: Text
    protocol: Text
    probes: Annotated[dict[str, str], PlainValidator(_probes)]
