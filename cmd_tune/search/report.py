"""The end of a search: the best trials beside the baselines, and the files that keep them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.scores import Scores
from cmd_tune.files import write_text
from cmd_tune.search.display import add_parameter_columns, parameter_cells
from cmd_tune.search.folders import print_places
from cmd_tune.search.study import Book, Entry, State

BEST = 5  # trials in the closing table
BASELINES = "baselines.yaml"
_COLUMNS = (
    "val/knn/joint", "val/knn/fused", "val/linear/fused", "test/knn/joint", "test/knn/fused", "test/linear/fused",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a search leaves: files in its folder, metrics of its MLflow run, what it prints at the end."""

    files: list[Path]
    metrics: dict[str, float]
    closing: RenderableType


def search_report(book: Book, raw: Scores, untrained: Scores) -> Report:
    """Write trials.csv, baselines.yaml and best.yaml into the search's folder."""
    files = [*write_trials(book, raw, untrained), *_write_best(book)]
    metrics = baseline_metrics(raw, untrained) | _best_metrics(book)
    return Report(files, metrics, _closing_table(book, raw, untrained))


def _closing_table(book: Book, raw: Scores, untrained: Scores) -> RenderableType:
    """Best trials and baselines, in percent. Only finalists have test scores."""
    metric = book.space.metric
    columns = [*([] if metric in _COLUMNS else [metric]), *_COLUMNS]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    add_parameter_columns(table, book)
    for name in columns:
        table.add_column(name.replace("/", "\n"), justify="right", no_wrap=True)
    best = book.ranked()[:BEST]
    for entry in best:
        table.add_row(entry.name, *parameter_cells(book, entry), *(percent(_score(entry, name)) for name in columns))
    for title, baseline in (("untrained", untrained), ("raw 1-NN", raw)):
        blank = parameter_cells(book, None)
        table.add_row(title, *blank, *(percent(baseline.get(name)) for name in columns), style="dim")
    note = "Percent right. untrained: the encoder as it starts; raw 1-NN: bare skeletons."
    return Group(table, Text(note, style="dim"))


def write_trials(book: Book, raw: Scores, untrained: Scores) -> list[Path]:
    """trials.csv and baselines.yaml in the search's folder; returns their paths."""
    paths = [book.folder / "trials.csv", book.folder / BASELINES]
    write_text(paths[0], csv_text(trials_columns(book)))
    write_text(paths[1], _yaml({"raw_skeletons": raw, "untrained_encoder": untrained}))
    return paths


def kept_baselines(folder: Path) -> tuple[Scores, Scores] | None:
    """(raw, untrained) as an earlier sitting wrote them; None where it did not come to that."""
    path = folder / BASELINES
    if not path.exists():
        return None
    kept = yaml.safe_load(path.read_text())
    return kept["raw_skeletons"], kept["untrained_encoder"]


def _write_best(book: Book) -> list[Path]:
    best = book.ranked()[:1]
    if not best:
        return []
    path = book.folder / "best.yaml"
    head = f"# {best[0].name} of {book.folder.name}: {book.space.metric} {best[0].last(book.space.metric):.2f}\n"
    write_text(path, head + _yaml(book.settings_of(best[0]).model_dump(mode="json")))
    return [path]


def trials_columns(book: Book) -> dict[str, list[Any]]:
    """All trials as columns: state, searched values, last metrics, test scores.

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
    for name in (*book.space.fixed, *book.space.parameters):
        columns[name] = [entry.values.get(name) for entry in entries]
    for name in [name for name in names if name not in columns]:
        columns[name] = [_score(entry, name) for entry in entries]
    return columns


def _score(entry: Entry, name: str) -> float | None:
    return entry.test_scores.get(name, entry.last(name))


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


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def baseline_metrics(raw: Scores, untrained: Scores) -> dict[str, float]:
    """The baselines as metrics of the parent run, each under its own prefix."""
    named = {"raw": raw, "untrained": untrained}
    return {f"baseline/{kind}/{name}": value for kind, scores in named.items() for name, value in scores.items()}


def _best_metrics(book: Book) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for entry in book.ranked()[:1]:
        names = [name for name in trials_columns(book) if name.startswith(("val/", "test/", "loss/"))]
        best = {f"best/{name}": _score(entry, name) for name in names}
        metrics = {name: value for name, value in best.items() if value is not None}
        metrics["best/trial"] = float(entry.index)
    return metrics


def print_closing(console: Console, book: Book, report: Report, tracking_uri: str) -> None:
    """The table, then where things are and what to type next."""
    console.print()
    console.print(report.closing)
    failed = [entry for entry in book.entries.values() if entry.state is State.FAILED]
    for entry in failed:
        console.print(f"{entry.name} failed: {entry.reason}", soft_wrap=True, highlight=False, markup=False)
    names = ", ".join(("search.yaml", *(path.name for path in report.files), "trials/"))
    print_places(console, book.folder, names, tracking_uri)
