"""The end of a table: what was measured beside what was reported, a verdict on each claim, and the files of both.

No cell is picked out by its test score: the table stands in the order of its file.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as Screen
from rich.text import Text

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.evaluate.scores import Scores
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.figures import save_figure
from cmd_tune.files import write_text
from cmd_tune.formatting import csv_text, percent, shown
from cmd_tune.runs.ending import Attempt, outright, written
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report.cell_results import Measured, cells_columns, judged, measure
from cmd_tune.search.report.claims import in_markdown, judged_claims, label, line, on_screen
from cmd_tune.search.report.figures import table_figure
from cmd_tune.search.report.left_out import left_out
from cmd_tune.search.report.looks import LOOKS, Looks
from cmd_tune.search.report.summary import Report, baseline_metrics, write_trials
from cmd_tune.search.report.verdicts import FEWEST
from cmd_tune.search.spaces.comparison import Table
from cmd_tune.search.study.study import Book, State

CELLS, FIGURE, REPORT = "cells.csv", "table.png", "report.md"

_METHOD = f"""\
Measured: percent right, mean over seeds, with a 95 % interval. That is Student's t over seeds (of what seeds change on
this very test set; it knows nothing of other clips and subjects), or, for the baselines and where a cell has one seed,
Wilson's over clips (which knows nothing of seeds), those of a subject taken together where subjects are known. Every
trial was scored at its last epoch, once; nothing was selected. Difference: measured less reported, in points;
accuracies of others stand here only where data, protocol and probe are the same. untrained: the encoder as it starts;
raw 1-NN: the nearest neighbour among bare skeletons, also beside linear accuracies.

Claims are tested on paired differences over seeds, by one-sided paired t-tests. A claim *holds* where every comparison
speaks for it at the level of the look (an intersection-union test: no correction is needed where all must hold); it
*does not* where any speaks against it after Holm's correction over all comparisons; otherwise, or with fewer than
{FEWEST} seeds, one *cannot tell*. With a margin: *flat* is two one-sided tests (TOST) that each difference is smaller
than the margin, and against it a two-sided test that it is larger; *no worse* is a one-sided test that the difference
is above minus the margin, and against it one that it is below.

The first look at a claim is tested at 2.5 %, each further one, with more seeds, at half the level of the one before:
all looks at a claim together err in 5 % at most for it, and in 5 % at most against it. A claim that is stated later
goes on from the last look at the others. The record is {LOOKS}. How many seeds would tell is computed by the noncentral
t distribution, at the level of the next look, from the spread over seeds that was found; a few seeds show that spread
only roughly."""


def table_report(
    book: Book, table: Table, raw: Scores, untrained: Scores, where: Conditions, *, attempt: Attempt = outright
) -> Report:
    """Write trials.csv, baselines.yaml, cells.csv, table.png, report.md and looks.json into the search's folder.

    `attempt` takes each step.
    """
    files = write_trials(book, raw, untrained, attempt)
    reported = dict.fromkeys(name for cell in table.cells for name in cell.reported)
    apart = left_out(table.origin, reported, where)
    measured = measure(book, table, where.queries, reported.keys() - apart.keys())
    looks = Looks(book.folder, table, measured)
    judgements = [judged(table, claim, measured, looks.number(index)) for index, claim in enumerate(table.claims)]
    record = looks.keep(judgements)  # before anybody sees the verdicts
    claims = judged_claims(table, measured, judgements, looks)
    # Bare skeletons have no linear probe; their nearest neighbours are the floor under either kind of accuracy.
    floor = {name.replace("/knn/", kind): value for name, value in raw.items() for kind in ("/knn/", "/linear/")}
    baselines = {"untrained": untrained, "raw 1-NN": floor}
    bounds = _baseline_bounds(book)
    head = f"{table.title or book.space.path.stem}\nmeasured on {where.dataset}, {where.protocol}"
    notes = _notes(table, apart)

    def draw(path: Path) -> None:
        save_figure(table_figure(table.cells, measured, baselines, head), path)

    def describe(path: Path) -> None:
        paragraphs = [
            f"# {table.title or book.folder.name}",
            _setup(book, table, where),
            *notes,
            _markdown(table, measured, baselines, bounds),
            f"![The table as a figure]({FIGURE})",
            *(["## Claims", *in_markdown(claims)] if claims else []),
            "## How it was measured and tested",
            _METHOD,
        ]
        write_text(path, "\n\n".join(paragraphs) + "\n")

    cells = csv_text(cells_columns(table, measured))
    files += written(attempt, book.folder / CELLS, lambda path: write_text(path, cells))
    files += written(attempt, book.folder / FIGURE, draw)
    files += written(attempt, book.folder / REPORT, describe)
    closing = attempt("closing table", lambda: _on_screen(table, measured, baselines, bounds, notes, on_screen(claims)))
    return Report(files + record, baseline_metrics(raw, untrained), closing or "")


def _setup(book: Book, table: Table, where: Conditions) -> str:
    wanted = list(table.trials())
    done = [entry for entry in book.entries.values() if entry.values in wanted and entry.state is State.FINISHED]
    seeds = ", ".join(str(seed) for seed in table.seeds)
    clips = where.queries.get("test", 0)
    lines = [
        f"{where.dataset}, {where.protocol}, preset {book.preset}, {book.base.epochs} epochs, seeds {seeds}: "
        f"{len(done)} of {len(wanted)} trials finished."
        + (f" Test set: {clips} clips; one is {100 / clips:.2f} points." if clips else "")
    ]
    if tally := read_tally(book.folder / UNTRAINED_TALLY):
        lines.append(f"Intervals of baselines, and of cells with one seed, are {tally.describe()}.")
    without = [entry for entry in book.entries.values() if entry.state in (State.FAILED, State.STOPPED)]
    lines += [f"{entry.name} {entry.state} ({label(entry.values)}): {entry.reason}" for entry in without]
    return "\n\n".join(lines)


def _notes(table: Table, apart: Mapping[str, str]) -> list[str]:
    """Whose the reported accuracies are, and why some are not shown: a line each."""
    whys: dict[str, list[str]] = {}
    for metric, why in apart.items():
        whys.setdefault(why, []).append(metric)
    lines = [f"Reported accuracies of {' and '.join(metrics)} are left out: {why}." for why, metrics in whys.items()]
    shown_too = any(cell.reported.keys() - apart.keys() for cell in table.cells)
    origin = table.origin
    return [*([f"Reported: {origin.by}, {origin.dataset} {origin.protocol}."] if origin and shown_too else []), *lines]


def _metrics(measured: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(m.metric for m in measured))


def _compared(measured: Sequence[Measured]) -> list[str]:
    """Metrics that have a reported accuracy beside them."""
    return list(dict.fromkeys(m.metric for m in measured if m.reported is not None))


def _cell_rows(
    table: Table, measured: Sequence[Measured], written: Callable[[float | None, Interval | None], str]
) -> list[list[str]]:
    """A cell's settings; then of each metric what was measured and, where it is compared, reported and difference."""
    rows, compared = [], _compared(measured)
    for cell in table.cells:
        numbers = []
        for m in (m for m in measured if m.cell is cell):
            numbers += [
                written(m.mean, m.interval),
                *([percent(m.reported), _signed(m.difference)] if m.metric in compared else []),
            ]
        rows.append([*(shown(cell.values[name]) for name in table.cells[0].values), *numbers])
    return rows


