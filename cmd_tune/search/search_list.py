"""The searches of a storage for a person, a line each, and for programs, as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.formatting import time_span
from cmd_tune.redact import redact
from cmd_tune.search.kept_search import KeptSearch, SearchState, kept_searches
from cmd_tune.search.report.scores_in_words import bare_score

Found = Sequence[tuple[Path, KeptSearch | CmdTuneError]]
_DAMAGED, _ELSEWHERE, _NOTHING = "damaged", "not on this machine", "–"
_STYLES = {
    SearchState.RUNNING: "cyan",
    SearchState.INTERRUPTED: "magenta",
    SearchState.FINISHED: "green",
    SearchState.FAILED: "red",
}
_ALIKE = ("metric", "data")  # said once, above the table, if all searches share it
_SPARE = ("took", "started", "data")  # columns that a narrow screen does without, the first one first


def show_searches(storage: Path, console: Console, *, as_json: bool = False, elsewhere: Sequence[str] = ()) -> None:
    """Print the searches of a storage, newest first, with the reason for each that cannot be read.

    elsewhere: names of those that are at the storage's URI alone.
    """
    found = list(kept_searches(storage))
    if as_json:
        absent = [{"name": name, "state": _ELSEWHERE} for name in elsewhere]
        print(json.dumps([*(search_content(folder, search) for folder, search in found), *absent], indent=1))
        return
    if not (found or elsewhere):
        line = f"{storage}: holds no searches; begin one with: python run_search.py --space temps.yaml"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
        return
    if found:
        console.print(SearchList(found, datetime.now().astimezone()))
    at_uri = [f"{_ELSEWHERE}: {', '.join(elsewhere)}; resume NAME brings one here"] if elsewhere else []
    for line in [*_notes(found), *at_uri]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def search_content(folder: Path, search: KeptSearch | CmdTuneError) -> dict[str, Any]:
    """A search in plain values: times in ISO 8601 and in seconds, scores as they are; the error of a damaged one."""
    place = {"name": folder.name, "folder": str(folder)}
    if isinstance(search, CmdTuneError):
        return {**place, "state": _DAMAGED, "error": redact(one_line(search))}
    best, space = search.best, search.study.space
    return {
        **place,
        "state": str(search.state),
        "process": asdict(search.use.holder) if search.use else None,
        "trials": {"ended": search.ended, "failed": search.failed, "of": search.study.budget},
        "method": space.method,
        "metric": search.metric,
        "goal": "maximize" if space.maximize else "minimize",
        "best": best
        and {"trial": best.trial.index, "score": best.score, "fresh_seeds": best.seeds, "interval": best.interval},
        "dataset": search.plan.dataset,
        "protocol": search.plan.protocol,
        "preset": search.plan.preset,
        "started": search.started.isoformat(timespec="seconds"),
        "seconds": search.seconds,
    }


class SearchList:
    """A line for each search, as wide as there is room for."""

    def __init__(self, found: Found, now: datetime) -> None:
        self.rows = [_row(folder.name, search, now) for folder, search in found]
        whole = [row for row in self.rows if row["state"].plain != _DAMAGED]
        values = {name: {row[name].plain for row in whole} for name in _ALIKE}
        self.alike = {name: those.pop() for name, those in values.items() if len(those) == 1}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.alike:
            yield Text(", ".join(f"{name} {value}" for name, value in self.alike.items()), style="dim")
        told = [name for name in self.rows[0] if any(row[name].plain != _NOTHING for row in self.rows)]
        names = [name for name in told if name not in self.alike]
        for spare in ("", *_SPARE):
            names = [name for name in names if name != spare]
            table = self._table(names)
            if Measurement.get(console, options.update_width(10_000), table).maximum <= options.max_width:
                break
        yield table

    def _table(self, names: Sequence[str]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        for name in names:
            right = "right" if name in ("trials", "best", "took") else "left"
            table.add_column(name, justify=right, no_wrap=name != "name", overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*(row[name] for name in names))
        return table


def _row(name: str, search: KeptSearch | CmdTuneError, now: datetime) -> Mapping[str, Text]:
    if isinstance(search, CmdTuneError):
        nothing = dict.fromkeys(("trials", "best", "metric", "data", "started", "took"), Text(_NOTHING))
        return {"name": Text(name), "state": Text(_DAMAGED, style="red"), **nothing}
    best, state = search.best, search.state
    seeded = "*" if best and best.seeds else ""
    of = "" if search.study.budget is None else f"/{search.study.budget}"
    return {
        "name": Text(name),
        "state": Text(state, style=_STYLES[state]),
        "trials": Text(f"{search.ended}{of}"),
        "best": Text(_NOTHING if best is None else bare_score(search.metric, best.score, digits=2) + seeded),
        "metric": Text(search.metric),
        "data": Text(f"{search.plan.dataset} {search.plan.protocol}"),
        "started": Text(_started(search.started, now)),
        "took": Text(_NOTHING if search.seconds is None else _took(search.seconds)),
    }


def _notes(found: Found) -> Iterator[str]:
    searches = [search for _, search in found if isinstance(search, KeptSearch)]
    if any(search.best and search.best.seeds for search in searches):
        yield "* the mean over fresh seeds"
    for _, search in found:
        if isinstance(search, CmdTuneError):
            yield redact(one_line(search))


def _started(time: datetime, now: datetime) -> str:
    """20:14 of today, 22 Nov of this year, Nov 2025."""
    if time.date() == now.date():
        return f"{time:%H:%M}"
    return f"{time.day} {time:%b}" if time.year == now.year else f"{time:%b %Y}"


def _took(seconds: float) -> str:
    """To the second below an hour, to the minute above."""
    return time_span(seconds if seconds < 3600 else 60 * round(seconds / 60))
