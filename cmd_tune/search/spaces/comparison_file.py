"""Reads a comparison from a space file: its cells, and the claims about them."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import PlainValidator, model_validator

from cmd_tune.mistakes import Mistakes, mistake
from cmd_tune.search.spaces.comparison import SEED, Cell, Claim, Relation
from cmd_tune.search.spaces.file_model import (
    FileModel,
    IfWritten,
    Number,
    Text,
    one_of,
    read_list,
    read_mapping,
    setting,
    text,
    whole,
)
from cmd_tune.search.spaces.reported import REPORTED, read_reported
from cmd_tune.settings import Settings

_CELL = "{setting: value, reported: {test/linear/joint: 79.8}}"
_RELATIONS = {  # what a claim may say of cells
    "best": Relation.ABOVE,
    "ordered": Relation.ABOVE,
    "decreasing": Relation.ABOVE,
    "flat": Relation.WITHIN,
    "no_worse": Relation.NOT_BELOW,
}


def read_cells(value: Any, settings: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The cells of a comparison. settings: the file's own, which no cell may name again. Raises ValueError."""
    cells = read_list(value, f"cells such as {_CELL}", lambda item: _cell(item, settings))
    if not cells:
        raise ValueError("is empty; list one cell or more")
    first = cells[0].values
    with Mistakes() as mistakes:
        for index, cell in enumerate(cells):
            if absent := [name for name in first if name not in cell.values]:
                absence = f"lacks {', '.join(absent)}; every cell gives every setting of the table a value"
                mistakes.add(absence, index)
            for name in cell.values:
                if name not in first:
                    extra = "is not in the first cell; every cell gives every setting of the table a value"
                    mistakes.add(extra, index, name)
            if cell.values in [other.values for other in cells[:index]]:
                mistakes.add("is listed twice; remove one, and repeat cells with seeds", index)
    return cells


def _cell(value: Any, settings: Mapping[str, Any]) -> Cell:
    def read(key: str, part: Any) -> Any:
        if key == REPORTED:
            return read_reported(part)
        if key == SEED:
            raise ValueError("does not belong into a cell; seeds repeats every cell with each seed")
        if key in settings:
            raise ValueError("is in settings, too; keep it in one place")
        return setting(key, part)

    values = read_mapping(value, _CELL, read, (*Settings.model_fields, REPORTED))
    reported = values.pop(REPORTED, {})
    if not values:
        raise ValueError(f"has no setting; write {_CELL}")
    return Cell(values, reported)


def read_seeds(value: Any) -> tuple[int, ...]:
    """The seeds that every cell is repeated with. Raises ValueError."""
    seeds: list[int] = []

    def read(item: Any) -> int:
        seed = whole(item, 0)
        if seed in seeds:
            raise ValueError(f"{seed} is listed twice; remove one")
        seeds.append(seed)
        return seed

    if not read_list(value, "whole numbers, such as [0, 1, 2]", read):
        raise ValueError("is empty; list one seed or more")
    return tuple(seeds)


class _Sides(FileModel):
    """The two cells of `no_worse`."""

    example: ClassVar[str] = "{cell: {setting: value}, than: {setting: value}}"

    cell: Any
    than: Any


class _Falling(FileModel):
    """`decreasing`: along a setting, over values from the best to the worst."""

    example: ClassVar[str] = "{along: setting, over: [values]}"

    along: Any
    over: Any


def _metrics(value: Any) -> tuple[str, ...]:
    return read_list(value, "metrics", text)


