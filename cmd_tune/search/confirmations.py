"""The confirmation of a search: its best trials and its start point are run again with fresh seeds.

The best single score is that of a lucky seed as much as of a good setting. The fresh runs have not been chosen by their
scores, so that their mean is not flattered, and the start point is among them since it may be the best all the same.
"""

from cmd_tune.formatting import count
from cmd_tune.search.plan import Plan
from cmd_tune.search.spaces.confirm import MOST, Confirm
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import Repeat, RepeatRecord, TrialRecord, TrialState


def planned_confirmations(study: SearchStudy, confirm: Confirm | None) -> list[RepeatRecord]:
    """The runs that confirm, all configurations with the first fresh seed, then all with the second, and so on.

    Fresh seeds follow those of the trials.
    """
    if confirm is None or not (trials := confirmed_trials(study, confirm.top)):
        return []
    configurations = _configurations(confirm, study.space, len(study.trials)) if len(trials) > 1 else 1
    seeds = confirm.seeds_for(configurations, len(study.trials) * study.space.seeds)
    return [
        trial.repeat(Repeat.CONFIRM, study.settings_of(trial).seed + fresh)
        for fresh in range(study.space.seeds, study.space.seeds + seeds)
        for trial in trials
    ]


def confirmed_trials(study: SearchStudy, top: int) -> list[TrialRecord]:
    """The best trials by their own score, and the start point."""
    best = study.by_own_score()[:top]
    start = study.start
    return [*best, start] if start and start.state is TrialState.FINISHED and start not in best else best


def due_confirmations(study: SearchStudy, confirm: Confirm | None) -> list[RepeatRecord]:
    """Those that have not come to their last epoch."""
    return [record for record in planned_confirmations(study, confirm) if not study.done(record)]


def confirmation_count(plan: Plan) -> int:
    """How many runs confirm at most."""
    return 0 if plan.confirm is None else _configurations(plan.confirm, plan.space, plan.trials) * fresh_seeds(plan)


def describe_confirmations(plan: Plan) -> str:
    """What confirms the finalists, in words; empty if nothing does."""
    if plan.confirm is None:
        return ""
    start = " and the start point" if plan.space.start_points else ""
    top = plan.confirm.top if plan.trials is None else min(plan.confirm.top, plan.trials)
    who = f"the best {top}{start}" if top > 1 else f"the best trial{start}"
    seeds = fresh_seeds(plan)
    if not seeds:
        return (
            f"confirm: none, since half as many runs as {count(plan.trials or 0, 'trial')} have do not pay for two "
            f"fresh seeds of {who}; write confirm: {{seeds: 2}} to have it all the same"
        )
    most = "up to " if plan.confirm.seeds is None else ""
    runs = f", {most}{count(confirmation_count(plan), 'run')}"
    return f"confirm: then {who} again, with {most}{count(seeds, 'fresh seed')} each{runs}"


def _configurations(confirm: Confirm, space: Space, trials: int | None) -> int:
    """How many there are at most: one less if the start point is among the best."""
    most = confirm.top + bool(space.start_points)
    return most if trials is None else min(most, trials)


def fresh_seeds(plan: Plan) -> int:
    """Seeds that each configuration is confirmed with, at most."""
    if plan.confirm is None:
        return 0
    if plan.trials is None:
        return plan.confirm.seeds or MOST
    configurations = _configurations(plan.confirm, plan.space, plan.trials)
    return plan.confirm.seeds_for(configurations, plan.trials * plan.space.seeds)
