"""What the tracker shows of a search: the search as a run, its trials and baselines inside it, with notes and tags."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from cmd_tune.errors import CmdTuneError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.formatting import count, format_value
from cmd_tune.runs.environment import ENVIRONMENT, git_commit, last_commit
from cmd_tune.runs.run_records import EPOCHS, SCORES, cost, data_input, rounded_metrics, run_note
from cmd_tune.search.confirmations import confirmation_count
from cmd_tune.search.execution import ResourcePlan
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.plan import KeptLayout, Plan
from cmd_tune.search.report import SearchReport
from cmd_tune.search.report.live import state_with_reason
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.run_texts import (
    beside,
    lasting_checkpoint,
    named_parameters,
    trial_params,
    trial_title,
    written_params,
)
from cmd_tune.search.study.methods import method_title
from cmd_tune.search.study.pareto_front import trials_on_front
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import RepeatRecord, TrialRecord, TrialState
from cmd_tune.tracking import BackgroundTracker, Model, Page, RunSnapshot, RunStatus
from cmd_tune.train.costs import COST, PARAMETERS, SECONDS
from cmd_tune.train.loop import CHECKPOINT

STATE, FAILURE = "cmd_tune.state", "cmd_tune.failure"  # tags
FRONT = "cmd_tune.front"  # a tag: whether a trial is on the Pareto front, once the search has ended
FRESH = "confirm/"  # begins the name of a trial's mean over fresh seeds
SWEEP = "cmd_tune."  # tags of a search: before the keys name, description and project of its file
# Key of a baseline's run → its name, and the settings that its scores depend on.
_BASELINES = {
    "untrained": ("untrained encoder", ("modalities", "encoder", "hidden_size", "layers", "frames", "seed", "holdout")),
    "raw": ("raw skeletons, 1-NN", ("modalities", "holdout")),
}
_STATUS = {
    TrialState.RUNNING: RunStatus.RUNNING,
    TrialState.UNFINISHED: RunStatus.STOPPED,
    TrialState.FINISHED: RunStatus.FINISHED,
    TrialState.STOPPED: RunStatus.FINISHED,  # it did what it should: servers show what was stopped beside failures
    TrialState.FAILED: RunStatus.FAILED,
}

_OPEN = (TrialState.RUNNING, TrialState.UNFINISHED)


class TrackerListener(SearchListener):
    """Shows a search and its trials on the tracking server."""

    def __init__(
        self, plan: Plan, study: SearchStudy, resources: ResourcePlan | KeptLayout | None, tracker: BackgroundTracker
    ) -> None:
        """resources: if all trials have been run, those that the plan file has, if it has some."""
        self.plan, self.study, self.resources, self.tracker = plan, study, resources, tracker
        self._started: set[int] = set()  # trials that this run session has run, by this code
        self._heard: set[int] = set()  # trials that have reported in it, so that their folder says where they run
        self._epochs: dict[int, list[dict[str, float]]] = {}  # by trial, as they are shown
        source = plan.source
        self._data = data_input(plan.dataset, plan.fingerprint, source.place, source.protocol, plan.normalization)
        self._model: Model | None = None
        self._front: list[TrialRecord] = []  # known at the end
        # None until there is something to run: the end of a search that proves to be finished is not to be moved.
        self._status: RunStatus | None = None

    def opened(self) -> None:
        self._show_search(self._status)
        if not self.study.trials:
            self.continued()
        for trial in self.study.trials.values():
            self._show(trial)

    def continued(self) -> None:
        if self._status is not RunStatus.RUNNING:
            self._status = RunStatus.RUNNING
            self._show_search(self._status)

    def started(self, run: TrialRecord) -> None:
        self._started.add(run.index)
        self._show(self.study.trials[run.index])

    def reported(self, run: TrialRecord, records: Sequence[dict[str, float]]) -> None:
        self._heard.add(run.index)
        if records:
            self._show(self.study.trials[run.index])

    def ended(self, trial: TrialRecord) -> None:
        self._show(trial)

    def tested(self, trial: TrialRecord) -> None:
        self._show(trial)

    def repeat_ended(self, repeat: RepeatRecord) -> None:
        self._show(self.study.trials[repeat.index])

    def interrupted(self, status: RunStatus) -> None:
        for trial in self.study.trials.values():
            self._show(trial)
        if self._status is RunStatus.RUNNING or status is RunStatus.FAILED:
            self._show_search(status)

    def won(self, model: Model) -> None:
        self._model = model

    def closed(self, status: RunStatus, report: SearchReport, best: TrialRecord | None) -> None:
        self._front = trials_on_front(self.study)
        for trial in self.study.trials.values():
            # Unfinished since the time was up, or the search could not go on.
            if trial.state is TrialState.UNFINISHED or self._front:
                self._show(trial)
        if best and (checkpoint := lasting_checkpoint(best)).exists():
            self._show(best, files=[checkpoint])
        for key, scores in report.baselines.items():
            self._show_baseline(key, scores)
        self._show_search(status, report)

    def _show_search(self, status: RunStatus | None, report: SearchReport | None = None) -> None:
        """The parent run; with a report, also best values, the table of trials and the search's files."""
        plan = self.plan
        self.tracker.show(
            RunSnapshot(
                key=None,
                name=plan.name,
                params={
                    "method": method_title(plan.space, plan.trials),
                    "metric": ", ".join(metric.name for metric in plan.space.metrics),
                    "trials": plan.trials or "as many as the time allows",
                    "preset": plan.preset,
                    "dataset": plan.dataset,
                    **({"normalization": plan.normalization} if plan.normalization else {}),
                    "protocol": plan.source.protocol,
                    "workers": plan.resources.workers,
                },
                documents={"settings.yaml": plan.settings.model_dump(mode="json")},
                tags={f"{SWEEP}{key}": value for key, value in plan.space.texts.items()},
                note=self._note(report),
                data=self._data,
                commit=git_commit() or "" if self._status is RunStatus.RUNNING else last_commit(plan.folder),
                scores=rounded_metrics(report.metrics | self._cost_of_all()) if report else {},
                files=[*_environment(plan.folder), *(report.files if report else [])],
                model=self._model,
                table=trials_columns(self.study) if report else {},
                status=status,
                reason=self.study.shortfall,
                page=search_page(plan),
            )
        )

    def _note(self, report: SearchReport | None) -> str:
        """The answer first, once there is one, then the first figure, then what was asked."""
        asked = search_note(self.plan, self.resources) if self.resources else ""
        if report is None:
            return asked
        figures = (f"![{path.stem}](artifact:{path.name})" for path in report.files if path.suffix == ".png")
        return "\n\n".join(filter(None, (report.summary, next(figures, ""), asked)))

    def _show(self, trial: TrialRecord, *, files: Sequence[Path] = ()) -> None:
        try:
            settings = self.study.settings_of(trial)
        except CmdTuneError:
            settings = self.plan.settings
        self.tracker.show(
            RunSnapshot(
                key=trial.index,
                name=trial_title(trial, named_parameters(self.plan.space)),
                params=trial_params(trial, settings),
                documents={"settings.yaml": settings.model_dump(mode="json")},
                note=trial_note(trial),
                data=self._data,
                commit=git_commit() or "" if trial.index in self._started else last_commit(trial.folder),
                tags=trial_tags(trial) | ({FRONT: "yes" if trial in self._front else "no"} if self._front else {}),
                epochs=self._rounded_epochs(trial),
                scores=rounded_metrics(
                    trial.tests | self._over_seeds(trial) | ({} if trial.state in _OPEN else self._costs(trial))
                ),
                files=[*(_environment(trial.folder) if self._says_where(trial) else []), *files],
                status=_STATUS[trial.state],
                reason=trial.reason,
            )
        )

    def _cost_of_all(self) -> dict[str, float]:
        return cost_of(self.study.trials.values(), self.resources)

    def _costs(self, trial: TrialRecord) -> dict[str, float]:
        """What it and its repeats have cost; where the search is judged by a cost, what the trial is judged by."""
        judged = [metric.name for metric in self.study.space.metrics if metric.name.startswith(COST)]
        own = {name: score for name in (PARAMETERS, *judged) if (score := trial.score(name)) is not None}
        return cost_of([trial], self.resources) | own

    def _rounded_epochs(self, trial: TrialRecord) -> list[dict[str, float]]:
        """The history of a trial as it is shown; each epoch is rounded once."""
        known = self._epochs.setdefault(trial.index, [])
        known += map(rounded_metrics, trial.history[len(known) :])
        return list(known)

    def _show_baseline(self, key: str, scores: Scores) -> None:
        """A baseline as a run beside the trials, with metrics of the same names."""
        name, settings = _BASELINES[key]
        self.tracker.show(
            RunSnapshot(
                key=key,
                name=name,
                params=written_params({setting: getattr(self.plan.settings, setting) for setting in settings}),
                documents={},
                data=self._data,
                note=f"A baseline of {self.plan.name}, without training: {name}.",
                commit=last_commit(self.plan.folder),
                scores=rounded_metrics(scores),
                status=RunStatus.FINISHED,
            )
        )

    def _over_seeds(self, trial: TrialRecord) -> dict[str, float]:
        """What judges it over its seeds, and its score over fresh ones, if it has several."""
        metric, fresh = self.study.space.metric, self.study.confirmed(trial)
        names = [judged.name for judged in self.study.space.metrics] if len(trial.runs) > 1 else []
        scores = {f"seeds/{name}": score for name in names if (score := trial.score(name)) is not None}
        return scores | ({f"{FRESH}{metric}": mean(fresh.values())} if len(fresh) > 1 else {})

    def _says_where(self, trial: TrialRecord) -> bool:
        """Whether the trial's folder says where it ran last."""
        return trial.index in self._heard or trial.index not in self._started


