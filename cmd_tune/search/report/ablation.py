"""The path from the start point to the best trial, one parameter changed after the other; each configuration has run.

The parameters that matter most by the trials come first, then the others in the order of the space. One that the space
does not let change by itself waits until it may, or changes with the fewest others that it needs. All run with the
same fresh seeds, so that a step is paired: on each seed, one configuration less the one before. Its interval is
Student's t, its p value that of a two-sided paired t-test, corrected by Holm over the steps. The path depends on the
order where parameters work together.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from statistics import mean
from typing import Any

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.formatting import count, format_value
from cmd_tune.search.report.confirmation import Confirmation
from cmd_tune.search.report.importance import Importance
from cmd_tune.search.report.verdicts import ALPHA, Scores, holm, paired_differences, t_interval, two_sided_p
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

TEST = "two-sided paired t-test, corrected by Holm over the steps"
_TOGETHER = 3  # parameters that are tried together where constraints forbid them alone; more are one step
_ABSENT = object()  # of a parameter that a configuration does not have


@dataclass(frozen=True)
class StepChange:
    """One configuration less the one before, over the seeds that both have.

    interval: None with fewer than two seeds. p: corrected; 1 with fewer than two.
    """

    seeds: int
    mean: float
    interval: Interval | None
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether the seeds tell it from zero."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Step:
    """One configuration of the path.

    changed: the parameters that have the best trial's values from here on; none at the start point. scores: by seed.
    failed: seeds of runs that failed for its values. change: None at the start point, and without a common seed.
    """

    values: Mapping[str, Any]
    changed: Sequence[str] = ()
    scores: Scores = field(default_factory=dict)
    failed: Sequence[int] = ()
    change: StepChange | None = None

    @property
    def mean(self) -> float | None:
        return mean(self.scores.values()) if self.scores else None

    @property
    def interval(self) -> Interval | None:
        """95 %, of the mean over seeds; None with fewer than two."""
        return t_interval(list(self.scores.values())) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class AblationPath:
    """steps: from the start point to the best trial, both included. seeds: that each is to run with.

    limited: whether the last step has the parameters for which there were no more runs.
    """

    start: TrialRecord
    best: TrialRecord
    steps: Sequence[Step]
    seeds: Sequence[int]
    limited: bool

    @property
    def differing(self) -> int:
        """Parameters in which the two ends differ."""
        return sum(len(step.changed) for step in self.steps)

    @property
    def missing(self) -> int:
        """Runs that are yet to come."""
        if len(self.steps) < 3:
            return 0
        return sum(len(self.seeds) - len(step.scores) - len(step.failed) for step in self.steps)


def no_path_because(study: SearchStudy, asked: Ablation, confirmation: Confirmation | None) -> str:
    """Why there is nothing to explain, as a sentence; empty if there is a path."""
    start, best = study.start, next(iter(study.ranked()), None)
    if best is None or start is None or start.state is not TrialState.FINISHED:
        return "There is no start point that came to its last epoch, so that there is no gain to explain."
    if best is start:
        return "The start point is the best, so that there is no gain to explain."
    if asked.seeds is not None:
        return ""
    found = confirmation.winner.to_start if confirmation and confirmation.winner.trial is best else None
    if found is None:
        return "The best trial and the start point have not both run with fresh seeds: nothing says what the gain is."
    if not found.is_clear:
        seeds = count(found.seeds, "fresh seed")
        return f"By {seeds} the best trial cannot be told from the start point: there is no gain to explain."
    return ""


def find_path(study: SearchStudy, asked: Ablation, importance: Importance) -> AblationPath:
    """The path with what has run of it, where `no_path_because` has no reason against one."""
    start, best = study.start, study.ranked()[0]
    assert start
    if asked.seeds is None:
        seeds = sorted(study.confirmed(start).keys() & study.confirmed(best).keys())
    else:
        first = study.settings_of(start).seed + study.space.seeds
        seeds = list(range(first, first + asked.seeds))
    names = ordered(study, importance)
    differing = [name for name in names if start.values.get(name, _ABSENT) != best.values.get(name, _ABSENT)]
    most = asked.between(len(differing), len(seeds), len(study.trials) * study.space.seeds)
    steps, limited = steps_between(study, start.values, best.values, differing, most)
    found = _with_changes([_with_scores(study, step, start, best, seeds) for step in steps])
    return AblationPath(start, best, found, seeds, limited)


def ordered(study: SearchStudy, importance: Importance) -> list[str]:
    """The parameters: what matters most first, then those without a known effect, in the order of the space."""
    told = [effect.name for effect in importance.effects if effect.effect is not None]
    return [*told, *(name for name in study.space.parameters if name not in told)]


def steps_between(
    study: SearchStudy, start: Mapping[str, Any], best: Mapping[str, Any], names: Sequence[str], most: int
) -> tuple[list[Step], bool]:
    """The configurations from start to best, in which these parameters change in this order as far as they may.

    most: how many may lie between the two; what is left then changes in the last step. Also whether that limits it.
    """
    base, space = study.base.model_dump(), study.space
    whole = {**base, **space.fixed}

    def with_others(before: Mapping[str, Any], group: Collection[str]) -> tuple[str, ...]:
        """These parameters, and those that come or go with them by a condition."""
        while True:
            values = _with(before, group, best)
            counts = space.conditions.counting(values, whole)
            more = {name for name in left if (name in counts) != (name in values)} - {*group}
            if not more:
                return tuple(name for name in left if name in group)
            group = {*group, *more}

    def next_step(before: Mapping[str, Any]) -> Step | None:
        """With the fewest parameters that may change together, of those the first; None if only all that are left."""
        few = (group for size in range(1, _TOGETHER + 1) for group in combinations(left, size))
        groups = sorted(dict.fromkeys(with_others(before, group) for group in few), key=len)
        steps = (Step(_with(before, group, best), group) for group in groups if len(group) < len(left))
        return next((s for s in steps if space.is_whole(s.values, base) and space.allows(s.values, base)), None)

    steps, left = [Step(dict(start))], list(names)
    while (step := next_step(steps[-1].values)) and len(steps) <= most:
        steps.append(step)
        left = [name for name in left if name not in step.changed]
    return [*steps, Step(dict(best), tuple(left))], step is not None


def _with(values: Mapping[str, Any], names: Collection[str], best: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with what the best trial has of these parameters: a value, or none."""
    rest = {name: value for name, value in values.items() if name not in names}
    return {**rest, **{name: best[name] for name in names if name in best}}


