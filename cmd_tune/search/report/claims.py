"""A table's claims in words: the verdict on each, what it is tested at, and how many seeds would tell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from cmd_tune.formatting import shown
from cmd_tune.search.report.cell_results import Measured, claimed_pairs
from cmd_tune.search.report.looks import LOOKS, Look, Looks
from cmd_tune.search.report.power import CHANCE, MOST_SEEDS, seeds_needed
from cmd_tune.search.report.verdicts import ALPHA, Comparison, Judgement, Verdict, level_of
from cmd_tune.search.spaces.comparison import Claim, Relation, Table

_STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT: "red", Verdict.CANNOT_TELL: "yellow"}
LOOKS_RULE = (
    "Each further look at a claim, with more seeds, is tested at half the level of the one before, so that all looks "
    f"together err in {100 * ALPHA:.0f} % at most"
)
_DIFFERENCES = (1.0, 3.0)  # points, of which it is said how many seeds would show them


@dataclass(frozen=True)
class JudgedClaim:
    """pairs: what its comparisons compare. look, seeds: the look being taken, and a cell's seeds at it."""

    claim: Claim
    judgement: Judgement
    pairs: tuple[tuple[Measured, Measured], ...]
    look: int
    seeds: str
    before: tuple[Look, ...]

    @property
    def why(self) -> str:
        """What the verdict rests on, in one line."""
        parts = [self.judgement.why]
        if self.claim.relation is not Relation.ABOVE:
            parts.append(f"margin {_points(self.claim.margin)}")
        if self.judgement.tested:
            parts.append(self._tested_at())
        return "; ".join(parts)

    def _tested_at(self) -> str:
        level = f"tested at {100 * level_of(self.look):.3g} %"
        if self.look == 1:
            return f"first look, {self.seeds} seeds a cell, {level}"
        first = self.before[0].number if self.before else self.look
        late = f", first stated after look {first - 1}, when scores had been seen" if first > 1 else ""
        earlier = "".join(f", look {look.number} with {look.seeds} gave '{look.verdict}'" for look in self.before)
        return f"look {self.look}, {self.seeds} seeds a cell, {level}{late}{earlier}"

    @property
    def power(self) -> str:
        """How many seeds would tell, where these cannot; empty where there is nothing to say."""
        judgement = self.judgement
        if judgement.verdict is not Verdict.CANNOT_TELL or not judgement.tested:
            return ""
        supposed = self._supposed()
        numbers = ", ".join(f"{self._seeds(distances)} if {words}" for words, distances in supposed)
        return (
            f"Differences vary by {judgement.spread:.1f} points from seed to seed. With that, a chance of "
            f"{100 * CHANCE:.0f} % to find that the claim holds takes {numbers}."
        )

    def _seeds(self, distances: Sequence[float]) -> str:
        # More seeds are another look, which is tested at its own level.
        needed = seeds_needed(self.judgement.spread, distances, level_of(self.look + 1))
        return f"more than {MOST_SEEDS} seeds" if needed is None else f"about {needed} seeds a cell"

    def _supposed(self) -> list[tuple[str, list[float]]]:
        """What may be true, in words, and how far it lies from what each test asks, in points."""
        if self.claim.relation is Relation.WITHIN:
            return [("the cells are alike", [self.claim.margin] * 2 * len(self.pairs))]
        if self.claim.relation is Relation.NOT_BELOW:
            return [("the cells are alike", [self.claim.margin] * len(self.pairs))]
        reported = [a.reported - b.reported for a, b in self.pairs if a.reported is not None and b.reported is not None]
        if len(reported) == len(self.pairs) and min(reported) > 0:
            least = f", {_points(round(min(reported), 2))} at least" if len(reported) > 1 else ""
            return [(f"the differences are as reported{least}", reported)]
        every = "every difference is" if len(self.pairs) > 1 else "the difference is"
        return [(f"{every} {_points(size)}", [size] * len(self.pairs)) for size in _DIFFERENCES]


def judged_claims(
    table: Table, measured: list[Measured], judgements: Sequence[Judgement], looks: Looks
) -> list[JudgedClaim]:
    return [
        JudgedClaim(
            claim,
            judgement,
            tuple(claimed_pairs(table, claim, measured)),
            looks.number(index),
            looks.seeds(index),
            tuple(looks.before(index)),
        )
        for index, (claim, judgement) in enumerate(zip(table.claims, judgements, strict=True))
    ]


def in_markdown(claims: Sequence[JudgedClaim]) -> list[str]:
    """Of each claim a heading, a sentence, the seeds that would tell and the comparisons."""
    parts = []
    for judged in claims:
        why = judged.why
        rows = [
            line(["metric", "cell", "other cell", "seeds", "difference (95 % interval)", "p for", "p against"]),
            "|" + "---|" * 7,
        ]
        for (a, b), c in zip(judged.pairs, judged.judgement.comparisons, strict=True):
            cells = [label(m.cell.values) for m in (a, b)]
            rows.append(line([a.metric, *cells, str(c.seeds), _difference(c), _p(c.p_for), _p(c.p_against)]))
        parts += [f"### {judged.claim.says}: {judged.judgement.verdict}", f"{why[:1].upper()}{why[1:]}."]
        parts += [*([judged.power] if judged.power else []), "\n".join(rows)]
    return parts


def on_screen(claims: Sequence[JudgedClaim]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for judged in claims:
        verdict = judged.judgement.verdict
        said = Text(f"{verdict:<12}", style=_STYLES[verdict])
        lines.append(said.append(f"{judged.claim.says} ({judged.why})", style="default"))
        if judged.power:
            lines.append(Padding(Text(judged.power, style="dim"), (0, 0, 0, 12)))
    if any(judged.judgement.tested for judged in claims):
        lines.append(Text(f"{LOOKS_RULE} ({LOOKS}).", style="dim"))
    return lines


def label(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def line(cells: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def _points(size: float) -> str:
    return f"{size:g} {'point' if size == 1 else 'points'}"


def _difference(c: Comparison) -> str:
    if isnan(c.mean):
        return "–"
    return f"{c.mean:+.2f}" + ("" if isnan(c.interval[0]) else f" ({c.interval[0]:+.2f} to {c.interval[1]:+.2f})")


def _p(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"
