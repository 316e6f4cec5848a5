"""What a search would do, before it is started: checked, and shown in lines. Nothing is written; Ray does not start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from cmd_tune.data.splits import describe_pretraining
from cmd_tune.errors import CmdTuneError, Interrupted, UsageError
from cmd_tune.formatting import count, format_value, time_span
from cmd_tune.runs.data_source import made_before
from cmd_tune.search.ablations import ablation_count, describe_ablation
from cmd_tune.search.checks import check_start, disk_line
from cmd_tune.search.confirmations import confirmation_count, describe_confirmations
from cmd_tune.search.execution import ResourcePlan
from cmd_tune.search.execution.resources import plan_resources
from cmd_tune.search.fusing import this_machine, with_fuse
from cmd_tune.search.measured_precision import with_precision
from cmd_tune.search.plan import Plan, plan_of
from cmd_tune.search.refits import describe_refits, refit_count
from cmd_tune.search.request import SearchRequest
from cmd_tune.search.run_texts import beside
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.warm_start import find_warm_start
from cmd_tune.settings import Settings, make_settings


@dataclass(frozen=True)
class Work:
    """The runs of a search, at most: none is stopped early.

    trials: None if the time ends the search. seeds: runs of a trial. epochs: of each run.
    """

    trials: int | None
    seeds: int
    confirmations: int
    refits: int
    ablations: int
    epochs: int

    @property
    def runs(self) -> int | None:
        """Trials and what follows them."""
        follow = self.confirmations + self.refits + self.ablations
        return None if self.trials is None else self.trials * self.seeds + follow

    def __str__(self) -> str:
        """In one line, for people."""
        follow = {"confirmation": self.confirmations, "refit": self.refits, "ablation run": self.ablations}
        again = "".join(f" and {count(number, kind)}" for kind, number in follow.items() if number)
        seeds = f" × {self.seeds} seeds" if self.seeds > 1 else ""
        if self.runs is None:
            return f"trials{seeds} until the time is up{again}, of {count(self.epochs, 'epoch')} each"
        total = f"{self.runs * self.epochs:,} in all"
        return f"{count(self.trials or 0, 'trial')}{seeds}{again}, of {count(self.epochs, 'epoch')} each: {total}"


def show_preview(request: SearchRequest, address: str | None, console: Console, *, probed: bool = False) -> None:
    """Check a new search as its start does, and print what it would do.

    address: of a cluster, of which nothing is asked. probed: whether steps are measured, to predict time and memory, on
    this machine. Raises UsageError for whatever would keep it from starting.
    """
    try:
        with TemporaryDirectory() as folder:
            if request.data is None and not made_before(request.folder.parent):
                source, store = request.open_data(Path(folder))
            else:
                source, store = request.open_data()
            request, precise = with_precision(request, address, (lambda: store.width) if probed else None)
            request, fused = with_fuse(request, address, (lambda: source) if probed else None)
            plan = plan_of(request, source, store)
            layout = None if address or request.fuse_auto else layout_here(plan)
            for line in preview_lines(plan, layout, address, [line for line in (precise, fused) if line]):
                console.print(line, highlight=False, soft_wrap=True, markup=False)
            if probed:
                from cmd_tune.search.prediction import predict

                for line in predict(plan, layout or layout_here(plan)).lines():
                    console.print(line, highlight=False, soft_wrap=True, markup=False)
    except Interrupted:
        raise
    except CmdTuneError as error:  # a disk that is full is a mistake in what is planned
        raise UsageError(*error.args) from error


def layout_here(plan: Plan) -> ResourcePlan:
    """How the trials would be laid out on this machine. Raises UsageError if they do not fit."""
    here = this_machine(plan.resources)
    return plan_resources([here], plan.resources, trials=plan.trials, given=plan.given)


def preview_lines(
    plan: Plan, layout: ResourcePlan | None, address: str | None = None, measured: Sequence[str] = ()
) -> Iterator[str]:
    """What a search would do.

    layout: on this machine; None on the cluster at `address`, which is not asked, or if it is yet to be measured how
    many trials are fused. measured: lines on what is.
    """
    space = plan.space
    remarks = check_start(plan)
    goal = "highest" if space.maximize else "lowest"
    judged = f"shown by {space.metric}" if space.comparison else f"the {goal} {space.metric} is best{beside(space)}"
    yield f"space: {space.path}, method {space.method}, {judged}"
    for name, parameter in space.parameters.items():
        when = f", where {parameter.when.text}" if parameter.when else ""
        if parameter.choices:
            yield f"  {name}: {', '.join(map(format_value, parameter.choices))}{when}"
        else:
            step = f" in multiples of {parameter.q:g}" if parameter.q not in (0, 1) else ""
            even = ", on a log scale" if parameter.log else ""
            yield f"  {name}: {format_value(parameter.low)} to {format_value(parameter.high)}{step}{even}{when}"
    yield f"settings: preset {plan.preset}{_differences(plan)}"
    yield f"data: {plan.dataset}, {plan.source.protocol}, {count(len(plan.source.store()), 'clip')}"
    yield f"runs: {work_of(plan)}"
    yield from _limits(plan)
    if warm := find_warm_start(plan):
        yield str(warm)
    yield from measured
    unknown = f"the cluster at {address} is joined" if address else "that is measured"
    yield f"layout: {layout or f'known once {unknown}'}"
    yield from describe_work(plan, layout.concurrent if layout else 1)
    yield from remarks


def work_of(plan: Plan) -> Work:
    """The runs of a search, at most."""
    epochs = plan.space.parameters.get("epochs")
    most = max(epochs.choices, default=int(epochs.high)) if epochs else plan.settings.epochs
    if epochs and epochs.when:
        most = max(most, plan.settings.epochs)
    follow = (confirmation_count(plan), refit_count(plan), ablation_count(plan))
    return Work(plan.trials, plan.space.seeds, *follow, int(most))


def _limits(plan: Plan) -> Iterator[str]:
    space = plan.space
    if space.comparison:
        cells, seeds = len(space.comparison.cells), len(space.comparison.seeds)
        yield f"  {count(cells, 'cell')} × {count(seeds, 'seed')}"
    if plan.refit and plan.refit.seeds and refit_count(plan):
        yield f"  refits with {count(len(plan.refit.seeds), 'seed')} each"
    if space.seconds:
        yield f"  no longer than {time_span(space.seconds)}, what follows the trials not counted"


def _differences(plan: Plan) -> str:
    """The settings of every trial that are not the preset's, in words."""
    preset = make_settings(plan.preset)
    names = [name for name in Settings.model_fields if name not in plan.space.parameters]
    values = {name: getattr(plan.settings, name) for name in names}
    changed = {name: value for name, value in values.items() if value != getattr(preset, name)}
    return "".join(f", {name} {format_value(value)}" for name, value in changed.items())