def cost_of(trials: Iterable[TrialRecord], resources: ResourcePlan | KeptLayout | None) -> dict[str, float]:
    """What trials and their repeats have cost; without hours of CPUs and GPUs if it is not known what they held."""
    runs = [run for trial in trials for run in trial.every_run]
    history = [record for run in runs for record in run.history]
    if resources and (each := resources.per_trial):
        return cost(history, workers=each.workers, cpus=each.cpus / each.fused, gpus=each.gpus / each.fused)
    costs = cost(history, cpus=0, gpus=0)
    return {name: costs[name] for name in (EPOCHS, SECONDS)}


def search_page(plan: Plan) -> Page:
    """Lists the trials of a search, best first; those of a table as they came."""
    space, metric = plan.space, plan.space.metric
    order = "" if space.comparison else metric
    fresh = [f"{FRESH}{metric}"] if confirmation_count(plan) else []
    more = [judged.name for judged in space.more_metrics]
    metrics = dict.fromkeys((metric, *more, *fresh, *SCORES, SECONDS))
    return Page(tuple(metrics), named_parameters(space), (STATE,), order, not space.maximize)


def _environment(folder: Path) -> list[Path]:
    """A list of the file that says where a run ran, if it is there."""
    path = folder / ENVIRONMENT
    return [path] if path.exists() else []


