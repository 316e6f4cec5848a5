"""What a study has found, in the form that all parts of its report read. Each value is computed once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.evaluate.scores import Scores
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report.ablation import AblationPath, find_path, no_path_because
from cmd_tune.search.report.cell_results import CellResult, cell_results, judge_claim
from cmd_tune.search.report.claims import ClaimResult, claim_results
from cmd_tune.search.report.confirmation import Confirmation, find_confirmation
from cmd_tune.search.report.importance import OVER_SEEDS, Importance, importance
from cmd_tune.search.report.left_out import left_out
from cmd_tune.search.report.looks import Looks
from cmd_tune.search.report.verdicts import ClaimVerdict
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.comparison import Comparison
from cmd_tune.search.study.pareto_front import trials_on_front
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord

UNTRAINED, RAW = "untrained", "raw 1-NN"  # the baselines, in tables and figures


@dataclass(frozen=True)
class ComparisonFindings:
    """The cells of a comparison, and its claims.

    stated: what the space file has. conditions: the data and protocol of the test scores. raw, untrained: the
    baselines' scores by metric, in percent.
    """

    study: SearchStudy
    stated: Comparison
    conditions: Conditions
    raw: Scores
    untrained: Scores

    @property
    def settings(self) -> list[str]:
        """The names of the settings that tell the cells apart, as the first cell has them."""
        return list(self.stated.cells[0].values)

    @cached_property
    def left_out(self) -> dict[str, str]:
        """The metrics whose reported accuracies are not comparable with ours, and why."""
        reported = dict.fromkeys(name for cell in self.stated.cells for name in cell.reported)
        return left_out(self.stated.origin, reported, self.conditions)

    @cached_property
    def results(self) -> list[CellResult]:
        """Every cell on every metric: by metric, then in the order of the file, whatever the scores."""
        reported = {name for cell in self.stated.cells for name in cell.reported}
        return cell_results(self.study, self.stated, self.conditions.queries, reported - self.left_out.keys())

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(result.metric for result in self.results))

    @property
    def reported_metrics(self) -> list[str]:
        """Metrics that have a reported accuracy beside them."""
        return list(dict.fromkeys(result.metric for result in self.results if result.reported is not None))

    @cached_property
    def looks(self) -> Looks:
        """Raises CmdTuneError if the folder's record of looks cannot be read."""
        return Looks(self.study.folder, self.stated, self.results)

    @cached_property
    def verdicts(self) -> list[ClaimVerdict]:
        """One for each claim, in the order of the file."""
        return [
            judge_claim(self.stated, claim, self.results, self.looks.number(index))
            for index, claim in enumerate(self.stated.claims)
        ]

    @property
    def claims(self) -> list[ClaimResult]:
        return claim_results(self.stated, self.results, self.verdicts, self.looks)

    @property
    def baselines(self) -> dict[str, Scores]:
        """By title. Bare skeletons have no linear probe: their 1-NN accuracies stand beside linear ones, too."""
        floor = {
            name.replace("/knn/", kind): value for name, value in self.raw.items() for kind in ("/knn/", "/linear/")
        }
        return {UNTRAINED: self.untrained, RAW: floor}

    @cached_property
    def baseline_intervals(self) -> dict[str, dict[str, Interval]]:
        """By title and metric, as `baselines` are. Raises DataError for a count that cannot be read."""
        intervals: dict[str, dict[str, Interval]] = {}
        for title, file in ((UNTRAINED, UNTRAINED_TALLY), (RAW, RAW_TALLY)):
            if tally := read_tally(self.study.folder / file):
                found = {name: bounds for name in tally.right if (bounds := tally.interval(name))}
                intervals[title] = {name.replace("/knn/", "/linear/"): x for name, x in found.items()} | found
        return intervals


@dataclass(frozen=True)
class Judged:
    """Trials with a score each, and what these say of the parameters."""

    trials: Sequence[TrialRecord]
    scores: Sequence[float]
    importance: Importance


