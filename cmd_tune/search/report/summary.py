"""The end of a search: the best trials beside the baselines, and the files that keep them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.scores import Scores
from cmd_tune.files import write_text
from cmd_tune.formatting import csv_text, percent, shown
from cmd_tune.plain_yaml import dump_yaml, read_yaml
from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.runs.ending import Attempt, outright, written
from cmd_tune.runs.messages import print_places
from cmd_tune.runs.run_records import main_scores
from cmd_tune.search.report.columns import Fitted, by_difference
from cmd_tune.search.report.live import values_line
from cmd_tune.search.study.study import Book, Entry, State
from cmd_tune.tracking import BackgroundTracker

BEST = 5  # trials in the closing table
BEST_FILE, BASELINES = "best.yaml", "baselines.yaml"
_COLUMNS = (
    "val/knn/joint", "val/knn/fused", "val/linear/fused", "test/knn/joint", "test/knn/fused", "test/linear/fused",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a search leaves: files in its folder, metrics of its MLflow run, what it prints at the end."""

    files: list[Path]
    metrics: dict[str, float]
    closing: RenderableType


def search_report(book: Book, raw: Scores, untrained: Scores, *, attempt: Attempt = outright) -> Report:
    """Write trials.csv, baselines.yaml and best.yaml into the search's folder; `attempt` takes each step."""
    files = write_trials(book, raw, untrained, attempt)
    if ranked := book.ranked():
        files += written(attempt, book.folder / BEST_FILE, lambda path: _write_best(path, book, ranked[0]))
    metrics = baseline_metrics(raw, untrained) | (attempt("best metrics", lambda: _best_metrics(book)) or {})
    against = attempt("intervals", lambda: _best_against_baselines(book)) or ""
    closing = attempt("closing table", lambda: _closing_table(book, raw, untrained, against)) or ""
    return Report(files, metrics, closing)


def _closing_table(book: Book, raw: Scores, untrained: Scores, against: str) -> RenderableType:
    """Best trials and baselines, in percent; apart from them, what has no rank. Only finalists have test scores.

    against: the best of them beside the baselines, in words.
    """
    metric, parameters = book.space.metric, book.space.parameters
    columns = [*([] if metric in _COLUMNS else [metric]), *_COLUMNS]
    best = book.ranked()[:BEST]

    def build(headings: Mapping[str, str]) -> Table:
        names = [name for name in parameters if name in headings]
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("", no_wrap=True)
        for heading in (*(headings[name] for name in names), *(name.replace("/", "\n") for name in columns)):
            table.add_column(heading, justify="right", no_wrap=True)
        for entry in best:
            values = (shown(entry.values[name]) for name in names)
            table.add_row(entry.name, *values, *(percent(_score(entry, name)) for name in columns))
        for title, baseline in (("untrained", untrained), ("raw 1-NN", raw)):
            blank = [""] * len(names)
            table.add_row(title, *blank, *(percent(baseline.get(name)) for name in columns), style="dim")
        return table

    telling = by_difference(parameters, [entry.values for entry in best])
    more = "Shown are the parameters that differ most; trials.csv has {} more."
    more += "".join(f" All of {entry.name}: {values_line(entry, parameters)}." for entry in best[:1])
    table = Fitted(telling, build, more)
    notes = [
        *_unranked(book),
        "Percent right. untrained: the encoder as it starts; raw 1-NN: bare skeletons. "
        "The score that chose the best trial flatters it; its test scores do not.",
        against,
    ]
    return Group(table, *(Text(note, style="dim") for note in notes if note))


def _best_against_baselines(book: Book) -> str:
    """The best of the tested trials beside the baselines, with intervals; empty where none is tested."""
    tested = (entry for entry in book.ranked()[:BEST] if entry.test_scores)
    metric = _tested_metric(book.space.metric)
    return next((against_baselines(entry.name, metric, entry.folder, book.folder) for entry in tested), "")


def _tested_metric(metric: str) -> str:
    """The test score that goes with what the search chose by."""
    return f"test/{metric.removeprefix('val/')}" if metric.startswith("val/") else "test/knn/fused"