def search_note(plan: Plan, resources: ResourcePlan | KeptLayout) -> str:
    """The note of a search, in Markdown."""
    space = plan.space
    goal = "highest" if space.maximize else "lowest"
    trials = "as many trials as the time allows" if plan.trials is None else count(plan.trials, "trial")
    chosen = f"Method {method_title(space, plan.trials)}, {trials} over {', '.join(space.parameters)}"
    judged = "" if space.comparison else f"; the best has the {goal} {space.metric}{beside(space)}"
    what = f"{chosen}{judged}. Preset {plan.preset}, {plan.settings.epochs} epochs; {resources}."
    what = "\n\n".join([*space.texts.values(), what])
    return run_note(what, plan.folder, "search.yaml, trials.csv, trials/", plan.resume)


def trial_tags(trial: TrialRecord) -> dict[str, str]:
    """Tags with the state of a trial, for which servers have fewer words, and the kind of its failure, if it failed.

    Of one that was stopped early also after which epoch.
    """
    state = state_with_reason(trial) if trial.state is TrialState.STOPPED else str(trial.state)
    return {STATE: state, FAILURE: str(trial.failure or "")}


def trial_note(trial: TrialRecord) -> str:
    """The note of a trial, in Markdown."""
    values = ", ".join(f"{name} {format_value(value)}" for name, value in trial.values.items())
    what = f"{trial.name} of {trial.folder.parents[1].name}: {values}."
    return f"{what}\n\nFolder: `{trial.folder}` (history.jsonl, {CHECKPOINT})"
