"""Scores and their differences in sentences, tables and files: accuracies in percent, losses and costs as they are."""

from math import floor, log10

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.formatting import percent, signed
from cmd_tune.search.study.trial_record import BEFORE_REFIT


def is_accuracy(metric: str) -> bool:
    """Whether a metric is in percent; losses and others are plain numbers."""
    return metric.removeprefix(BEFORE_REFIT).startswith(("val/", "test/", "accuracy/"))


def score_text(metric: str, value: float) -> str:
    """77.4 % of an accuracy, four digits of anything else, or all of a larger number."""
    return f"{value:.1f} %" if is_accuracy(metric) else _number(value, 4)


def bare_score(metric: str, value: float | None, interval: Interval | None = None, *, digits: int = 1) -> str:
    """A score without its unit, and its interval if there is one: 77.4 (76.1 to 78.7). A dash for None.

    digits: of an accuracy, after the point; anything else has four, or all of a larger number.
    """
    if value is None:
        return percent(None)
    one, *ends = (
        f"{number:.{digits}f}" if is_accuracy(metric) else _number(number, 4) for number in (value, *(interval or ()))
    )
    return f"{one} ({' to '.join(ends)})" if ends else one


def difference_text(metric: str, difference: float | None, interval: Interval | None = None, *, digits: int = 1) -> str:
    """A difference with its sign, and its interval if there is one: +2.1 (+0.4 to +3.8). A dash for None.

    digits: of an accuracy, after the point; anything else has three of its largest number.
    """
    if difference is None or is_accuracy(metric):
        return signed(difference, interval, digits=digits)
    largest = max(map(abs, (difference, *(interval or ()))))
    return signed(difference, interval, digits=max(0, min(6, 2 - floor(log10(largest))) if largest else 0))


def points(metric: str, difference: float) -> str:
    """A difference without its sign: 2.1 points of an accuracy, three digits of anything else."""
    size = abs(difference)
    if not is_accuracy(metric):
        return _number(size, 3)
    return "1 point" if f"{size:.1f}" == "1.0" else f"{size:.1f} points"


def p_text(p: float) -> str:
    """0.034; < 0.001 for less."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


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


def _number(value: float, digits: int) -> str:
    """So many significant digits, or all before the point of a larger number: 0.0001235, 2.000, 12,346."""
    if value == 0:
        return "0"
    return f"{value:#.{digits}g}".rstrip(".") if abs(value) < 10**digits - 0.5 else f"{value:,.0f}"