class ClaimSpec(FileModel):
    """A claim as it is written: a sentence, and one key that relates cells."""

    example: ClassVar[str] = "{says: in words, best: {setting: value}}"

    says: Text
    best: Any = None
    ordered: Any = None
    decreasing: IfWritten[_Falling] = None
    flat: Any = None
    no_worse: IfWritten[_Sides] = None
    metrics: IfWritten[Annotated[tuple[str, ...], PlainValidator(_metrics)]] = None
    margin: IfWritten[Number] = None

    @property
    def kind(self) -> str:
        """The key that relates cells."""
        return next(key for key in _RELATIONS if key in self.model_fields_set)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        kinds = [key for key in ClaimSpec.model_fields if key in _RELATIONS and key in self.model_fields_set]
        if len(kinds) != 1:
            raise ValueError(f"says {' and '.join(kinds) or 'nothing of cells'}; write one of {', '.join(_RELATIONS)}")
        kind, margin = kinds[0], self.margin
        above = _RELATIONS[kind] is Relation.ABOVE
        if above and margin is not None:
            raise mistake(f"does not go with {kind}; remove it", "margin")
        if not above and margin is None:
            raise mistake(f"is missing; {kind} needs one, in points", "margin")
        if margin is not None and margin <= 0:
            raise mistake(f"{margin} is not above 0; write how many points count as no difference", "margin")
        return self

    def claim(self, cells: Sequence[Cell]) -> Claim:
        """The claim about these cells. Raises ValueError with the mistakes, each at its key."""
        reported = tuple(dict.fromkeys(metric for cell in cells for metric in cell.reported))
        metrics = reported if self.metrics is None else self.metrics
        with Mistakes() as mistakes:
            if not metrics:
                mistakes.add(
                    "names none, and no cell has a reported one; write metrics: [test/linear/joint]", "metrics"
                )
            with mistakes.at(self.kind):
                pairs = self._pairs(cells)
        return Claim(self.says, _RELATIONS[self.kind], tuple(pairs), metrics, float(self.margin or 0))

    def _pairs(self, cells: Sequence[Cell]) -> list[tuple[int, int]]:
        """The pairs of cells that the claim relates, by their indices."""
        if self.kind == "best":
            best = _find(self.best, cells)
            if len(cells) == 1:
                raise ValueError("there is no other cell; a best one needs at least two")
            return [(best, other) for other in range(len(cells)) if other != best]
        if self.decreasing is not None:
            return _falling_pairs(self.decreasing, cells)
        if self.no_worse is not None:
            sides = {"cell": self.no_worse.cell, "than": self.no_worse.than}
            chosen = tuple(read_mapping(sides, _Sides.example, lambda side, cell: _find(cell, cells)).values())
        else:
            which = "from the lowest to the highest" if self.kind == "ordered" else "that differ by less than margin"
            listed = self.ordered if self.kind == "ordered" else self.flat
            chosen = read_list(listed, f"cells {which}, [{{setting: value}}, …]", lambda cell: _find(cell, cells))
        if len(chosen) < 2 or len(set(chosen)) != len(chosen):
            raise ValueError("compares two cells or more, each once")
        if self.kind == "flat":
            return list(combinations(chosen, 2))
        if self.kind == "ordered":
            return [(higher, lower) for lower, higher in pairwise(chosen)]
        return [(chosen[0], chosen[1])]


def _falling_pairs(falling: _Falling, cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """(earlier, later) of neighbouring values of a setting, among cells that agree in all other settings."""
    with Mistakes() as mistakes, mistakes.at("along"):
        name = one_of(falling.along, cells[0].values)
    with Mistakes() as mistakes, mistakes.at("over"):
        over = read_list(falling.over, "values, from the best to the worst", lambda value: setting(name, value))
    groups: dict[str, dict[int, int]] = {}
    for index, cell in enumerate(cells):
        if cell.values[name] in over:
            others = str([x for key, x in cell.values.items() if key != name])
            groups.setdefault(others, {})[over.index(cell.values[name])] = index
    pairs = [pair for group in groups.values() for pair in pairwise(index for _, index in sorted(group.items()))]
    if not pairs:
        message = f"no two cells differ in {name} alone and have such values; add some or change the claim"
        raise mistake(message, "over")
    return pairs


def _find(value: Any, cells: Sequence[Cell]) -> int:
    """The one cell that has these values. A claim names as many settings as it takes to find one cell."""
    wanted = read_mapping(value, "setting: value", setting, cells[0].values)
    there = [index for index, cell in enumerate(cells) if wanted.items() <= cell.values.items()]
    if len(there) != 1:
        cure = "name more of its settings" if there else "add it, or change the claim"
        raise ValueError(f"{f'matches {len(there)}' if there else 'matches none of the'} cells; {cure}")
    return there[0]
