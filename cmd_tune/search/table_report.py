"""The end of a table: what was measured beside what was reported, a verdict on each claim, and the files of both.

No cell is picked out by its test score: the table stands in the order of its file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as Screen
from rich.text import Text

from cmd_tune.evaluate.scores import Scores
from cmd_tune.figures import save_figure
from cmd_tune.files import write_text
from cmd_tune.search.display import shown
from cmd_tune.search.ending import Attempt, outright
from cmd_tune.search.measured import Measured, cells_columns, judged, measure
from cmd_tune.search.report import Report, baseline_metrics, csv_text, percent, write_trials, written
from cmd_tune.search.study import Book, State
from cmd_tune.search.table import Claim, Table
from cmd_tune.search.table_figures import table_figure
from cmd_tune.search.verdicts import ALPHA, FEWEST, Comparison, Judgement, Relation, Verdict

CELLS, FIGURE, REPORT = "cells.csv", "table.png", "report.md"
_STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT: "red", Verdict.CANNOT_TELL: "yellow"}

_METHOD = f"""\
Measured: percent right, mean over seeds, with a 95 % interval: Student's t over seeds, or Wilson's over clips where a
cell has one seed (it knows nothing of what seeds change). Every trial was scored at its last epoch, once; nothing was
selected. Difference: measured less reported, in points. untrained: the encoder as it starts; raw 1-NN: the nearest
neighbour among bare skeletons, also beside linear accuracies.

Claims are tested on paired differences over seeds, by paired t-tests, two-sided, α = {ALPHA}, with Holm's correction
over all comparisons of a claim. A claim *holds* where every comparison speaks for it, *does not* where any speaks
against it; otherwise, or with fewer than {FEWEST} seeds, one *cannot tell*. With a margin: *flat* is two one-sided
tests (TOST) that each difference is smaller than the margin, and against it a two-sided test that it is larger; *no
worse* is a one-sided test that the difference is above minus the margin, and against it one that it is below."""


def table_report(
    book: Book,
    table: Table,
    raw: Scores,
    untrained: Scores,
    *,
    where: str,
    queries: Mapping[str, int],
    attempt: Attempt = outright,
) -> Report:
    """Write trials.csv, baselines.yaml, cells.csv, table.png and report.md into the search's folder.

    where: data set and protocol, in words. queries: clips behind an accuracy of "val" and "test". `attempt` takes each
    step.
    """
    files = write_trials(book, raw, untrained, attempt)
    measured = measure(book, table, queries)
    judgements = [judged(table, claim, measured) for claim in table.claims]
    # Bare skeletons have no linear probe; their nearest neighbours are the floor under either kind of accuracy.
    floor = {name.replace("/knn/", kind): value for name, value in raw.items() for kind in ("/knn/", "/linear/")}
    baselines = {"untrained": untrained, "raw 1-NN": floor}
    head = f"{table.title or book.space.path.stem}\nmeasured on {where}"

    def draw(path: Path) -> None:
        save_figure(table_figure(table.cells, measured, baselines, head), path)

    def describe(path: Path) -> None:
        paragraphs = [
            f"# {table.title or book.folder.name}",
            _setup(book, table, where, queries),
            _markdown(table, measured, baselines),
            f"![The table as a figure]({FIGURE})",
            *(["## Claims", *_claims(table, measured, judgements)] if table.claims else []),
            "## How it was measured and tested",
            _METHOD,
        ]
        write_text(path, "\n\n".join(paragraphs) + "\n")

    cells = csv_text(cells_columns(table, measured))
    files += written(attempt, book.folder / CELLS, lambda path: write_text(path, cells))
    files += written(attempt, book.folder / FIGURE, draw)
    files += written(attempt, book.folder / REPORT, describe)
    on_screen = attempt("closing table", lambda: _on_screen(table, measured, judgements, baselines))
    return Report(files, baseline_metrics(raw, untrained), on_screen or "")


def _setup(book: Book, table: Table, where: str, queries: Mapping[str, int]) -> str:
    wanted = list(table.trials())
    done = [entry for entry in book.entries.values() if entry.values in wanted and entry.state is State.FINISHED]
    seeds = ", ".join(str(seed) for seed in table.seeds)
    lines = [
        f"{where}, preset {book.preset}, {book.base.epochs} epochs, seeds {seeds}: {len(done)} of {len(wanted)} trials "
        "finished."
        + (f" Test set: {queries['test']} clips; one is {100 / queries['test']:.2f} points." if queries else "")
    ]
    failed = [entry for entry in book.entries.values() if entry.state is State.FAILED]
    lines += [f"{entry.name} failed ({_label(entry.values)}): {entry.reason}" for entry in failed]
    return "\n\n".join(lines)


def _metrics(measured: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(m.metric for m in measured))


def _cell_rows(table: Table, measured: Sequence[Measured], written: Callable[[Measured], str]) -> list[list[str]]:
    """A cell's settings; then of each metric what was measured, what was reported, and the difference."""
    rows = []
    for cell in table.cells:
        ours = [m for m in measured if m.cell is cell]
        numbers = [text for m in ours for text in (written(m), percent(m.reported), _signed(m.difference))]
        rows.append([*(shown(cell.values[name]) for name in table.cells[0].values), *numbers])
    return rows


