"""What a person asks a new search for, checked as far as it goes without making data: space, settings, folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cmd_tune.data.splits import split_store
from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.remote_files import Place
from cmd_tune.runs.data_source import DataSource, open_data
from cmd_tune.runs.run_folder import free_folder, new_folder
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.space_checks import (
    check_batches,
    check_fused,
    check_joints,
    check_metrics,
    check_precision,
    check_uses,
)
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.spaces.confirm import Confirm
from cmd_tune.search.spaces.forms import seconds
from cmd_tune.search.spaces.refit import Refit
from cmd_tune.search.spaces.region import RULED
from cmd_tune.search.spaces.space import DEFAULT_TRIALS, Space
from cmd_tune.search.spaces.space_file import find_space, load_space
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.methods import METHODS, method_of
from cmd_tune.settings import PRESETS, Settings, check_setting, make_settings, parse_overrides
from cmd_tune.tracking import resolve_tracking_uri

FollowUp = TypeVar("FollowUp", Confirm, Ablation)  # what runs once the trials have ended, with fresh seeds
_NO_FRESH_SEEDS = "the seed is searched, so that there are no fresh ones; leave it out"


@dataclass(frozen=True)
class SearchRequest:
    """A new search that may begin: all is checked but data that are yet to be made or fetched."""

    folder: Path  # new, and empty; of a dry request not there
    space: Space
    preset: str
    settings: Settings
    trials: int | None  # None: as many as the time allows
    resources: ResourceRequest
    tracking_uri: str
    refit: Refit | None
    confirm: Confirm | None
    ablation: Ablation | None
    data: Place | None  # None: made-up actions
    protocol: str | None
    fuse_auto: bool = False  # whether the number of fused trials is yet to be measured

    def open_data(self, storage: Path | None = None) -> tuple[DataSource, Store]:
        """The data, which are made or fetched first if need be: that takes seconds. Raises UsageError.

        storage: where made-up data go; None: the search's own.
        """
        return _open_data(
            storage or self.folder.parent, self.data, self.protocol, self.space, self.settings, self.resources
        )


def check_request(
    space_name: str | None,
    *,
    storage: Path,
    name: str | None,
    data: Place | None,
    protocol: str | None,
    preset: str | None,
    overrides: Sequence[str],
    trials: int | None,
    time: str | None = None,
    refit: bool | None = None,
    confirm: bool | None = None,
    ablation: bool | None = None,
    resources: ResourceRequest,
    tracking_uri: str | None,
    fuse_auto: bool = False,
    dry: bool = False,
) -> SearchRequest:
    """Resolve what was typed for a new search, and make its folder. Raises UsageError for what does not fit.

    fuse_auto: whether the number of fused trials is measured. dry: whether to make no folder.

    time: how long the trials may run in all, as typed; None: as the space file says.
    refit, confirm, ablation: whether to refit the finalists, to confirm them, and to run the path from the start point
    to the best trial; None: as the space file says.
    """
    if space_name is None:
        raise UsageError("--space: name a space file, for instance --space temps.yaml (or --resume a search)")
    space = read_space(find_space(space_name))
    space = replace(space, seconds=typed_seconds(time) or space.seconds)
    changed = parse_overrides(overrides)
    if searched := [key for key in changed if key in space.parameters or key in space.fixed]:
        raise UsageError(f"--set {searched[0]}: is a parameter of {space.path}; change it there")
    preset = preset or space.preset or "quick"
    settings = _base_settings(space, preset, changed)
    space.check(settings.model_dump())
    space.check_possible(settings.model_dump())
    check_metrics(space, settings)
    check_uses(space, settings, changed)
    check_precision(space, settings)
    check_fused(space, settings, resources.fuse)
    resources = resources.or_else(ResourceRequest(workers=1))
    if isinstance(data, Path):
        _open_data(storage, data, protocol, space, settings, resources)
    return SearchRequest(
        tracking_uri=resolve_tracking_uri(tracking_uri, storage),
        folder=(free_folder if dry else new_folder)(storage, name, space.path.stem),
        space=space,
        preset=preset,
        settings=settings,
        trials=trial_count(space, trials, settings),
        resources=resources,
        refit=refit_of(space, space.refit, refit),
        confirm=confirm_of(space, space.confirm, confirm),
        ablation=ablation_of(space, space.ablation, ablation),
        data=data,
        protocol=protocol,
        fuse_auto=fuse_auto,
    )


def _open_data(
    storage: Path,
    data: Place | None,
    protocol: str | None,
    space: Space,
    settings: Settings,
    resources: ResourceRequest,
) -> tuple[DataSource, Store]:
    source, store = open_data(storage, data, protocol)
    _, split = split_store(store, source.protocol, settings.holdout)
    check_joints(space, settings, store.layout)
    check_batches(space, settings, split, resources.workers or 1)
    return source, store


def given_count(space: Space, trials: int | None) -> int:
    """Trials whose values do not depend on the results of others; if time ends the search, those listed."""
    points = len(space.start_points)
    if trials is None:
        return points
    return min(trials, points) if method_of(space, trials).learns else trials


def read_space(path: Path) -> Space:
    """A space file with the methods and rules of early stopping that there are. Raises UsageError."""
    return load_space(path, METHODS, EARLY_STOPPING)


def typed_seconds(typed: str | None) -> float | None:
    """Seconds that were typed. Raises UsageError."""
    try:
        return None if typed is None else seconds(float(typed) if typed.isdecimal() else typed)
    except ValueError as error:
        raise UsageError(f"--time: {error}") from None


def _base_settings(space: Space, preset: str, changed: Mapping[str, Any]) -> Settings:
    """The settings that every trial starts from; parameters have the first point's values, or the preset's.

    Those that count in some trials alone have the preset's, as far as these go with the point: what other trials have
    does not depend on it.
    """

    def laid_over(point: Mapping[str, Any]) -> Settings:
        parameters = {**space.fixed, **point}
        # A comparison selects nothing, so that it needs no validation, unless its file asks for it.
        whole = ("comparison", {"holdout": "none"} if space.comparison else {})
        layers = (whole, (f"{space.path}: settings", space.settings), (f"{space.path}: parameters", parameters))
        return make_settings(preset, *layers, ("--set", changed))

    first = _first_point(space)
    try:
        return laid_over({name: value for name, value in first.items() if name not in space.conditions.conditional})
    except UsageError as error:
        if space.comparison or space.start_points:
            return laid_over(first)
        try:
            single = {key: check_setting(key, value) for key, value in changed.items() if key in RULED}
        except ValueError:
            raise error from None
        whole = {**Settings().model_dump(), **PRESETS.get(preset, {}), **space.settings, **space.fixed, **single}
        if (point := space.region(whole, "base").draw()) is None:
            raise error from None
        return laid_over({name: value for name, value in point.items() if name in RULED})


def _first_point(space: Space) -> dict[str, Any]:
    """Values of the first trial, which the baselines share with it."""
    points = [cell.values for cell in space.comparison.cells] if space.comparison else space.start_points
    return next(iter(points), {})


def trial_count(space: Space, asked: int | None, settings: Settings) -> int | None:
    if space.lists_trials:
        listed = space.comparison.trials() if space.comparison else space.cells(settings.model_dump())
        count = len(list(listed))
        return min(asked or space.trials or count, count)
    return asked or space.trials or (DEFAULT_TRIALS if space.seconds is None else None)


def refit_of(space: Space, asked: Refit | None, wanted: bool | None) -> Refit | None:
    """Raises UsageError for a refit of a comparison, which has no finalists."""
    if wanted and space.comparison:
        raise UsageError("--refit: a table selects nothing, and pretrains on the whole training set; leave it out")
    return asked if wanted is None else (asked or space.refit or Refit()) if wanted else None


def _unless(why: str, option: str, asked: FollowUp | None, own: FollowUp, wanted: bool | None) -> FollowUp | None:
    """What was asked before or, if it is wanted now, the space's own. why: it cannot be; a mistake if it is wanted."""
    if wanted and why:
        raise UsageError(f"{option}: {why}")
    if why or wanted is False:
        return None
    return asked or (own if wanted else None)


def confirm_of(space: Space, asked: Confirm | None, wanted: bool | None) -> Confirm | None:
    """Raises UsageError for a confirmation of what cannot be run again with other seeds."""
    why = ""
    if space.comparison:
        why = "a table runs every cell with every seed; leave it out, and add seeds"
    elif SEED in space.parameters:
        why = _NO_FRESH_SEEDS
    return _unless(why, "--confirm", asked, space.confirm or Confirm(), wanted)


def ablation_of(space: Space, asked: Ablation | None, wanted: bool | None) -> Ablation | None:
    """Raises UsageError for an ablation of what has no start point, or cannot be run again with other seeds."""
    why = ""
    if space.comparison:
        why = "a table compares its cells as they are; leave it out"
    elif SEED in space.parameters:
        why = _NO_FRESH_SEEDS
    elif not space.start_points:
        why = "there is no start point to begin at; leave it out, or write points_to_evaluate"
    return _unless(why, "--ablation", asked, space.ablation or Ablation(), wanted)
