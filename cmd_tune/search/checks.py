"""Checks of a resolved search against its data and its disk, before it starts."""

from collections.abc import Collection

from cmd_tune.runs.run_checks import check_batch, check_disk, checkpoint_bytes
from cmd_tune.search.plan import Plan
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.settings import Settings


def check_start(plan: Plan) -> list[str]:
    """Raise CmdTuneError for a cause that would fail all trials of a search, or all of some batch size.

    Returns remarks to print at the start.
    """
    store, split = plan.source.open(plan.settings.holdout)
    space, settings = plan.space, plan.settings
    for size in batch_sizes(space, settings):
        check_batch(size, len(split.pretrain_N), plan.resources.workers or 1)
    lines = [check_disk(plan.folder, checkpoint_bytes(settings, store.width), plan.trials)]
    rule = stopping_rule(space)
    reason = rule.stops_nothing(settings.epochs) if rule and "epochs" not in space.parameters else ""
    if reason:
        lines.append(f"{space.path}: early_terminate.{reason}")
    return [line for line in lines if line]


def batch_sizes(space: Space, settings: Settings) -> Collection[int]:
    """The batch sizes that trials of a search may have, without those that a constraint on nothing else rules out."""
    parameter = space.parameters.get("batch_size")
    if parameter is None:
        return [settings.batch_size]
    first, last = (0, 0) if parameter.choices else parameter.multiples()
    values = parameter.choices or [parameter.at(k) for k in range(first, last + 1)]
    others = space.parameters.keys() - {"batch_size"}
    rules = [rule for rule in space.constraints if not rule.names & others]
    known = settings.model_dump()
    return [value for value in values if all(rule.holds({**known, "batch_size": value}) for rule in rules)]
