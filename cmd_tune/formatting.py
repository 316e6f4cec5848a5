"""Numbers, times and tables as text: one way of writing each, wherever it is shown."""

import csv
import io
from typing import Any


def duration(seconds: float) -> str:
    """3725 s → 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(value: Any) -> str:
    """A setting as a person would write it: four digits of a number are enough."""
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else ",".join(value)
        if isinstance(value, list | tuple)
        else str(value)
    )


def percent(value: float | None) -> str:
    """One digit behind the point; a dash where there is none."""
    return "–" if value is None else f"{value:.1f}"


def csv_text(columns: dict[str, list[Any]]) -> str:
    """Columns as CSV; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
