"""A search before it runs: space, settings, data and place, resolved, and written down to be resumed by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmd_tune.config import (
    PRESETS,
    Settings,
    check_applies,
    check_setting,
    make_settings,
    parse_overrides,
    read_settings,
)
from cmd_tune.data.store import open_store
from cmd_tune.errors import UsageError, nearest
from cmd_tune.files import home_path, write_text
from cmd_tune.formatting import shown
from cmd_tune.model.objectives import OBJECTIVES
from cmd_tune.plain_yaml import dump_yaml
from cmd_tune.runs.data_source import DataSource, open_data
from cmd_tune.runs.environment import describe_software
from cmd_tune.runs.run_folder import SEARCH_FILE, earlier_run, new_folder, removed_on_failure
from cmd_tune.runs.run_plan import check_same_data
from cmd_tune.search.spaces.region import RULED
from cmd_tune.search.spaces.space import DEFAULT_TRIALS, LEARNING, LISTED, Space, find_space, load_space
from cmd_tune.tracking import resolve_tracking_uri

SPACE = "space.yaml"  # in a search's folder
_TELLING = ("objective", "stages", "stage_switch", "modalities")  # settings that tell which metrics a trial reports


@dataclass(frozen=True)
class Plan:
    """`settings` are every trial's, before the values of the trial are laid over them."""

    folder: Path
    space: Space
    preset: str
    settings: Settings
    source: DataSource
    dataset: str
    trials: int | None  # None: as many as the time allows
    concurrent: int | None
    workers: int
    gpus_per_worker: float | None
    tracking_uri: str
    environment: Mapping[str, Any] = field(default_factory=describe_software)  # of the first sitting
    new: bool = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def experiment(self) -> str:
        return f"{self.dataset}-{self.source.protocol}"

    @property
    def given(self) -> int:
        """Trials whose values do not depend on the results of others; of a search that time ends, those listed."""
        points = len(self.space.start_points)
        if self.trials is None:
            return points
        return min(self.trials, points) if self.space.method in LEARNING else self.trials


def new_plan(
    space_name: str | None,
    *,
    storage: Path,
    name: str | None,
    data: Path | None,
    protocol: str | None,
    preset: str | None,
    overrides: Sequence[str],
    trials: int | None,
    concurrent: int | None,
    workers: int,
    gpus_per_worker: float | None,
    tracking_uri: str | None,
) -> Plan:
    """Resolve a search and write it into a new folder of the storage. Raises UsageError for what does not fit."""
    if space_name is None:
        raise UsageError("--space: name a space file, for instance --space temps.yaml (or --resume a search)")
    space = load_space(find_space(space_name))
    changed = parse_overrides(overrides)
    if searched := [key for key in changed if key in space.parameters or key in space.fixed]:
        raise UsageError(f"--set {searched[0]}: is a parameter of {space.path}; change it there")
    preset = preset or space.preset or "quick"
    settings = _base_settings(space, preset, changed)
    space.check(settings.model_dump())
    space.check_possible(settings.model_dump())
    _check_metrics(space, settings)
    _check_uses(space, settings, changed)
    source, store = open_data(storage, data, protocol)

    count = _trials(space, trials, settings)
    plan = Plan(
        folder=new_folder(storage, name, space.path.stem),
        space=space,
        preset=preset,
        settings=settings,
        source=source,
        dataset=store.dataset,
        trials=count,
        concurrent=concurrent,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        tracking_uri=resolve_tracking_uri(tracking_uri, storage),
        new=True,
    )
    with removed_on_failure(plan.folder):
        write_text(plan.folder / SPACE, space.path.read_text(encoding="utf-8-sig"))
        _write_plan(plan)
    return plan


