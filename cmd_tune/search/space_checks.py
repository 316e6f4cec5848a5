"""Checks that a space, its settings and its data go together: metrics, settings that have an effect, batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cmd_tune.data.layouts import Layout
from cmd_tune.data.splits import Split
from cmd_tune.data.views.modalities import check_modalities
from cmd_tune.errors import UsageError, did_you_mean
from cmd_tune.evaluate.scores import PROBES
from cmd_tune.formatting import format_value
from cmd_tune.model.objectives import OBJECTIVES
from cmd_tune.runs.run_checks import check_batch
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.settings import AUTO, Settings, check_applies, check_overrides
from cmd_tune.train.costs import PARAMETERS, SECONDS

# Settings that decide which metrics a trial reports.
_DECISIVE = ("objective", "stages", "stage_switch", "modalities", "holdout")


def check_metrics(space: Space, settings: Settings) -> None:
    """Raise UsageError for a metric that some trial does not report which is judged by it."""
    base = settings.model_dump()
    judging = _showing if space.comparison else _judging
    for index, judged in enumerate(space.metrics):
        key = f"metrics[{index}].name" if space.more_metrics else "metric.name"
        _check_metric(space, key, judged.name, space.variants(base, _DECISIVE), base, judging)
    if comparison := space.comparison:
        for metric in comparison.metrics():
            cells = [cell.values for cell in comparison.cells_of(metric)]
            _check_metric(space, "cells, claims", metric, cells, base, _comparing)


def _check_metric(
    space: Space,
    key: str,
    metric: str,
    variants: Sequence[Mapping[str, Any]],
    base: Mapping[str, Any],
    reported: Callable[[Mapping[str, Any]], list[str]],
) -> None:
    """variants: values, over the base, of the trials that the metric judges. reported: the metrics of settings."""
    known = [reported({**base, **values}) for values in variants]
    lacking = next((values for values, names in zip(variants, known, strict=True) if metric not in names), None)
    if lacking is None:
        return
    whole = {**base, **lacking}
    deciding = [name for name in _DECISIVE if any(name in values for values in variants)]
    told = ", ".join(f"{name} {format_value(whole[name])}" for name in deciding)
    whose = f" by trials of {told}" if any(metric in names for names in known) else ""
    if metric.startswith("val/") and whole["holdout"] == "none":
        why = f"'{metric}' needs clips to validate on, of which holdout none leaves none{whose}"
        other = metric.replace("val/", "test/") if space.comparison else "loss/total"
        raise UsageError(f"{space.path}: {key}: {why}; write {other}, or settings: {{holdout: validation}}")
    common = set(known[0]).intersection(*known)
    raise UsageError(f"{space.path}: {key}: '{metric}' is never reported{whose}, {did_you_mean(metric, common)}")


def _judging(settings: Mapping[str, Any]) -> list[str]:
    """The metrics of a trial's last epoch, by which a search may choose."""
    return [*_losses(settings), *_validation(settings), SECONDS, PARAMETERS]


def _showing(settings: Mapping[str, Any]) -> list[str]:
    """The metrics of a comparison's trial, one of which its trials are shown with."""
    return [*_losses(settings), *_comparing(settings)]


def _comparing(settings: Mapping[str, Any]) -> list[str]:
    """The metrics by which cells may be compared."""
    return [*_validation(settings), *_accuracies("test", settings)]


def _losses(settings: Mapping[str, Any]) -> list[str]:
    objective = settings["objective"]
    if settings["stages"] == "two" and settings["stage_switch"] >= 1:
        objective = "base"  # to the end
    return ["loss/total", *([f"loss/{objective}"] if OBJECTIVES[objective].cross_modal else [])]


def _validation(settings: Mapping[str, Any]) -> list[str]:
    return _accuracies("val", settings) if settings["holdout"] == "validation" else []


def _accuracies(prefix: str, settings: Mapping[str, Any]) -> list[str]:
    return [f"{prefix}/{kind}/{stream}" for kind in PROBES for stream in (*settings["modalities"], "fused")]


def check_joints(space: Space, settings: Settings, layout: Layout) -> None:
    """Raise UsageError if some trial has a modality that the joints of the data do not have."""
    for values in space.variants(settings.model_dump(), ("modalities",)):
        check_modalities(values.get("modalities", settings.modalities), layout)


def check_uses(space: Space, settings: Settings, changed: Mapping[str, Any]) -> None:
    """Raise UsageError for what has no effect in a space file or in --set. changed: settings by --set."""
    tried = {
        name: (*parameter.choices, *([getattr(settings, name)] if parameter.when else []))
        for name, parameter in space.parameters.items()
        if parameter.choices
    }
    if not space.comparison:  # a cell gives every setting of the comparison a value
        check_applies(f"{space.path}: parameters", [*space.parameters, *space.fixed], settings, tried)
    for where, keys in ((f"{space.path}: settings", space.settings), ("--set", changed)):
        check_overrides(where, keys, settings, tried)
    rule = stopping_rule(space)
    reason = rule.stops_nothing(settings.epochs, space.seeds) if rule else ""
    if reason and not {"epochs"} & (space.parameters.keys() | changed.keys()):
        raise UsageError(f"{space.path}: early_terminate.{reason}")


def check_precision(space: Space, settings: Settings) -> None:
    """Raise UsageError if a trial would have to measure its precision: those that are compared have known ones."""
    variants = space.variants(settings.model_dump(), ("precision",))
    if any(variant.get("precision") == AUTO for variant in variants) or space.fixed.get("precision") == AUTO:
        raise UsageError(
            f"{space.path}: precision: {AUTO} is measured once, for all trials of a search; write it under settings, "
            "or name the precisions to compare"
        )


def check_fused(space: Space, settings: Settings, fuse: int | None) -> None:
    """Raise UsageError if trials that are to be fused differ in what a process has once: how products are rounded."""
    variants = space.variants(settings.model_dump(), ("precision",))
    found = dict.fromkeys(str(variant.get("precision", settings.precision)) for variant in variants)
    if (fuse or 1) > 1 and len(found) > 1:
        raise UsageError(
            f"--fuse {fuse}: trials of {space.path} differ in precision ({', '.join(found)}), of which a worker has "
            "one; leave it out"
        )


def check_batches(space: Space, settings: Settings, split: Split, workers: int) -> None:
    """Raise UsageError for a batch size that some trial may have, and that the clips or the workers cannot."""
    for size in _batch_sizes(space, settings):
        check_batch(size, len(split.pretrain_N), workers)


def _batch_sizes(space: Space, settings: Settings) -> Collection[int]:
    """The batch sizes that trials of a search may have, without those that a constraint on nothing else rules out."""
    parameter = space.parameters.get("batch_size")
    if parameter is None:
        return [settings.batch_size]
    first, last = (0, 0) if parameter.choices else parameter.multiples()
    values = [*(parameter.choices or [parameter.at(k) for k in range(first, last + 1)])]
    if parameter.when and settings.batch_size not in values:
        values.append(settings.batch_size)
    others = space.parameters.keys() - {"batch_size"}
    rules = [rule for rule in space.constraints if not rule.names & others]
    known = settings.model_dump()
    return [value for value in values if all(rule.holds({**known, "batch_size": value}) for rule in rules)]
