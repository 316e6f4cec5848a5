"""Tables of a space file: cells with the accuracies reported of them, seeds that repeat them, claims about them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Any

from cmd_tune.config import Settings
from cmd_tune.search.spaces.parameter import Parameter, Place, found
from cmd_tune.search.spaces.reported import REPORTED_ON, Origin, read_origin


class Relation(StrEnum):
    ABOVE = "above"
    WITHIN = "within a margin of"
    NOT_BELOW = "not below, by a margin,"


REPORTED, SEED = "reported", "seed"

_CELL = "{setting: value, reported: {test/linear/joint: 79.8}}"
_SHAPES = {
    "best": "{setting: value}, the cell above all others",
    "ordered": "[{setting: value}, …], cells from the lowest to the highest",
    "decreasing": "{along: setting, over: [values]}",
    "flat": "[{setting: value}, …], cells that differ by less than margin",
    "no_worse": "{cell: {setting: value}, than: {setting: value}}",
}
_RELATIONS = {"flat": Relation.WITHIN, "no_worse": Relation.NOT_BELOW}  # the others say that one is above the other
_CLAIM = "{says: in words, best: {setting: value}}"


@dataclass(frozen=True)
class Cell:
    """One configuration of a table: the settings it fixes, and accuracies in percent that were reported of it."""

    values: dict[str, Any]
    reported: dict[str, float]


@dataclass(frozen=True)
class Claim:
    """A sentence about cells, as what it says of pairs of them: of (a, b), a stands in `relation` to b.

    `margin` in points, where the relation has one. The claim is made of each metric in `metrics`.
    """

    says: str
    relation: Relation
    pairs: tuple[tuple[int, int], ...]
    metrics: tuple[str, ...]
    margin: float = 0.0


@dataclass(frozen=True)
class Table:
    """Every cell with every seed. Nothing is selected, so nothing is searched: all cells run to their last epoch.

    origin: of the reported accuracies, where the file states it.
    """

    title: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    origin: Origin | None = None

    def trials(self) -> Iterator[dict[str, Any]]:
        """The values of each trial: all cells with the first seed, then with the second. A table cut short is whole."""
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


def read_table(top: Place, content: Mapping[str, Any], settings: Mapping[str, Any]) -> Table:
    """The table of a space file. settings: the file's own, which no cell may name again. Raises UsageError."""
    cells: list[Cell] = []
    for at, value in top["cells"].items(content["cells"], f"cells such as {_CELL}"):
        cell = _cell(at, value, settings)
        if cells and (absent := [name for name in cells[0].values if name not in cell.values]):
            raise at.error(f"lacks {', '.join(absent)}; every cell gives every setting of the table a value")
        if cells and (more := [name for name in cell.values if name not in cells[0].values]):
            raise at[more[0]].error("is not in the first cell; every cell gives every setting of the table a value")
        if cell.values in [other.values for other in cells]:
            raise at.error("stands there twice; remove one, and repeat cells with seeds")
        cells.append(cell)
    if not cells:
        raise top["cells"].error("is empty; list one cell or more")
    seeds: list[int] = []
    for at, value in top["seeds"].items(content.get("seeds", [0]), "whole numbers, such as [0, 1, 2]"):
        seed = at.count(value, 0)
        if seed in seeds:
            raise at.error(f"{seed} stands there twice; remove one")
        seeds.append(seed)
    if not seeds:
        raise top["seeds"].error("is empty; list one seed or more")
    reported = tuple(dict.fromkeys(name for cell in cells for name in cell.reported))
    claims = top["claims"].items(content.get("claims", []), f"claims such as {_CLAIM}")
    title = top["title"].text(content["title"]) if "title" in content else ""
    origin = read_origin(top[REPORTED_ON], content[REPORTED_ON]) if REPORTED_ON in content else None
    read = tuple(_claim(at, claim, cells, reported) for at, claim in claims)
    return Table(title, tuple(cells), tuple(seeds), read, origin)


def _cell(at: Place, value: Any, settings: Mapping[str, Any]) -> Cell:
    spec = at.mapping(value, (*Settings.model_fields, REPORTED), _CELL)
    if SEED in spec:
        raise at[SEED].error("does not belong into a cell; seeds repeats every cell with each seed")
    for name in spec:
        if name in settings:
            raise at[name].error("stands in settings too; keep it in one place")
    values = {name: at[name].setting(name, given) for name, given in spec.items() if name != REPORTED}
    if not values:
        raise at.error(f"has no setting; write {_CELL}")
    reported = spec.get(REPORTED, {})
    if not isinstance(reported, dict):
        raise at[REPORTED].error(f"should be a mapping {{metric: percent}}; found {found(reported)}")
    return Cell(values, {str(name): float(_percent(at[REPORTED][str(name)], x)) for name, x in reported.items()})


