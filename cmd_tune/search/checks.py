"""Checks of a resolved search against its data and its disk, before it starts."""

from itertools import product
from pathlib import Path

from cmd_tune.runs.run_checks import (
    CHECKPOINT_SETTINGS,
    bytes_text,
    check_disk,
    checkpoint_bytes,
    describe_disk,
    free_bytes,
)
from cmd_tune.search.plan import Plan
from cmd_tune.search.space_checks import check_batches
from cmd_tune.search.spaces.parameter import is_whole
from cmd_tune.search.spaces.reported import REPORTED, REPORTED_ON, Origin
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.methods import method_of, method_title
from cmd_tune.settings import Settings
from cmd_tune.train.kept_checkpoints import MOST_AT_ONCE


def check_start(plan: Plan) -> list[str]:
    """Raise CmdTuneError for a cause that would fail all trials of a search, or all of some batch size.

    Returns remarks to print at the start.
    """
    store, split = plan.source.open(plan.settings.holdout)
    space, settings = plan.space, plan.settings
    check_batches(space, settings, split, plan.resources.workers or 1)
    check_disk(plan.folder, largest_checkpoint(space, settings, store.width), _kept(plan))
    lines = list(space.remarks) if plan.new else []
    if (title := method_title(space, plan.trials)) != space.method:
        lines.append(f"method {title}")
    if remark := method_of(space, plan.trials).remark(space.parameters):
        lines.append(f"{space.path}: {remark}")
    if _lacks_origin(space):
        unknown = f"{REPORTED}: the report leaves it out, since nothing says what it was measured on"
        lines.append(f"{space.path}: {unknown}; write {REPORTED_ON}: {Origin.example}")
    rule = stopping_rule(space)
    reason = rule.stops_nothing(settings.epochs, space.seeds) if rule and "epochs" not in space.parameters else ""
    if reason:
        lines.append(f"{space.path}: early_terminate.{reason}")
    return lines


def _lacks_origin(space: Space) -> bool:
    """Whether the file has reported accuracies, and does not say what they were measured on."""
    if table := space.comparison:
        return table.origin is None and any(cell.reported for cell in table.cells)
    return bool(space.reported) and space.reported_on is None


def disk_line(plan: Plan, at_once: int, refits: int) -> str:
    """What the checkpoints of a search take at most, in one line. at_once: trials that run at the same time."""
    store, _ = plan.source.open(plan.settings.holdout)
    one = largest_checkpoint(plan.space, plan.settings, store.width)
    if plan.trials is None:
        each = f"{bytes_text(one)} a trial, and {bytes_text((MOST_AT_ONCE - 1) * one)} more of each that runs"
        return f"disk: checkpoints take {each}; {bytes_text(free_bytes(plan.folder))} are free"
    runs = {"trial": plan.trials, "refit": refits}
    return describe_disk(plan.folder, one, runs, min(at_once, plan.trials), _kept(plan))


def largest_checkpoint(space: Space, settings: Settings, channels: int) -> int:
    """Bytes of the largest checkpoint that a trial of a search may have. channels: of the encoders' input."""
    tried = {name: parameter for name, parameter in space.parameters.items() if name in CHECKPOINT_SETTINGS}
    values = ([max(p.choices, default=int(p.high))] if is_whole(name) else list(p.choices) for name, p in tried.items())
    own = settings.model_dump()
    values = ([*some, *([own[name]] if tried[name].when else [])] for name, some in zip(tried, values, strict=True))
    variants = (dict(zip(tried, chosen, strict=True)) for chosen in product(*values))
    return max(checkpoint_bytes(settings.model_copy(update=variant), channels) for variant in variants)


def _kept(plan: Plan) -> list[Path]:
    """Checkpoints of earlier sessions."""
    return [path for place in ("*", "*/*-*") for path in plan.folder.glob(f"trials/{place}/*.pt")]
