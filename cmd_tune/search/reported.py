"""What reported accuracies were measured on, and whether they may stand beside ours."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cmd_tune.evaluate.scores import PROBES
from cmd_tune.search.parameter import Place
from cmd_tune.search.run import Conditions

REPORTED_ON = "reported_on"
_EXAMPLE = "{by: whom, dataset: ntu-60, protocol: xsub, probes: {knn: 1-NN}}"


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
    spec = at.mapping(value, keys, _EXAMPLE, needed=keys)
    probes = at["probes"].mapping(spec["probes"], PROBES, str(PROBES))
    words = {key: at[key].text(spec[key]) for key in ("by", "dataset", "protocol")}
    return Origin(**words, probes={kind: at["probes"][kind].text(probe) for kind, probe in probes.items()})


def left_out(origin: Origin | None, metrics: Iterable[str], ours: Conditions) -> dict[str, str]:
    """Of the metrics that have reported accuracies, those that may not stand beside ours, and why, in one line."""
    metrics = list(metrics)
    why = ""
    if origin is None:
        why = f"the space file does not say what they were measured on ({REPORTED_ON}: {_EXAMPLE})"
    elif (origin.dataset, origin.protocol) != (ours.dataset, ours.protocol):
        why = f"they are of {origin.dataset} {origin.protocol}, these of {ours.dataset} {ours.protocol}"
    elif ours.partial:
        why = f"this {ours.dataset} {ours.protocol} is not the whole one {ours.partial}"
    if why or origin is None:
        return dict.fromkeys(metrics, why)
    kinds = {metric: metric.split("/")[1] for metric in metrics}
    return {
        metric: f"their probe is {origin.probes.get(kind, 'not named')}, ours {PROBES[kind]}"
        for metric, kind in kinds.items()
        if origin.probes.get(kind) != PROBES[kind]
    }