def _baseline_bounds(book: Book) -> dict[str, dict[str, Interval]]:
    """The intervals of the baselines' test scores, by their names and metrics."""
    bounds: dict[str, dict[str, Interval]] = {}
    for title, file in (("untrained", UNTRAINED_TALLY), ("raw 1-NN", RAW_TALLY)):
        if tally := read_tally(book.folder / file):
            found = {name: interval for name in tally.right if (interval := tally.interval(name))}
            bounds[title] = {name.replace("/knn/", "/linear/"): x for name, x in found.items()} | found
    return bounds


def _baseline_rows(
    table: Table,
    measured: Sequence[Measured],
    baselines: Mapping[str, Scores],
    written: Callable[[float | None, Interval | None], str],
    bounds: Mapping[str, Mapping[str, Interval]],
) -> list[list[str]]:
    blanks = [""] * (len(table.cells[0].values) - 1)
    compared = _compared(measured)
    rows = []
    for title, scores in baselines.items():
        numbers = []
        for metric in _metrics(measured):
            number = written(scores.get(metric), bounds.get(title, {}).get(metric))
            numbers += [number, *(["", ""] if metric in compared else [])]
        rows.append([title, *blanks, *numbers])
    return rows


def _markdown(
    table: Table,
    measured: Sequence[Measured],
    baselines: Mapping[str, Scores],
    bounds: Mapping[str, Mapping[str, Interval]],
) -> str:
    compared = _compared(measured)
    head = [*table.cells[0].values]
    for metric in _metrics(measured):
        head += [metric, *([f"{metric}, reported", f"{metric}, difference"] if metric in compared else [])]
    rows = _cell_rows(table, measured, _with_bounds) + _baseline_rows(table, measured, baselines, _with_bounds, bounds)
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _on_screen(
    table: Table,
    measured: Sequence[Measured],
    baselines: Mapping[str, Scores],
    bounds: Mapping[str, Mapping[str, Interval]],
    notes: Sequence[str],
    claims: Sequence[RenderableType],
) -> RenderableType:
    screen = Screen(box=None, header_style="bold", pad_edge=False)
    compared = _compared(measured)
    for name in table.cells[0].values:
        screen.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for metric in _metrics(measured):
        for part in (metric.replace("/", "\n"), *(("reported", "diff.") if metric in compared else ())):
            screen.add_column(part, justify="right", no_wrap=True)
    for row in _cell_rows(table, measured, _with_half_width):
        screen.add_row(*row)
    for row in _baseline_rows(table, measured, baselines, _with_half_width, bounds):
        screen.add_row(*row, style="dim")
    lines = [f"Percent right, mean ± half its 95 % interval ({_how(measured)}).", *notes]
    return Group(screen, *(Text(line, style="dim") for line in lines), *claims)


def _how(measured: Sequence[Measured]) -> str:
    """What the cells' intervals are over."""
    most = max(len(m.scores) for m in measured)
    if most > 1:
        return f"t over {most} seeds; baselines: over clips"
    return next((f"one seed: {m.method}" for m in measured if m.method), "none was measured")


def _with_bounds(value: float | None, interval: Interval | None) -> str:
    return percent(value) + (f" ({interval[0]:.1f}–{interval[1]:.1f})" if interval else "")


def _with_half_width(value: float | None, interval: Interval | None) -> str:
    return percent(value) + (f" ± {(interval[1] - interval[0]) / 2:.1f}" if interval else "")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 1) + 0.0:+.1f}"  # no -0.0