def _baseline_rows(table: Table, metrics: Sequence[str], baselines: Mapping[str, Scores]) -> list[list[str]]:
    blanks = [""] * (len(table.cells[0].values) - 1)
    return [
        [title, *blanks, *(text for metric in metrics for text in (percent(scores.get(metric)), "", ""))]
        for title, scores in baselines.items()
    ]


def _markdown(table: Table, measured: Sequence[Measured], baselines: Mapping[str, Scores]) -> str:
    metrics = _metrics(measured)
    head = [*table.cells[0].values, *(m + part for m in metrics for part in ("", ", reported", ", difference"))]
    rows = _cell_rows(table, measured, _with_bounds) + _baseline_rows(table, metrics, baselines)
    return "\n".join([_line(head), "|" + "---|" * len(head), *map(_line, rows)])


def _claims(table: Table, measured: list[Measured], judgements: Sequence[Judgement]) -> list[str]:
    """A heading, a sentence and the comparisons of each claim."""
    parts = []
    for claim, judgement in zip(table.claims, judgements, strict=True):
        lines = [
            f"### {claim.says}: {judgement.verdict}",
            f"{judgement.why[:1].upper()}{judgement.why[1:]}{_margin(claim)}.",
        ]
        rows = [
            _line(["metric", "cell", "other cell", "seeds", "difference (95 % interval)", "p for", "p against"]),
            "|" + "---|" * 7,
        ]
        pairs = [(metric, *pair) for metric in claim.metrics for pair in claim.pairs]
        for (metric, a, b), c in zip(pairs, judgement.comparisons, strict=True):
            cells = [_label(table.cells[index].values) for index in (a, b)]
            rows.append(_line([metric, *cells, str(c.seeds), _difference(c), _p(c.p_for), _p(c.p_against)]))
        parts += [*lines, "\n".join(rows)]
    return parts


def _on_screen(
    table: Table, measured: Sequence[Measured], judgements: Sequence[Judgement], baselines: Mapping[str, Scores]
) -> RenderableType:
    screen = Screen(box=None, header_style="bold", pad_edge=False)
    metrics = _metrics(measured)
    for name in table.cells[0].values:
        screen.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for metric in metrics:
        for part in (metric.replace("/", "\n"), "reported", "diff."):
            screen.add_column(part, justify="right", no_wrap=True)
    for row in _cell_rows(table, measured, _with_half_width):
        screen.add_row(*row)
    for row in _baseline_rows(table, metrics, baselines):
        screen.add_row(*row, style="dim")
    seeds = sorted({len(m.scores) for m in measured})
    how = f"t over {seeds[-1]} seeds" if seeds[-1] > 1 else "Wilson over clips, one seed"
    lines: list[RenderableType] = [screen, Text(f"Percent right, mean ± half its 95 % interval ({how}).", style="dim")]
    for claim, judgement in zip(table.claims, judgements, strict=True):
        verdict = Text(f"{judgement.verdict:<12}", style=_STYLES[judgement.verdict])
        lines.append(verdict.append(f"{claim.says} ({judgement.why}{_margin(claim)})", style="default"))
    return Group(*lines)


def _margin(claim: Claim) -> str:
    if claim.relation is Relation.ABOVE:
        return ""
    return f"; margin {claim.margin:g} {'point' if claim.margin == 1 else 'points'}"


def _label(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def _with_bounds(m: Measured) -> str:
    return percent(m.mean) + (f" ({m.interval[0]:.1f}–{m.interval[1]:.1f})" if m.interval else "")


def _with_half_width(m: Measured) -> str:
    return percent(m.mean) + (f" ± {(m.interval[1] - m.interval[0]) / 2:.1f}" if m.interval else "")


def _difference(c: Comparison) -> str:
    if isnan(c.mean):
        return "–"
    return f"{c.mean:+.2f}" + ("" if isnan(c.interval[0]) else f" ({c.interval[0]:+.2f} to {c.interval[1]:+.2f})")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 1) + 0.0:+.1f}"  # no -0.0


def _p(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
