"""The end of a search: the best trials beside the baselines, and the files that keep them."""

import csv
import io
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.scores import Scores
from cmd_tune.files import write_text
from cmd_tune.search.display import add_parameter_columns, parameter_cells
from cmd_tune.search.study import Book, Entry, State
from cmd_tune.search.tracking import ui_line

BEST = 5  # trials in the closing table
_COLUMNS = (
    "val/knn/joint", "val/knn/fused", "val/linear/fused", "test/knn/joint", "test/knn/fused", "test/linear/fused",
)  # fmt: skip


def closing_table(book: Book, raw: Scores, untrained: Scores) -> RenderableType:
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


def write_files(book: Book, raw: Scores, untrained: Scores) -> list[Path]:
    """trials.csv, baselines.yaml and best.yaml in the search's folder; returns their paths."""
    folder = book.folder
    paths = [folder / "trials.csv", folder / "baselines.yaml"]
    write_text(paths[0], _csv(trials_columns(book)))
    write_text(paths[1], _yaml({"raw_skeletons": raw, "untrained_encoder": untrained}))
    best = book.ranked()[:1]
    if best:
        paths.append(folder / "best.yaml")
        head = f"# {best[0].name} of {folder.name}: {book.space.metric} {best[0].last(book.space.metric):.2f}\n"
        write_text(paths[2], head + _yaml(book.settings_of(best[0]).model_dump(mode="json")))
    return paths


def trials_columns(book: Book) -> dict[str, list[Any]]:
    """All trials as columns: state, searched values, last metrics, test scores."""
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
    for name in names:
        columns[name] = [_score(entry, name) for entry in entries]
    return columns


def _score(entry: Entry, name: str) -> float | None:
    return entry.test_scores.get(name, entry.last(name))


def percent(value: float | None) -> str:
    """One digit behind the point; a dash where there is none."""
    return "–" if value is None else f"{value:.1f}"


def _csv(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def best_scores(book: Book, raw: Scores, untrained: Scores) -> dict[str, float]:
    """Metrics of the parent run: the best trial's, and the baselines', each under its own prefix."""
    scores = {f"baseline/raw/{name}": value for name, value in raw.items()}
    scores |= {f"baseline/untrained/{name}": value for name, value in untrained.items()}
    for entry in book.ranked()[:1]:
        names = [name for name in trials_columns(book) if name.startswith(("val/", "test/", "loss/"))]
        best = {f"best/{name}": _score(entry, name) for name in names}
        scores |= {"best/trial": float(entry.index)} | {
            name: value for name, value in best.items() if value is not None
        }
    return scores


def print_closing(console: Console, book: Book, raw: Scores, untrained: Scores, tracking_uri: str) -> None:
    """The table, then where things are and what to type next."""
    console.print()
    console.print(closing_table(book, raw, untrained))
    failed = [entry for entry in book.entries.values() if entry.state is State.FAILED]
    for entry in failed:
        console.print(f"{entry.name} failed: {entry.reason}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"\nFolder: {book.folder} (search.yaml, trials.csv, best.yaml, trials/)", soft_wrap=True, highlight=False
    )
    console.print(f"MLflow: {ui_line(tracking_uri)}", soft_wrap=True, highlight=False)
