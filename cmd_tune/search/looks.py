"""The looks at a table's scores that have tested its claims, kept in the search's folder: each is stricter.

A look is new where a claimed cell has other seeds than at every look before, or a claim is another. The same scores
reported again are the same look.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.measured import Measured
from cmd_tune.search.table import Claim, Table
from cmd_tune.search.verdicts import Judgement, level_of

LOOKS = "looks.json"


class Looks:
    """The look that is being taken, after the earlier ones; `number` counts from 1."""

    def __init__(self, folder: Path, table: Table, measured: Sequence[Measured]) -> None:
        """Raises CmdTuneError where the folder's record cannot be read: without it no level is known."""
        self.path = folder / LOOKS
        self._earlier = _read(self.path)
        claimed = sorted({index for claim in table.claims for pair in claim.pairs for index in pair})
        seeds = [(table.cells[i].values, sorted(_seeds(table.cells[i].values, measured))) for i in claimed]
        self._seeds = _plain([{"cell": values, "seeds": numbers} for values, numbers in seeds if numbers])
        self._claims = [_plain(_content(table, claim)) for claim in table.claims]
        same = (number for number, look in enumerate(self._earlier, 1) if self._is(look))
        self.number = next(same, len(self._earlier) + 1)

    def first(self, claim: int) -> int:
        """The look that tested a claim of the table first."""
        stated = (n for n, look in enumerate(self._earlier, 1) if self._claims[claim] in _claims(look))
        return next(stated, self.number)

    def before(self, claim: int) -> list[tuple[int, str]]:
        """The verdicts that earlier looks gave on a claim of the table, with their numbers."""
        told = []
        for number, look in enumerate(self._earlier[: self.number - 1], 1):
            for stated, content in zip(look["claims"], _claims(look), strict=True):
                if content == self._claims[claim]:
                    told.append((number, stated["verdict"]))
        return told

    def seeds(self) -> list[str]:
        """How many seeds a cell had at each look up to this one: "3", or "2 to 3"."""
        looks = [look["seeds"] for look in self._earlier[: self.number]]
        if len(looks) < self.number:
            looks.append(self._seeds)
        counts = [sorted({len(cell["seeds"]) for cell in look}) or [0] for look in looks]
        return [" to ".join(str(n) for n in dict.fromkeys((c[0], c[-1]))) for c in counts]

    @property
    def tested(self) -> bool:
        """Whether a look, this one or an earlier one, has tested anything; known once this one is kept."""
        return self.path.exists()

    def keep(self, judgements: Sequence[Judgement]) -> list[Path]:
        """Write a new look down, if it could test anything; returns the record, if there is one."""
        if self.number > len(self._earlier) and any(judgement.tested for judgement in judgements):
            verdicts = [str(judgement.verdict) for judgement in judgements]
            claims = [{**claim, "verdict": verdict} for claim, verdict in zip(self._claims, verdicts, strict=True)]
            look = {"level": level_of(self.number), "seeds": self._seeds, "claims": claims}
            write_text(self.path, json.dumps([*self._earlier, look], indent=1) + "\n")
        return [self.path] if self.tested else []

    def _is(self, look: dict[str, Any]) -> bool:
        cells = all(cell in look["seeds"] for cell in self._seeds) and len(self._seeds) <= len(look["seeds"])
        return cells and all(claim in _claims(look) for claim in self._claims)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        looks: list[dict[str, Any]] = json.loads(path.read_text())
        if not isinstance(looks, list):
            raise TypeError
        for look in looks:
            _ = (
                [cell["cell"] and cell["seeds"] for cell in look["seeds"]],
                [claim["verdict"] for claim in look["claims"]],
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        cure = "restore it, or start the table anew: verdicts depend on how often its scores were looked at"
        raise CmdTuneError(f"{path}: is no record of looks; {cure}") from None
    return looks


def _claims(look: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in claim.items() if key != "verdict"} for claim in look["claims"]]


def _seeds(values: dict[str, Any], measured: Sequence[Measured]) -> set[int]:
    return {seed for m in measured if m.cell.values == values for seed in m.scores}


def _content(table: Table, claim: Claim) -> dict[str, Any]:
    pairs = [[table.cells[index].values for index in pair] for pair in claim.pairs]
    relation = str(claim.relation)
    return {"says": claim.says, "relation": relation, "margin": claim.margin, "metrics": claim.metrics, "pairs": pairs}


def _plain(content: Any) -> Any:
    """As it is when it is read again: tuples are lists."""
    return json.loads(json.dumps(content))
