"""When a trial is stopped before its last epoch: a rule for each `type` that `early_terminate` may have.

A new one is a file here, a line in EARLY_STOPPING and one in CASES of its test. Nothing here imports Optuna before a
study is opened. Not here: the end of a search whose time is up, which is the study's.
"""

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping.asha import Asha
from cmd_tune.search.study.early_stopping.base import StoppingRule
from cmd_tune.search.study.early_stopping.hyperband import Hyperband
from cmd_tune.search.study.early_stopping.median import Median
from cmd_tune.search.study.early_stopping.predicted import Predicted
from cmd_tune.search.study.early_stopping.wilcoxon import Wilcoxon

EARLY_STOPPING: dict[str, type[StoppingRule]] = {
    "asha": Asha,
    "hyperband": Hyperband,
    "median": Median,
    "predicted": Predicted,
    "wilcoxon": Wilcoxon,
}


def stopping_rule(space: Space) -> StoppingRule | None:
    """The rule of a search; None if every trial runs to its end.

    If its file says nothing, and it is judged on validation, trials end that will not come to the best.
    """
    if space.default_stopping and space.metric.startswith("val/"):
        return Predicted(type="predicted")
    rule = space.early_terminate
    assert rule is None or isinstance(rule, StoppingRule)
    return rule


__all__ = ["EARLY_STOPPING", "StoppingRule", "stopping_rule"]
