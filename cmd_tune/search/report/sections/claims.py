"""The verdict on each claim of a comparison, with its reason and the tests behind it."""

from collections.abc import Sequence
from math import isnan

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from cmd_tune.formatting import markdown_table, markdown_text, named_values, signed
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.claims import ClaimResult
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.looks import LOOKS
from cmd_tune.search.report.scores_in_words import p_text
from cmd_tune.search.report.verdicts import ALPHA, PairedDifference, Verdict

_STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT: "red", Verdict.CANNOT_TELL: "yellow"}
_LOOKS_RULE = (
    "Each further look at a claim, with more seeds, is tested at half the level of the one before, so that all looks "
    f"together err in {100 * ALPHA:.0f} % at most"
)
_HEAD = ("metric", "cell", "other cell", "seeds", "difference (95 % interval)", "p for", "p against")


def claims(findings: StudyFindings) -> Section | None:
    """None for a search, and of a comparison without claims."""
    if findings.comparison is None or not findings.comparison.stated.claims:
        return None
    results = findings.comparison.claims
    return Section("\n\n".join(["## Claims", *in_markdown(results)]), on_screen(results))


def in_markdown(results: Sequence[ClaimResult]) -> list[str]:
    """For each claim: a heading, its reason, the seeds that a verdict would take, and the differences as a table."""
    parts = []
    for result in results:
        rows = [
            [
                a.metric,
                named_values(a.cell.values),
                named_values(b.cell.values),
                str(difference.seeds),
                _difference(difference),
                _p(difference.p_for),
                _p(difference.p_against),
            ]
            for (a, b), difference in zip(result.pairs, result.verdict.differences, strict=True)
        ]
        why = result.why
        parts += [f"### {markdown_text(result.claim.says)}: {result.verdict.verdict}", f"{why[:1].upper()}{why[1:]}."]
        parts += [*([result.power] if result.power else []), markdown_table(_HEAD, rows)]
    return parts


def on_screen(results: Sequence[ClaimResult]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for result in results:
        verdict = result.verdict.verdict
        said = Text(f"{verdict:<12}", style=_STYLES[verdict])
        lines.append(said.append(f"{result.claim.says} ({result.why})", style="default"))
        if result.power:
            lines.append(Padding(Text(result.power, style="dim"), (0, 0, 0, 12)))
    if any(result.verdict.enough_seeds for result in results):
        lines.append(Text(f"{_LOOKS_RULE} ({LOOKS}).", style="dim"))
    return lines


def _difference(difference: PairedDifference) -> str:
    if isnan(difference.mean):
        return signed(None)
    return signed(difference.mean, None if isnan(difference.interval[0]) else difference.interval, digits=2)


def _p(value: float) -> str:
    return "–" if isnan(value) else p_text(value)
