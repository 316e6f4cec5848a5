"""One line of the table: what was measured, ours, the authors' way, and how they compare."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Timing


@dataclass(frozen=True)
class Row:
    """ours and theirs: seconds of the same work, or another unit where `unit` names it."""

    name: str
    ours: Timing
    theirs: Timing | None = None
    of_peak: float | None = None  # share of the machine's own rate of products
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.theirs.median / self.ours.median if self.theirs and self.ours.median else None


def _amount(timing: Timing, unit: str) -> str:
    if unit == "s":
        spread = f" ({_seconds(min(timing.runs))}–{_seconds(max(timing.runs))})" if len(timing.runs) > 1 else ""
        return _seconds(timing.median) + spread
    return f"{timing.median:,.0f} {unit}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def print_rows(title: str, rows: Sequence[Row], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("", "ours: median (min–max)", "the authors' way", "times", "of peak", ""):
        table.add_column(heading, justify="left" if heading in ("", "of peak") else "right")
    for row in rows:
        table.add_row(
            row.name,
            _amount(row.ours, row.unit),
            _amount(row.theirs, row.unit) if row.theirs else "",
            f"{row.ratio:.1f}" if row.ratio else "",
            f"{row.of_peak:.0%}" if row.of_peak else "",
            row.note,
        )
    console.print(table)


def row_text(row: Row) -> str:
    """A row as one line."""
    parts = [f"{row.name}: {_amount(row.ours, row.unit)}"]
    if row.theirs:
        parts.append(f"the authors' way {_amount(row.theirs, row.unit)}, {row.ratio or 0:.1f} times")
    if row.of_peak:
        parts.append(f"{row.of_peak:.0%} of peak")
    return "; ".join([*parts, *([row.note] if row.note else [])])


def write_json(path: Path, sections: Mapping[str, Sequence[Row]]) -> None:
    machine = {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = {title: [plain_row(row) for row in rows] for title, rows in sections.items()}
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1), encoding="utf-8")


def plain_row(row: Row) -> dict[str, Any]:
    """A row as JSON holds it."""
    return {
        "name": row.name,
        "unit": row.unit,
        "ours": row.ours.runs,
        "theirs": row.theirs.runs if row.theirs else None,
        "ratio": row.ratio,
        "of_peak": row.of_peak,
        "note": row.note,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
