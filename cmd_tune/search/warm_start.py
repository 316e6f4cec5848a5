"""The finished trials of an earlier search that a new one begins with: found, held against its settings, and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError, UsageError, did_you_mean
from cmd_tune.formatting import count
from cmd_tune.runs.run_folder import SEARCH_FILE
from cmd_tune.runs.run_plan import read_plan
from cmd_tune.search.plan import SPACE, KeptPlan, Plan
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.earlier_trials import EarlierTrial, write_earlier
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.settings import Settings, kept_settings


@dataclass(frozen=True)
class WarmStart:
    """What a search begins with. finished: how many trials of the earlier search have a score."""

    search: str
    trials: Sequence[EarlierTrial]
    finished: int

    def __str__(self) -> str:
        """In one line, for people."""
        text = f"warm start: {len(self.trials)} of {count(self.finished, 'finished trial')} of {self.search}"
        if len(self.trials) < self.finished:
            text += "; the others have other settings, or values outside the parameters"
        return text


def find_warm_start(plan: Plan) -> WarmStart | None:
    """The warm start that the space of a new search asks for; None if it asks for none.

    Raises UsageError if there is no such search, if it is of other data or another metric, or if none of its trials
    fits.
    """
    name = plan.space.warm_start
    if name is None:
        return None
    where, storage = f"{plan.space.path}: warm_start", plan.folder.parent
    folder = storage / name
    if Path(name).name != name or not (folder / SEARCH_FILE).exists():
        names = [path.parent.name for path in storage.glob(f"*/{SEARCH_FILE}") if path.parent != plan.folder]
        there = did_you_mean(name, names) if names else "there is none yet"
        raise UsageError(f"{where}: no search {name} in {storage}; {there}")
    kept, space = read_plan(folder / SEARCH_FILE, KeptPlan), read_space(folder / SPACE)
    for what, ours, theirs in (
        ("data", plan.fingerprint, kept.fingerprint),
        ("protocol", plan.source.protocol, kept.protocol),
        ("metric", plan.space.metric, space.metric),
        ("goal of the metric", plan.space.maximize, space.maximize),
    ):
        if ours != theirs:
            raise UsageError(f"{where}: {name} has another {what}, so that its scores mean something else; remove it")
    base = kept_settings(f"{folder / SEARCH_FILE}: settings", kept.settings)
    try:
        study = SearchStudy(folder, space, base, kept.preset, kept.trials, read_only=True)
    except CmdTuneError as error:
        raise UsageError(f"{where}: {error}") from error
    finished = study.by_own_score()
    found = []
    for trial in finished:
        values = _fitting(study.settings_of(trial), plan.settings, plan.space)
        if values is None:
            continue
        scores = {metric.name: trial.score(metric.name) for metric in plan.space.metrics}
        if absent := [metric for metric, score in scores.items() if score is None]:
            what = f"{', '.join(absent)}, by which trials are judged here"
            raise UsageError(f"{where}: {trial.name} of {name} has no {what}; remove it, or that metric")
        score, *more = (score for score in scores.values() if score is not None)
        found.append(EarlierTrial(name, trial.name, values, score, more))
    warm = WarmStart(name, found, len(finished))
    if not found:
        raise UsageError(f"{where}: {warm}; remove it")
    return warm


def keep_warm_start(plan: Plan) -> WarmStart | None:
    """Write what a new search begins with into its folder. Raises as `find_warm_start`."""
    warm = find_warm_start(plan)
    if warm:
        write_earlier(plan.folder, warm.trials)
    return warm


def _fitting(theirs: Settings, ours: Settings, space: Space) -> dict[str, Any] | None:
    """The values of the parameters in a trial's settings; None if anything else differs, or the space forbids them.

    Only the seed may differ.
    """
    whole = theirs.model_dump(mode="json")
    settings = ours.model_dump(mode="json")
    values = space.conditions.reduced({name: whole[name] for name in space.parameters}, settings)
    for name, value in settings.items():
        if name not in values and name != SEED and whole[name] != value:
            return None
    if any(space.parameters[name].why_invalid(value) for name, value in values.items()):
        return None
    return values if space.allows(values, ours.model_dump()) else None