def _with_scores(study: SearchStudy, step: Step, start: TrialRecord, best: TrialRecord, seeds: Sequence[int]) -> Step:
    scores, failed = {}, []
    confirmed = next((study.confirmed(end) for end in (start, best) if end.values == step.values), {})
    runs = {run.seed: run for run in best.ablations if {**step.values, SEED: run.seed} == run.values}
    for seed in seeds:
        if seed in confirmed:
            scores[seed] = confirmed[seed]
        elif run := runs.get(seed):
            if (score := run.final(study.space.metric, study.epochs_of(run))) is not None:
                scores[seed] = score
            elif run.failed_by_values:
                failed.append(seed)
    return replace(step, scores=scores, failed=failed)


def _with_changes(steps: Sequence[Step]) -> list[Step]:
    gains = [paired_differences(step.scores, before.scores) for before, step in pairwise(steps)]
    tested = [index for index, gain in enumerate(gains) if len(gain) > 1]
    p_of = dict(zip(tested, holm([two_sided_p(gains[index]) for index in tested]), strict=True))
    changes = [
        StepChange(len(gain), mean(gain), t_interval(gain) if index in p_of else None, p_of.get(index, 1.0))
        if gain
        else None
        for index, gain in enumerate(gains)
    ]
    return [steps[0], *(replace(step, change=change) for step, change in zip(steps[1:], changes, strict=True))]


def changes_in_words(path: AblationPath, number: int) -> list[str]:
    """What changes in a step, with the values before and after: topk 16 → 32; a dash stands for no value."""
    step = path.steps[number]
    ends = (path.steps[number - 1].values, step.values)
    return [f"{name} {' → '.join(format_value(values.get(name, '–')) for values in ends)}" for name in step.changed]
