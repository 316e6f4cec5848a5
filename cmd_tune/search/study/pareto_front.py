"""The Pareto front of a search that several metrics judge: the trials that no other one beats.

T trial, M metric.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord


def pareto_front(score_TM: NDArray[np.float64], maximize_M: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each trial is on the front: no other is better by one metric and at least as good by all.

    Trials with equal scores are all on it, or none. maximize_M: by which metrics larger is better.
    """
    loss_TM = np.where(maximize_M, -score_TM, score_TM)
    beaten_T = [((loss_TM <= loss_M).all(1) & (loss_TM < loss_M).any(1)).any() for loss_M in loss_TM]
    return ~np.array(beaten_T, bool)


def trials_on_front(study: SearchStudy) -> list[TrialRecord]:
    """The finished trials on the front, best first by the first metric; none if one metric alone judges them."""
    metrics, trials = study.space.metrics, study.by_own_score()
    if len(metrics) == 1 or not trials:
        return []
    score_TM = np.array([[trial.score(metric.name) for metric in metrics] for trial in trials], float)
    on_front_T = pareto_front(score_TM, np.array([metric.maximize for metric in metrics]))
    return [trial for trial, on_front in zip(trials, on_front_T, strict=True) if on_front]
