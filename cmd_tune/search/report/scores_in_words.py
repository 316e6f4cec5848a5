"""Scores and their differences in the sentences and files of a report."""

from cmd_tune.search.study.trial_record import BEFORE_REFIT


def is_accuracy(metric: str) -> bool:
    """Whether a metric is in percent; losses and others are plain numbers."""
    return metric.removeprefix(BEFORE_REFIT).startswith(("val/", "test/", "accuracy/"))


def score_text(metric: str, value: float) -> str:
    """77.4 % of an accuracy, four digits of anything else, or all of a larger number."""
    if is_accuracy(metric):
        return f"{value:.1f} %"
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:,.0f}"


def points(metric: str, difference: float) -> str:
    """A difference without its sign: 2.1 points of an accuracy, three digits of anything else."""
    size = abs(difference)
    if not is_accuracy(metric):
        return f"{size:.3g}"
    return "1 point" if f"{size:.1f}" == "1.0" else f"{size:.1f} points"


def about(number: int) -> str:
    """A number of runs that is only roughly known: about 840 for 837."""
    return f"about {float(f'{number:.2g}'):,.0f}"


def written(metric: str, value: float) -> float:
    """A score as files for people have it: two decimals of an accuracy, six digits of anything else, or all
    of a larger number.
    """
    if is_accuracy(metric):
        return round(value, 2)
    return float(f"{value:.6g}") if abs(value) < 999_999.5 else float(round(value))