def describe_work(plan: Plan, at_once: int) -> Iterator[str]:
    """The clips that trials pretrain on, for each holdout that some trial has; what refits cost, if any; disk space."""
    base = plan.settings.model_dump()
    for holdout in dict.fromkeys({**base, **some}["holdout"] for some in plan.space.variants(base, ("holdout",))):
        store, split = plan.source.open(holdout)
        yield f"pretraining on {describe_pretraining(store, plan.source.protocol, split)}"
    if stopping := describe_stopping(plan, at_once):
        yield stopping
    if confirmations := describe_confirmations(plan):
        yield confirmations
    if refits := describe_refits(plan, plan.source.open(plan.settings.holdout)[1]):
        yield refits
    if ablation := describe_ablation(plan):
        yield ablation
    yield disk_line(plan, at_once, refit_count(plan))


def describe_stopping(plan: Plan, at_once: int) -> str:
    """What early stopping can save and what not, in words; empty if nothing is stopped. at_once: trials."""
    space, rule = plan.space, stopping_rule(plan.space)
    if rule is None or "epochs" in space.parameters:
        return f"early_terminate ({rule.type}): some trials end before their last epoch" if rule else ""
    every = plan.settings.evaluate_every if space.metric.startswith("val/") else 1
    epochs = plan.settings.epochs
    units, unit = (space.seeds, "seed") if rule.over_seeds else (epochs * space.seeds, "epoch")
    look = rule.first_look(epochs)
    look = look if rule.over_seeds else min(-(-look // every) * every, epochs)
    whole = rule.whole_trials
    text = f"early_terminate ({rule.type}): {rule.what_runs_whole()}"
    if plan.trials is not None and plan.trials <= whole:
        return f"{text}; of {plan.trials}, it saves nothing"
    text += f", others {count(look, unit)} of {units} at least"
    if plan.trials is None:
        return f"{text}; it saves {max(0, 100 - 100 * look / units):.0f} % of a trial at most"
    share = max(0.0, 1 - look / units) * (1 - whole / plan.trials)
    text += f"; it saves {100 * share:.0f} % of the epochs at most" if share else "; it saves nothing"
    if share and at_once >= plan.trials:
        text += ", and no time, since all trials run at once"
    return text