@dataclass(frozen=True)
class StudyFindings:
    """A study and its baselines. raw, untrained: scores by metric, in percent; empty if there are none.

    conditions: the data and protocol of the scores. cost: of all runs, as `run_records.cost` has it. ablation: what was
    asked for; None: nothing.
    """

    study: SearchStudy
    raw: Scores
    untrained: Scores
    conditions: Conditions
    cost: Mapping[str, float] = field(default_factory=dict)
    ablation: Ablation | None = None

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """None without one."""
        return find_confirmation(self.study)

    @cached_property
    def no_path(self) -> str:
        """Why there is no path from the start point to the best trial, as a sentence; empty if there is one."""
        if self.ablation is None or self.study.space.comparison:
            return "No ablation was asked for."
        return no_path_because(self.study, self.ablation, self.confirmation)

    @cached_property
    def path(self) -> AblationPath | None:
        """From the start point to the best trial, with what has run of it; None without one."""
        if self.ablation is None or self.no_path:
            return None
        return find_path(self.study, self.ablation, self.importance)

    @cached_property
    def comparison(self) -> ComparisonFindings | None:
        """None for a search."""
        stated = self.study.space.comparison
        return ComparisonFindings(self.study, stated, self.conditions, self.raw, self.untrained) if stated else None

    @cached_property
    def best(self) -> TrialRecord | None:
        """The trial that won; None in a comparison, and if no trial finished."""
        return None if self.study.space.comparison else next(iter(self.study.ranked()), None)

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The trials on the Pareto front, best first by the first metric; none if one metric judges them."""
        return trials_on_front(self.study)

    @property
    def best_score(self) -> float | None:
        """The best trial's score: its mean over fresh seeds if it was confirmed."""
        if self.best is None:
            return None
        if self.confirmation and self.confirmation.winner.trial is self.best:
            return self.confirmation.winner.mean
        return self.best.score(self.study.space.metric)

    @cached_property
    def _finished(self) -> Judged:
        return self._judged(None)

    @cached_property
    def judged(self) -> Judged:
        """The trials that parameters are judged by: those that finished, or if they are too few, all at a rung."""
        finished = self._finished
        epoch = self._common_epoch()
        if finished.importance.told or epoch is None:
            return finished
        early = self._judged(epoch)
        return early if early.importance.told else finished

    @cached_property
    def importance(self) -> Importance:
        """Of a search's parameters for its metric."""
        return self.judged.importance

    def _judged(self, epoch: int | None) -> Judged:
        study = self.study
        trials = study.ranked() if epoch is None else list(study.trials.values())
        metric = study.space.metric
        scores = [trial.score(metric) if epoch is None else self._at(trial, epoch) for trial in trials]
        scored = [(trial, score) for trial, score in zip(trials, scores, strict=True) if score is not None]
        repeats = [
            [score for run in runs if (score := self._at(run, epoch)) is not None]
            for trial, _ in scored
            for runs in (trial.confirmations.values(), trial.runs)
        ]
        found = importance(
            study.space.parameters,
            [trial.values for trial, _ in scored],
            [score for _, score in scored],
            repeats,
            maximize=study.space.maximize,
            epoch=epoch,
        )
        return Judged([trial for trial, _ in scored], [score for _, score in scored], found)

    def _at(self, run: TrialRecord, epoch: int | None) -> float | None:
        """The score of a run, without its other seeds, after an epoch; None: after its last."""
        metric = self.study.space.metric
        if epoch is None:
            return run.final(metric, self.study.epochs_of(run))
        return next((record.get(metric) for record in run.history if record["epoch"] == epoch), None)

    def _common_epoch(self) -> int | None:
        """The epoch that most trials have a score of, the latest of several; None if there is none."""
        metric = self.study.space.metric
        epochs = Counter(
            int(record["epoch"]) for t in self.study.trials.values() for record in t.history if metric in record
        )
        return max(epochs, key=lambda epoch: (epochs[epoch], epoch), default=None)

    @property
    def at_end(self) -> Importance:
        """As `importance`, by the trials that finished; their noise is that of what is compared."""
        return self.importance if self.importance.epoch is None else self._finished.importance

    @property
    def noise(self) -> float | None:
        """One standard deviation of a trial's score from seed to seed: that of its mean if it has several seeds."""
        found = self.at_end
        over_seeds = self.study.space.seeds if found.noise_from == OVER_SEEDS else 1
        return None if found.noise is None else found.noise / sqrt(over_seeds)
