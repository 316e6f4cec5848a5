"""The reported accuracies that are not comparable with ours, and why."""

from collections.abc import Iterable, Mapping

from cmd_tune.evaluate.scores import PROBES
from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.spaces.reported import REPORTED_ON, Origin


def left_out(origin: Origin | None, metrics: Iterable[str], ours: Conditions) -> dict[str, str]:
    """The metrics whose reported accuracies are not comparable with ours, each with the reason in one line.

    metrics: those that have reported accuracies. ours: the data and protocol of our test scores.
    """
    metrics = list(metrics)
    why = ""
    if origin is None:
        why = f"the space file does not say what they were measured on ({REPORTED_ON}: {Origin.example})"
    elif (origin.dataset, origin.protocol) != (ours.dataset, ours.protocol):
        why = f"they are of {origin.dataset} {origin.protocol}, these of {ours.dataset} {ours.protocol}"
    elif ours.partial:
        why = f"this {ours.dataset} {ours.protocol} is not the whole one {ours.partial}"
    elif ours.pretrained < ours.training:
        why = f"they are pretrained on the whole training set, ours on {ours.pretrained:,} of {ours.training:,} clips"
    if why or origin is None:
        return dict.fromkeys(metrics, why)
    kinds = {metric: metric.split("/")[1] for metric in metrics}
    return {
        metric: f"their probe is {origin.probes.get(kind, 'not named')}, ours {PROBES[kind]}"
        for metric, kind in kinds.items()
        if origin.probes.get(kind) != PROBES[kind]
    }


def left_out_lines(origin: Origin | None, why: Mapping[str, str], *, all_left_out: bool) -> list[str]:
    """The source of reported accuracies, unless all are left out, and why some are, in one line each."""
    metrics_by_reason: dict[str, list[str]] = {}
    for metric, reason in why.items():
        metrics_by_reason.setdefault(reason, []).append(metric)
    lines = [
        f"Reported accuracies of {' and '.join(metrics)} are left out: {reason}."
        for reason, metrics in metrics_by_reason.items()
    ]
    if origin and not all_left_out:
        lines.insert(0, f"Reported: {origin.by}, {origin.dataset} {origin.protocol}.")
    return lines
