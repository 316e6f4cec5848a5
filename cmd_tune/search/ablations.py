"""The ablation of a search: what runs between the start point and the best trial, to say where the gain comes from.

Runs of an ablation are kept in the best trial's folder, and rank nothing.
"""

from cmd_tune.formatting import count
from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.confirmations import fresh_seeds
from cmd_tune.search.plan import Plan
from cmd_tune.search.report.ablation import AblationPath
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import RepeatRecord


def path_of(study: SearchStudy, ablation: Ablation | None) -> AblationPath | None:
    """The path of a study, which baselines and data have no part in; None if nothing of it is to run."""
    path = StudyFindings(study, {}, {}, Conditions("", "", {}), ablation=ablation).path
    return path if path and len(path.steps) > 2 else None


def due_ablations(study: SearchStudy, ablation: Ablation | None) -> list[RepeatRecord]:
    """The runs that have not come to their end: all configurations with the first seed, then all with the second."""
    path = path_of(study, ablation)
    if path is None:
        return []
    return [
        path.best.ablation(number, step.values, seed)
        for seed in path.seeds
        for number, step in enumerate(path.steps)
        if seed not in step.scores and seed not in step.failed
    ]


def ablation_count(plan: Plan) -> int:
    """How many runs the path takes at most."""
    ablation, seeds = plan.ablation, fresh_seeds(plan)
    if ablation is None:
        return 0
    own = seeds if ablation.seeds is None else ablation.seeds
    trials = None if plan.trials is None else plan.trials * plan.space.seeds
    ends = 2 * max(0, own - seeds)  # that the confirmation does not run
    counting = len(plan.space.start_points[0])  # what does not count there comes with others, in their step
    between = ablation.between(counting, own, trials)
    return between * own + ends if between else 0


def describe_ablation(plan: Plan) -> str:
    """What the path takes, in words; empty if nothing runs."""
    runs = ablation_count(plan)
    if not runs or plan.ablation is None:
        return ""
    what = "then the path from the start point to the best trial, one parameter changed after the other"
    when = ", if the fresh seeds tell the two apart" if plan.ablation.seeds is None else ""
    return f"ablation: {what}, up to {count(runs, 'run')}{when}"


def describe_path(path: AblationPath) -> str:
    """What changes from step to step, in one line."""
    steps = ", then ".join(" and ".join(step.changed) for step in path.steps[1:])
    return f"ablation: from the start point ({path.start.name}) to {path.best.name}: {steps}"
