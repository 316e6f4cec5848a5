"""A comparison in a space file: cells, the accuracies reported of them, seeds that repeat them, claims about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.reported import Origin


class Relation(StrEnum):
    ABOVE = "above"
    WITHIN = "within a margin of"
    NOT_BELOW = "not below, by a margin,"


SEED = "seed"  # what a cell is repeated with


@dataclass(frozen=True)
class Cell:
    """One configuration of a comparison: the settings it fixes, and accuracies in percent that were reported of it."""

    values: dict[str, Any]
    reported: dict[str, float]


@dataclass(frozen=True)
class Claim:
    """A sentence about cells, as what it says of pairs of them: of (a, b), a stands in `relation` to b.

    `margin` in points, if the relation has one. The claim is made of each metric in `metrics`.
    """

    says: str
    relation: Relation
    pairs: tuple[tuple[int, int], ...]
    metrics: tuple[str, ...]
    margin: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Every cell with every seed. Nothing is selected, so nothing is searched: all cells run to their last epoch.

    origin: of the reported accuracies, if the file states it.
    """

    title: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    origin: Origin | None = None

    def trials(self) -> Iterator[dict[str, Any]]:
        """The values of each trial: all cells with the first seed, then all with the second, and so on.

        If the search is cut short, every cell has the same number of seeds, give or take one.
        """
        for seed in self.seeds:
            for cell in self.cells:
                yield {**cell.values, SEED: seed}

    def parameters(self) -> dict[str, Parameter]:
        """What differs between trials, each with the values it takes."""
        columns = {name: [cell.values[name] for cell in self.cells] for name in self.cells[0].values}
        columns[SEED] = list(self.seeds)
        return {
            name: Parameter(name, "categorical", choices=tuple(x for i, x in enumerate(xs) if x not in xs[:i]))
            for name, xs in columns.items()
        }

    def metrics(self) -> tuple[str, ...]:
        """The metrics that were reported or claimed, in the order of the file."""
        reported = [name for cell in self.cells for name in cell.reported]
        claimed = [name for claim in self.claims for name in claim.metrics]
        return tuple(dict.fromkeys(reported + claimed))

    def cells_of(self, metric: str) -> list[Cell]:
        """The cells that have this metric reported, or of which a claim is made by it."""
        claimed = {index for claim in self.claims if metric in claim.metrics for pair in claim.pairs for index in pair}
        return [cell for index, cell in enumerate(self.cells) if metric in cell.reported or index in claimed]
