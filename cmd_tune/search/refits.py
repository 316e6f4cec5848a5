"""The refits of a search: its finalists are pretrained again on the whole training set, and scored on the test set."""

from cmd_tune.data.splits import Split
from cmd_tune.formatting import count
from cmd_tune.search.plan import Plan
from cmd_tune.search.spaces.refit import Refit
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import Repeat, RepeatRecord


def planned_refits(study: SearchStudy, refit: Refit | None) -> list[RepeatRecord]:
    """The refits of the finalists, the best trial's first. A trial that held nothing out needs none."""
    if refit is None or study.space.comparison:
        return []
    found = []
    for trial in study.finalists(FINALISTS):
        settings = study.settings_of(trial)
        if settings.holdout != "none":
            found += [trial.repeat(Repeat.REFIT, seed) for seed in refit.seeds or (settings.seed,)]
    return found


def all_tested(study: SearchStudy, refit: Refit | None) -> bool:
    """Whether every finalist, and each of its refits, has its test scores, as far as they can be had."""
    finalists = [trial for trial in study.finalists(FINALISTS) if trial.testable]
    return all(trial.test_scores for trial in (*finalists, *planned_refits(study, refit)))


def refit_count(plan: Plan) -> int:
    """How many refits a search will run at most."""
    if plan.refit is None or plan.space.comparison or plan.settings.holdout == "none":
        return 0
    return min(FINALISTS, plan.trials or FINALISTS) * max(1, len(plan.refit.seeds))


def describe_refits(plan: Plan, split: Split) -> str:
    """What the refits of a search cost beside its trials, in words; empty if there will be none."""
    runs = refit_count(plan)
    if not runs:
        return ""
    pretrained, given = len(split.pretrain_N), len(split.test[0].gallery_N)
    best = min(FINALISTS, plan.trials or FINALISTS)
    text = f"refit: then the best {best} again on all {given:,}, {count(runs, 'run')}"
    if plan.trials is None:
        return text
    share = runs * given / (plan.trials * plan.space.seeds * pretrained)
    return f"{text}: {100 * share:.0f} % as much work as {count(plan.trials, 'whole trial')}"


def due_refits(study: SearchStudy, refit: Refit | None) -> list[RepeatRecord]:
    """Those that have no test scores yet."""
    return [record for record in planned_refits(study, refit) if not record.test_scores]
