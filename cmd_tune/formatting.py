"""Numbers, times and tables as text: one way of writing each, for screen, files and messages."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """3725 s → 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_span(seconds: float) -> str:
    """5400 s → 1h30m, as options and space files take it; rounded to whole seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def count(number: int, noun: str) -> str:
    """1 run, 3 runs."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def file_size(size: int) -> str:
    """Bytes for people: 999 bytes, 1.2 MB."""
    if size < 1000:
        return count(size, "byte")
    power = next((power for power in (1, 2) if size < 999.5 * 1000**power), 3)
    return f"{size / 1000**power:.3g} {' kMG'[power]}B"


def format_value(value: Any) -> str:
    """A setting as a person would write it: four digits of a number are enough."""
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else ",".join(value)
        if isinstance(value, list | tuple)
        else str(value)
    )


def rounded(value: float) -> float:
    """A number to four significant digits, or to whole ones if it has more: 77.35191 → 77.35, 12345.6 → 12346."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))


def named_values(values: Mapping[str, Any]) -> str:
    """Settings in one line: topk 4, seed 0."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in values.items())


def percent(value: float | None, bounds: tuple[float, float] | None = None) -> str:
    """One digit after the point, with the interval if there is one: 62.0 (60.7–63.3). A dash for None."""
    if value is None:
        return "–"
    return f"{value:.1f}" + (f" ({bounds[0]:.1f}–{bounds[1]:.1f})" if bounds else "")


def signed(value: float | None, bounds: tuple[float, float] | None = None, *, digits: int = 1) -> str:
    """A difference, with its interval if there is one: +4.9 (+4.5 to +5.3). A dash for None; never -0.0."""
    if value is None:
        return "–"
    numbers = [f"{round(x, digits) + 0.0:+,.{digits}f}" for x in (value, *(bounds or ()))]
    return numbers[0] + (f" ({numbers[1]} to {numbers[2]})" if bounds else "")


# Characters that mean something in Markdown where they stand: not the _ within a word, nor the < of a comparison.
_MARKUP = re.compile(r"[\\`*\[\]|~]|<(?=[A-Za-z/!?])|&(?=[#\w])|(?<!\w)_|_(?!\w)")


def markdown_text(text: str) -> str:
    """Text as a line of Markdown that shows every character as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines()))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without a newline at its end. Cells are plain text."""
    lines = [head, *rows]
    first, *others = (f"| {' | '.join(map(markdown_text, cells))} |" for cells in lines)
    return "\n".join([first, "|" + "---|" * len(head), *others])


def csv_text(columns: dict[str, list[Any]]) -> str:
    """Columns as CSV; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
