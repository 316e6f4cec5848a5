"""What reported accuracies were measured on, as a space file states it."""

from dataclasses import dataclass
from typing import Any

from cmd_tune.evaluate.scores import PROBES
from cmd_tune.search.spaces.parameter import Place

REPORTED_ON = "reported_on"
EXAMPLE = "{by: whom, dataset: ntu-60, protocol: xsub, probes: {knn: 1-NN}}"


@dataclass(frozen=True)
class Origin:
    """probes: by what each kind of accuracy ("knn", "linear") was found, in words; ours are in PROBES."""

    by: str
    dataset: str
    protocol: str
    probes: dict[str, str]


def read_origin(at: Place, value: Any) -> Origin:
    """Raises UsageError."""
    keys = ("by", "dataset", "protocol", "probes")
    spec = at.mapping(value, keys, EXAMPLE, needed=keys)
    probes = at["probes"].mapping(spec["probes"], PROBES, str(PROBES))
    words = {key: at[key].text(spec[key]) for key in ("by", "dataset", "protocol")}
    return Origin(**words, probes={kind: at["probes"][kind].text(probe) for kind, probe in probes.items()})
