"""One line on how a running search goes: the best so far as a curve, busy places, trials that came to rungs."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, islice

from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 16  # characters of the curve
_RUNGS = 6  # validated epochs that are shown


def progress_line(study: SearchStudy, concurrent: int) -> str:
    """concurrent: places for trials. A comparison, which has no best, has no curve, nor has a single finished trial."""
    trials = list(study.trials.values())
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    parts = [f"{running} of {concurrent} places busy"]
    if not study.space.comparison:
        scores = [trial.score(study.space.metric) for trial in trials if trial.state is TrialState.FINISHED]
        if (curve := best_so_far([score for score in scores if score is not None], maximize=study.space.maximize))[1:]:
            first, last = (bare_score(study.space.metric, score, digits=2) for score in (curve[0], curve[-1]))
            parts.insert(0, f"best so far {sparkline(curve)} {first} to {last}")
    if stopping_rule(study.space) and (rungs := _rungs(study)):
        came = ", ".join(f"{epoch}: {count}" for epoch, count in rungs)
        parts.append(f"trials that came to epoch {came}")
    return "; ".join(parts)


def best_so_far(scores: Sequence[float], *, maximize: bool) -> list[float]:
    return list(accumulate(scores, max if maximize else min))


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Values as blocks from the lowest to the highest; of more than `width` values, as many at even distances."""
    count = min(width, len(values))
    picked = [values[round(index * (len(values) - 1) / max(1, count - 1))] for index in range(count)]
    low, high = min(picked), max(picked)
    span = high - low or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in picked)


def _rungs(study: SearchStudy) -> list[tuple[int, int]]:
    """Validated epochs, each with the number of trials that have come to it; the first ones if there are many."""
    metric = study.space.metric
    came: Counter[int] = Counter()
    for trial in study.trials.values():
        validated = (int(record["epoch"]) for record in trial.history if metric in record)
        came.update(islice(validated, _RUNGS))  # later ones are none of the first
    return sorted(came.items())[:_RUNGS]