def resumed_plan(
    name: str,
    *,
    space_name: str | None,
    kept_options: Mapping[str, Any],
    storage: Path,
    trials: int | None,
    concurrent: int | None,
    workers: int | None,
    gpus_per_worker: float | None,
    tracking_uri: str | None,
) -> Plan:
    """The plan of an earlier search. kept_options: what may not change between sittings, as typed now.

    space_name: a table's space file with more cells or seeds, which then takes the place of its own.
    """
    path = earlier_run(storage, name, SEARCH_FILE, kept=kept_options)
    folder, kept = path.parent, read_settings(path)
    check_same_data(path, kept)
    started = len(list((folder / "trials").glob("*")))
    if trials is not None and trials < started:
        raise UsageError(f"--trials {trials}: {folder.name} has started {started}; ask for more, or leave it out")
    space = load_space(folder / SPACE)
    settings = make_settings(kept["preset"], (f"{folder / SEARCH_FILE}: settings", kept["settings"]))
    if space_name is not None:
        space = _changed_table(folder, space, space_name, settings)
    asked = trials if space_name is not None else trials or kept["trials"]
    plan = Plan(
        folder=folder,
        space=space,
        preset=kept["preset"],
        settings=settings,
        source=DataSource(home_path(kept["data"]), kept["protocol"]),
        dataset=kept["dataset"],
        trials=_trials(space, asked, settings),
        concurrent=concurrent or kept["concurrent"],
        workers=workers or kept["workers"],
        gpus_per_worker=kept["gpus_per_worker"] if gpus_per_worker is None else gpus_per_worker,
        tracking_uri=resolve_tracking_uri(tracking_uri or kept["tracking_uri"], storage),
        environment=kept.get("environment", {}),
    )
    lasting = ("layout",) if space_name is not None else ("layout", "space")
    _write_plan(plan, {key: kept[key] for key in lasting if key in kept})
    return plan


def _changed_table(folder: Path, kept: Space, name: str, settings: Settings) -> Space:
    """The space file `name` in place of a table's own: it may have other cells, seeds and claims, and nothing else."""
    space = load_space(find_space(name))
    if not kept.table or not space.table:
        raise UsageError("--space: a resumed search keeps its own; only a table may get more cells and seeds")
    for key, ours, theirs in (
        ("metric", (space.metric, space.maximize), (kept.metric, kept.maximize)),
        ("settings", space.settings, kept.settings),
        ("cells: settings", sorted(space.parameters), sorted(kept.parameters)),
    ):
        if ours != theirs:
            raise UsageError(f"{space.path}: {key}: not as in {folder.name}; start a new search")
    if dropped := [seed for seed in kept.table.seeds if seed not in space.table.seeds]:
        gone = ", ".join(map(str, dropped))
        raise UsageError(f"{space.path}: seeds: {folder.name} has {gone}, too; a table may get more seeds, not fewer")
    space.check(settings.model_dump())
    _check_metrics(space, settings)
    write_text(folder / SPACE, space.path.read_text(encoding="utf-8-sig"))
    return space


def _base_settings(space: Space, preset: str, changed: Mapping[str, Any]) -> Settings:
    """What every trial starts from; of what is searched, the first point's values, or the preset's where those fit."""

    def laid_over(point: Mapping[str, Any]) -> Settings:
        parameters = {**space.fixed, **point}
        layers = ((f"{space.path}: settings", space.settings), (f"{space.path}: parameters", parameters))
        return make_settings(preset, *layers, ("--set", changed))

    try:
        return laid_over(_first_point(space))
    except UsageError as error:
        if space.table or space.start_points:
            raise
        try:
            single = {key: check_setting("--set", key, value) for key, value in changed.items() if key in RULED}
        except UsageError:
            raise error from None
        whole = {**Settings().model_dump(), **PRESETS.get(preset, {}), **space.settings, **space.fixed, **single}
        if (point := space.region(whole, "base").draw()) is None:
            raise error from None
        return laid_over({name: value for name, value in point.items() if name in RULED})


def _first_point(space: Space) -> dict[str, Any]:
    """Values of the first trial, which complete the settings that the baselines share with it."""
    points = [cell.values for cell in space.table.cells] if space.table else space.start_points
    return next(iter(points), {})


def _check_metrics(space: Space, settings: Settings) -> None:
    """Raise UsageError for a metric that no trial reports, or not every one that is judged by it."""
    base = settings.model_dump()
    _check_metric(space, "metric.name", space.metric, space.variants(base, _TELLING), base, _judging)
    if table := space.table:
        for metric in table.metrics():
            cells = [cell.values for cell in table.cells_of(metric)]
            _check_metric(space, "cells, claims", metric, cells, base, _comparing)


