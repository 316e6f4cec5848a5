"""The table of a comparison: each cell's score on each metric beside the reported one, and the baselines.

No cell is picked out by its test score: cells stand in the order of the file.
"""

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.formatting import format_value, markdown_table, markdown_text, percent, signed
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.cell_results import CellResult
from cmd_tune.search.report.findings import ComparisonFindings, StudyFindings
from cmd_tune.search.report.left_out import left_out_lines

FormatScore = Callable[[float | None, Interval | None], str]


def cells(findings: StudyFindings) -> Section | None:
    """None for a search."""
    comparison = findings.comparison
    if comparison is None:
        return None
    notes = _notes(comparison)
    legend = f"Percent right, mean ± half its 95 % interval ({_what_intervals_cover(comparison.results)})."
    screen: list[RenderableType] = [_screen_table(comparison), *(Text(line, style="dim") for line in (legend, *notes))]
    return Section("\n\n".join([*map(markdown_text, notes), _markdown(comparison)]), screen)


def _notes(comparison: ComparisonFindings) -> list[str]:
    """The source of the reported accuracies, and why some are not shown, in one line each."""
    left_out, origin = comparison.left_out, comparison.stated.origin
    shown = any(cell.reported.keys() - left_out.keys() for cell in comparison.stated.cells)
    return left_out_lines(origin, left_out, all_left_out=not shown)


def _rows(comparison: ComparisonFindings, score: FormatScore) -> Iterator[list[str]]:
    """Per cell its settings, then per metric our score and, if it is reported of any cell, that and the difference."""
    reported = comparison.reported_metrics
    for cell in comparison.stated.cells:
        row = [format_value(cell.values[name]) for name in comparison.settings]
        for result in (result for result in comparison.results if result.cell is cell):
            row.append(score(result.mean, result.interval))
            row += [percent(result.reported), signed(result.difference)] if result.metric in reported else []
        yield row


def _baseline_rows(comparison: ComparisonFindings, score: FormatScore) -> Iterator[list[str]]:
    """The baselines in the columns of `_rows`."""
    reported = comparison.reported_metrics
    for title, scores in comparison.baselines.items():
        row = [title, *[""] * (len(comparison.settings) - 1)]
        for metric in comparison.metrics:
            row.append(score(scores.get(metric), comparison.baseline_intervals.get(title, {}).get(metric)))
            row += ["", ""] if metric in reported else []
        yield row


def _markdown(comparison: ComparisonFindings) -> str:
    head = [*comparison.settings]
    for metric in comparison.metrics:
        head.append(metric)
        head += [f"{metric}, reported", f"{metric}, difference"] if metric in comparison.reported_metrics else []
    return markdown_table(head, [*_rows(comparison, percent), *_baseline_rows(comparison, percent)])


def _screen_table(comparison: ComparisonFindings) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    headings = [name.replace("_", "\n") for name in comparison.settings]
    for metric in comparison.metrics:
        headings.append(metric.replace("/", "\n"))
        headings += ["reported", "diff."] if metric in comparison.reported_metrics else []
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _rows(comparison, _with_half_width):
        table.add_row(*row)
    for row in _baseline_rows(comparison, _with_half_width):
        table.add_row(*row, style="dim")
    return table


def _what_intervals_cover(results: Sequence[CellResult]) -> str:
    most = max(len(result.scores) for result in results)
    if most > 1:
        return f"t over {most} seeds; baselines: over clips"
    return next((f"one seed: {result.method}" for result in results if result.method), "none was measured")


def _with_half_width(value: float | None, interval: Interval | None) -> str:
    return percent(value) + (f" ± {(interval[1] - interval[0]) / 2:.1f}" if interval else "")
