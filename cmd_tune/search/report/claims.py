"""The result of each claim: its verdict, the level that it is tested at, and how many seeds a verdict would take."""

from collections.abc import Sequence
from dataclasses import dataclass

from cmd_tune.search.report.cell_results import CellResult, claimed_pairs
from cmd_tune.search.report.looks import Look, Looks
from cmd_tune.search.report.power import CHANCE, MOST_SEEDS, seeds_needed
from cmd_tune.search.report.verdicts import ClaimVerdict, Verdict, level_of
from cmd_tune.search.spaces.comparison import Claim, Comparison, Relation

_SUPPOSED = (1.0, 3.0)  # differences in points; `power` says how many seeds show them


@dataclass(frozen=True)
class ClaimResult:
    """pairs: the cells of each of the verdict's differences. look: the number of this look at the claim; seeds: how
    many seeds its cells have, as in "3" or "2 to 3". before: the earlier looks.
    """

    claim: Claim
    verdict: ClaimVerdict
    pairs: tuple[tuple[CellResult, CellResult], ...]
    look: int
    seeds: str
    before: tuple[Look, ...]

    @property
    def why(self) -> str:
        """The reason for the verdict, in one line."""
        parts = [self.verdict.why]
        if self.claim.relation is not Relation.ABOVE:
            parts.append(f"margin {_points(self.claim.margin)}")
        if self.verdict.enough_seeds:
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
        """How many seeds a verdict would take; empty if there is a verdict, or if nothing was tested."""
        if self.verdict.verdict is not Verdict.CANNOT_TELL or not self.verdict.enough_seeds:
            return ""
        supposed = self._supposed()
        numbers = ", ".join(f"{self._seeds(distances)} if {words}" for words, distances in supposed)
        return (
            f"Differences vary by {self.verdict.spread:.1f} points from seed to seed. With that, a chance of "
            f"{100 * CHANCE:.0f} % to find that the claim holds takes {numbers}."
        )

    def _seeds(self, distances: Sequence[float]) -> str:
        # More seeds are another look, which is tested at its own level.
        needed = seeds_needed(self.verdict.spread, distances, level_of(self.look + 1))
        return f"more than {MOST_SEEDS} seeds" if needed is None else f"about {needed} seeds a cell"

    def _supposed(self) -> list[tuple[str, list[float]]]:
        """Suppositions in words, each with the distance of every true difference from its test's bound, in points."""
        if self.claim.relation is Relation.WITHIN:
            return [("the cells are alike", [self.claim.margin] * 2 * len(self.pairs))]
        if self.claim.relation is Relation.NOT_BELOW:
            return [("the cells are alike", [self.claim.margin] * len(self.pairs))]
        reported = [a.reported - b.reported for a, b in self.pairs if a.reported is not None and b.reported is not None]
        if len(reported) == len(self.pairs) and min(reported) > 0:
            least = f", {_points(round(min(reported), 2))} at least" if len(reported) > 1 else ""
            return [(f"the differences are as reported{least}", reported)]
        every = "every difference is" if len(self.pairs) > 1 else "the difference is"
        return [(f"{every} {_points(size)}", [size] * len(self.pairs)) for size in _SUPPOSED]


def claim_results(
    comparison: Comparison, results: Sequence[CellResult], verdicts: Sequence[ClaimVerdict], looks: Looks
) -> list[ClaimResult]:
    """One for each claim of the comparison, in the order of the file."""
    return [
        ClaimResult(
            claim,
            verdict,
            tuple(claimed_pairs(comparison, claim, results)),
            looks.number(index),
            looks.seeds(index),
            tuple(looks.before(index)),
        )
        for index, (claim, verdict) in enumerate(zip(comparison.claims, verdicts, strict=True))
    ]


def _points(size: float) -> str:
    """1 point, 1.5 points."""
    return f"{size:g} {'point' if size == 1 else 'points'}"