def _percent(at: Place, value: Any) -> float:
    if not 0 <= at.number(value) <= 100:
        raise at.error(f"{value} is no accuracy in percent; write a number of 0 to 100")
    return value


def _claim(at: Place, value: Any, cells: Sequence[Cell], reported: tuple[str, ...]) -> Claim:
    spec = at.mapping(value, ("says", *_SHAPES, "metrics", "margin"), _CLAIM, needed=("says",))
    kinds = [key for key in spec if key in _SHAPES]
    if len(kinds) != 1:
        raise at.error(f"says {' and '.join(kinds) or 'nothing of cells'}; write one of {', '.join(_SHAPES)}")
    kind = kinds[0]
    relation = _RELATIONS.get(kind, Relation.ABOVE)
    if (relation is Relation.ABOVE) == ("margin" in spec):
        said = f"does not go with {kind}; remove it" if "margin" in spec else f"is missing; {kind} needs one, in points"
        raise at["margin"].error(said)
    margin = at["margin"].number(spec.get("margin", 0.0))
    if margin <= 0 and relation is not Relation.ABOVE:
        raise at["margin"].error(f"{margin} is not above 0; write how many points count as no difference")
    metrics = (
        tuple(place.text(name) for place, name in at["metrics"].items(spec["metrics"], "metrics"))
        if ("metrics" in spec)
        else reported
    )
    if not metrics:
        raise at["metrics"].error("names none, and no cell has a reported one; write metrics: [test/linear/joint]")
    pairs = _pairs(kind, at[kind], spec[kind], cells)
    return Claim(at["says"].text(spec["says"]), relation, tuple(pairs), metrics, float(margin))


def _pairs(kind: str, at: Place, value: Any, cells: Sequence[Cell]) -> list[tuple[int, int]]:
    if kind == "best":
        best = _find(at, value, cells)
        if len(cells) == 1:
            raise at.error("there is no other cell; a best one needs at least two")
        return [(best, other) for other in range(len(cells)) if other != best]
    if kind == "decreasing":
        return _falling(at, value, cells)
    if kind == "no_worse":
        sides = at.mapping(value, ("cell", "than"), _SHAPES[kind], needed=("cell", "than"))
        chosen = [_find(at[side], sides[side], cells) for side in ("cell", "than")]
    else:
        chosen = [_find(place, cell, cells) for place, cell in at.items(value, _SHAPES[kind])]
    if len(chosen) < 2 or len(set(chosen)) != len(chosen):
        raise at.error("compares two cells or more, each once")
    if kind == "flat":
        return list(combinations(chosen, 2))
    return [(higher, lower) for lower, higher in pairwise(chosen)] if kind == "ordered" else [(chosen[0], chosen[1])]


def _falling(at: Place, value: Any, cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """(earlier, later) of neighbouring values of a setting, among cells that agree in all other settings."""
    spec = at.mapping(value, ("along", "over"), _SHAPES["decreasing"], needed=("along", "over"))
    name = at["along"].one_of(spec["along"], cells[0].values)
    over = [place.setting(name, x) for place, x in at["over"].items(spec["over"], "values, from the best to the worst")]
    groups: dict[str, dict[int, int]] = {}
    for index, cell in enumerate(cells):
        if cell.values[name] in over:
            others = str([x for key, x in cell.values.items() if key != name])
            groups.setdefault(others, {})[over.index(cell.values[name])] = index
    pairs = [pair for group in groups.values() for pair in pairwise(index for _, index in sorted(group.items()))]
    if not pairs:
        raise at["over"].error(
            f"no two cells differ in {name} alone and have such values; add some or change the claim"
        )
    return pairs


def _find(at: Place, value: Any, cells: Sequence[Cell]) -> int:
    """The one cell that has these values; a claim need not repeat what tells no cells apart."""
    spec = at.mapping(value, cells[0].values, "setting: value")
    wanted = {name: at[name].setting(name, given) for name, given in spec.items()}
    there = [index for index, cell in enumerate(cells) if wanted.items() <= cell.values.items()]
    if len(there) != 1:
        cure = "name more of its settings" if there else "add it, or change the claim"
        raise at.error(f"is {f'any of {len(there)}' if there else 'none of the'} cells; {cure}")
    return there[0]