def _check_metric(
    space: Space,
    key: str,
    metric: str,
    variants: Sequence[Mapping[str, Any]],
    base: Mapping[str, Any],
    reported: Callable[[Mapping[str, Any]], list[str]],
) -> None:
    """variants: what is judged by the metric, as values over the base. reported: the metrics of such settings."""
    known = [reported({**base, **values}) for values in variants]
    lacking = next((values for values, names in zip(variants, known, strict=True) if metric not in names), None)
    if lacking is None:
        return
    told = ", ".join(f"{name} {shown(lacking[name])}" for name in _TELLING if name in lacking)
    whose = f" by trials of {told}" if any(metric in names for names in known) else ""
    common = set(known[0]).intersection(*known)
    raise UsageError(f"{space.path}: {key}: '{metric}' is never reported{whose}, {nearest(metric, common)}")


def _judging(settings: Mapping[str, Any]) -> list[str]:
    """What a search may be judged by: metrics of the last epoch."""
    objective = settings["objective"]
    if settings["stages"] == "two" and settings["stage_switch"] >= 1:
        objective = "base"  # to the end
    return [
        "loss/total",
        *([f"loss/{objective}"] if OBJECTIVES[objective].cross_modal else []),
        *_accuracies("val", settings),
    ]


def _comparing(settings: Mapping[str, Any]) -> list[str]:
    """What cells may be compared by."""
    return [*_accuracies("val", settings), *_accuracies("test", settings)]


def _accuracies(place: str, settings: Mapping[str, Any]) -> list[str]:
    return [f"{place}/{kind}/{stream}" for kind in ("knn", "linear") for stream in (*settings["modalities"], "fused")]


def _check_uses(space: Space, settings: Settings, changed: Mapping[str, Any]) -> None:
    """Raise UsageError for what a space file or --set says in vain. changed: by --set."""
    tried = {name: parameter.choices for name, parameter in space.parameters.items() if parameter.choices}
    if not space.table:  # a cell gives every setting of the table a value
        check_applies(f"{space.path}: parameters", [*space.parameters, *space.fixed], settings, tried)
    for where, keys in ((f"{space.path}: settings", space.settings), ("--set", changed)):
        # topk is bounded by queue_size in any case.
        check_applies(where, [key for key in keys if key != "topk"], settings, tried)
    early = space.early_terminate
    if early and early.grace_period >= settings.epochs and not {"epochs"} & (space.parameters.keys() | changed.keys()):
        raise UsageError(
            f"{space.path}: early_terminate.grace_period: {early.grace_period} epochs are all that a trial has "
            f"({settings.epochs}), so that none would be stopped; lower it, or remove early_terminate"
        )


def _trials(space: Space, asked: int | None, settings: Settings) -> int | None:
    if space.method in LISTED:
        listed = space.table.trials() if space.table else space.cells(settings.model_dump())
        count = len(list(listed))
        return min(asked or space.trials or count, count)
    return asked or space.trials or (DEFAULT_TRIALS if space.seconds is None else None)


def record_layout(plan: Plan, layout: str) -> None:
    """Add to the plan how its trials are laid over the machine of this sitting."""
    path = plan.folder / SEARCH_FILE
    write_text(path, dump_yaml({**read_settings(path), "layout": layout}))


def _write_plan(plan: Plan, kept: Mapping[str, Any] | None = None) -> None:
    """kept: what stays as an earlier sitting wrote it."""
    content = {
        "name": plan.name,
        "space": str(plan.space.path),
        "method": plan.space.method,
        "dataset": plan.dataset,
        "data": str(plan.source.path),
        "fingerprint": open_store(plan.source.path).fingerprint,
        "protocol": plan.source.protocol,
        "preset": plan.preset,
        "settings": plan.settings.model_dump(mode="json"),
        "trials": plan.trials,
        "concurrent": plan.concurrent,
        "workers": plan.workers,
        "gpus_per_worker": plan.gpus_per_worker,
        "tracking_uri": plan.tracking_uri,
        "environment": plan.environment,
        **(kept or {}),
    }
    write_text(plan.folder / SEARCH_FILE, dump_yaml(content))