def _unranked(book: Book) -> list[str]:
    """A line for the trials that were stopped early: how far they came, and their score there."""
    stopped = book.stopped()
    if not stopped:
        return []
    last = {entry.name: entry.last(book.space.metric) for entry in stopped}
    first = [f"{e.name} {e.reason} ({percent(last[e.name])})" for e in stopped[:BEST]]
    more = f" and {len(stopped) - BEST} more" if len(stopped) > BEST else ""
    return [f"Stopped early, without a rank ({book.space.metric} then): {'; '.join(first)}{more}."]


def write_trials(book: Book, raw: Scores, untrained: Scores, attempt: Attempt = outright) -> list[Path]:
    """trials.csv, and baselines.yaml where there are baselines, in the search's folder; returns their paths."""
    baselines = dump_yaml({"raw_skeletons": raw, "untrained_encoder": untrained})
    files = written(attempt, book.folder / "trials.csv", lambda path: write_text(path, csv_text(trials_columns(book))))
    if raw or untrained:
        files += written(attempt, book.folder / BASELINES, lambda path: write_text(path, baselines))
    return files


def kept_baselines(folder: Path) -> tuple[Scores, Scores] | None:
    """(raw, untrained) as an earlier sitting wrote them; None where it did not come to that."""
    path = folder / BASELINES
    if not path.exists():
        return None
    kept = read_yaml(path)
    return kept["raw_skeletons"], kept["untrained_encoder"]


def _write_best(path: Path, book: Book, best: Entry) -> None:
    head = f"# {best.name} of {book.folder.name}: {book.space.metric} {best.last(book.space.metric):.2f}\n"
    write_text(path, head + dump_yaml(book.settings_of(best).model_dump(mode="json")))


def trials_columns(book: Book) -> dict[str, list[Any]]:
    """All trials as columns: state, of a search the finished ones' rank, searched values, last metrics, test scores.

    A metric of a parameter's name has no column: the parameter has it. Its values are in the trial's history.
    """
    entries = list(book.entries.values())
    names = {name: None for entry in entries for record in entry.history for name in record if name != "epoch"}
    names |= {name: None for entry in entries for name in entry.test_scores}
    columns: dict[str, list[Any]] = {
        "trial": [entry.name for entry in entries],
        "state": [str(entry.state) for entry in entries],
        "reason": [entry.reason for entry in entries],
        "epoch": [entry.epoch for entry in entries],
    }
    if not book.space.table:
        ranks = {entry.index: rank for rank, entry in enumerate(book.ranked(), 1)}
        columns["rank"] = [ranks.get(entry.index) for entry in entries]
    for name in (*book.space.fixed, *book.space.parameters):
        columns[name] = [entry.values.get(name) for entry in entries]
    for name in [name for name in names if name not in columns]:
        columns[name] = [_score(entry, name) for entry in entries]
    return columns


def _score(entry: Entry, name: str) -> float | None:
    return entry.test_scores.get(name, entry.last(name))


def baseline_metrics(raw: Scores, untrained: Scores) -> dict[str, float]:
    """The baselines as metrics of the parent run, each under its own prefix; baselines.yaml has them all."""
    named = {"raw": raw, "untrained": untrained}
    return {f"baseline/{kind}/{name}": scores[name] for kind, scores in named.items() for name in main_scores(scores)}


def _best_metrics(book: Book) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for entry in book.ranked()[:1]:
        names = dict.fromkeys((book.space.metric, *main_scores(trials_columns(book))))
        best = {f"best/{name}": _score(entry, name) for name in names}
        metrics = {name: value for name, value in best.items() if value is not None}
        metrics["best/trial"] = float(entry.index)
    return metrics


def print_closing(console: Console, book: Book, report: Report, tracker: BackgroundTracker) -> None:
    """The table, then where things are and what to type next."""
    console.print()
    console.print(report.closing)
    failed = [entry for entry in book.entries.values() if entry.state is State.FAILED]
    for entry in failed:
        console.print(f"{entry.name} failed: {entry.reason}", soft_wrap=True, highlight=False, markup=False)
    if book.shortfall:
        trials = len(book.entries)
        short = book.budget is not None and trials < book.budget
        so_far = f"{trials} of {book.budget} trials" if short else f"{trials} trials"
        console.print(f"{so_far}: {book.shortfall}", soft_wrap=True, highlight=False, markup=False)
    names = ", ".join(("search.yaml", *(path.name for path in report.files), "trials/"))
    print_places(console, book.folder, names, tracker)
