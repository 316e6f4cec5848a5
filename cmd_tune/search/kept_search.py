"""A search as its folder has it, for reading alone: also while another process runs it, and without its data."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from statistics import mean

from cmd_tune.errors import CmdTuneError, UsageError, one_line
from cmd_tune.evaluate.intervals import Interval
from cmd_tune.runs.environment import ENVIRONMENT
from cmd_tune.runs.lock_holder import Use, use_of
from cmd_tune.runs.run_folder import SEARCH_FILE, find_run
from cmd_tune.runs.run_plan import read_plan
from cmd_tune.search.ablations import due_ablations
from cmd_tune.search.confirmations import due_confirmations
from cmd_tune.search.controller import LEAST_ENDED
from cmd_tune.search.plan import SPACE, KeptPlan
from cmd_tune.search.refits import all_tested
from cmd_tune.search.report.verdicts import t_interval
from cmd_tune.search.request import ablation_of, confirm_of, read_space, refit_of, trial_count
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.confirm import Confirm
from cmd_tune.search.spaces.refit import Refit
from cmd_tune.search.study.clock import CLOCK, Clock
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState
from cmd_tune.settings import kept_settings

_ENDED = (TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED)


class SearchState(StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"  # a resume goes on with it
    FINISHED = "finished"
    FAILED = "failed"  # no trial has a result, or more of them failed than the space allows


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a search, and its score: the mean of its runs with fresh seeds if it was confirmed.

    seeds: how many these are; 0 without a confirmation. interval: 95 %, of that mean.
    """

    trial: TrialRecord
    score: float
    seeds: int = 0
    interval: Interval | None = None


@dataclass(frozen=True)
class KeptSearch:
    """A search at the moment it was opened. use: the process that runs it.

    started: of its first session. seconds: that its trials have run, in all sessions; None in folders of earlier
    releases.
    """

    folder: Path
    plan: KeptPlan
    study: SearchStudy
    confirm: Confirm | None
    refit: Refit | None
    ablation: Ablation | None
    use: Use | None
    started: datetime
    seconds: float | None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def metric(self) -> str:
        return self.study.space.metric

    @property
    def state(self) -> SearchState:
        if self.use:
            return SearchState.RUNNING
        over = self.study.complete or self.study.timed_out
        if (over and not self.study.ranked()) or self._too_many_failed:
            return SearchState.FAILED
        if not over or due_confirmations(self.study, self.confirm) or not all_tested(self.study, self.refit):
            return SearchState.INTERRUPTED
        return SearchState.INTERRUPTED if due_ablations(self.study, self.ablation) else SearchState.FINISHED

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return sum(trial.state in _ENDED for trial in self.study.trials.values())

    @property
    def failed(self) -> int:
        """Trials that have failed."""
        return sum(trial.state is TrialState.FAILED for trial in self.study.trials.values())

    @property
    def best(self) -> BestTrial | None:
        """None for a comparison, which selects nothing, and if no trial has finished."""
        ranked = self.study.ranked()
        if not ranked or self.study.space.comparison:
            return None
        fresh = list(self.study.confirmed(ranked[0]).values())
        if len(fresh) > 1:
            return BestTrial(ranked[0], mean(fresh), len(fresh), t_interval(fresh))
        return BestTrial(ranked[0], ranked[0].score(self.metric) or 0.0)

    @property
    def progress(self) -> str:
        """In words: 5 of 12 trials have ended."""
        of = f" of {self.study.budget}" if self.study.budget is not None else ""
        return f"{self.ended}{of} trials have ended"

    @property
    def _too_many_failed(self) -> bool:
        return self.failed > self.study.space.max_failure_rate * max(LEAST_ENDED, self.ended)


def find_search(storage: Path, name: str) -> Path:
    """The folder of a search, by its name in the storage or by its path. Raises UsageError if there is none."""
    folder, command = find_run(storage, name)
    if command != "search":
        raise UsageError(f"{name}: is a run of {command}, and not a search")
    return folder


def open_kept(folder: Path) -> KeptSearch:
    """Read a search's folder, in which nothing is written. Raises CmdTuneError if it is damaged."""
    use = use_of(folder)  # first: what ends meanwhile is shown as running, with all that it had by then
    path = folder / SEARCH_FILE
    plan, space = read_plan(path, KeptPlan), read_space(folder / SPACE)
    space = replace(space, seconds=plan.time or space.seconds)
    settings = kept_settings(f"{path}: settings", plan.settings)
    trials = trial_count(space, plan.trials, settings)
    study = SearchStudy(folder, space, settings, plan.preset, trials, read_only=True)
    used = round(Clock(folder / CLOCK).seconds, 1) if (folder / CLOCK).exists() else None
    confirm, refit = confirm_of(space, plan.confirm, None), refit_of(space, plan.refit, None)
    ablation = ablation_of(space, plan.ablation, None)
    return KeptSearch(folder, plan, study, confirm, refit, ablation, use, _started(folder), used)


def kept_searches(storage: Path) -> Iterator[tuple[Path, KeptSearch | CmdTuneError]]:
    """The searches of a storage by their folders, newest first; the reason for each that cannot be read."""

    def opened(folder: Path) -> KeptSearch | CmdTuneError:
        try:
            return open_kept(folder)
        except CmdTuneError as error:
            return error
        except OSError as error:  # of a file that another user keeps to himself, say
            return CmdTuneError(one_line(error))

    folders = [path.parent for path in storage.absolute().glob(f"*/{SEARCH_FILE}")]
    for folder in sorted(folders, key=lambda folder: (_started(folder), folder.name), reverse=True):
        yield folder, opened(folder)


def _started(folder: Path) -> datetime:
    """When the first session of a search began; when its plan was written if it came to no session."""
    with suppress(OSError, ValueError):
        found = re.search(r"^- started: '?([^'\n]+)", (folder / ENVIRONMENT).read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return datetime.fromisoformat(found[1]).astimezone()
    places = (folder / name for name in (SPACE, SEARCH_FILE))
    times = [path.stat().st_mtime for path in places if path.exists()]
    return datetime.fromtimestamp(min(times, default=0)).astimezone()
