"""The record of looks at the claims of a comparison, in the search's folder: each look at a claim is stricter.

A look is new if a cell of the claim has other seeds than at every look before; reporting the same scores again is the
same look. A claim that is stated or changed after others were tested continues from the last look at those.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.report.cell_results import CellResult
from cmd_tune.search.report.verdicts import ClaimVerdict, Verdict, level_of
from cmd_tune.search.spaces.comparison import Claim, Comparison

LOOKS = "looks.json"
_STATEMENT = ("relation", "margin", "metrics", "pairs")  # of a test: identifies its claim, whatever its wording
_SEEDS = "seeds"


@dataclass(frozen=True)
class Look:
    """A look at one claim; looks count from 1. seeds: the number of seeds of its cells, as in "3" or "2 to 3"."""

    number: int
    seeds: str
    verdict: Verdict


class Looks:
    """The current look at each claim of a comparison, and the earlier ones."""

    def __init__(self, folder: Path, comparison: Comparison, results: Sequence[CellResult]) -> None:
        """Raises CmdTuneError if the folder's record cannot be read: the levels depend on it."""
        self.path = folder / LOOKS
        self._kept = _read(self.path)
        self._now = [_test(comparison, claim, results) for claim in comparison.claims]

    def number(self, claim: int) -> int:
        """The number of the current look at a claim. claim: its index in the file."""
        own = self._own(claim)
        same = next((test["look"] for test in own if test[_SEEDS] == self._now[claim][_SEEDS]), None)
        return int(same or max((test["look"] for test in own or self._kept), default=0) + 1)

    def before(self, claim: int) -> list[Look]:
        """The earlier looks at a claim."""
        tests = [test for test in self._own(claim) if test["look"] < self.number(claim)]
        return [Look(test["look"], _counts(test), Verdict(test["verdict"])) for test in tests]

    def seeds(self, claim: int) -> str:
        """The number of seeds that the cells of a claim have now, as in "3" or "2 to 3"."""
        return _counts(self._now[claim])

    def keep(self, verdicts: Sequence[ClaimVerdict]) -> list[Path]:
        """Record the new looks at claims that had seeds enough; returns the record's path, if there is one."""
        new = [
            {
                "look": self.number(index),
                "level": level_of(self.number(index)),
                **now,
                "verdict": str(verdict.verdict),
            }
            for index, (now, verdict) in enumerate(zip(self._now, verdicts, strict=True))
            if verdict.enough_seeds and all(test[_SEEDS] != now[_SEEDS] for test in self._own(index))
        ]
        if new:
            write_text(self.path, json.dumps([*self._kept, *new], indent=1) + "\n")
        return [self.path] if self.path.exists() else []

    def _own(self, claim: int) -> list[dict[str, Any]]:
        """The recorded tests of a claim."""
        return [test for test in self._kept if all(test[key] == self._now[claim][key] for key in _STATEMENT)]


def _test(comparison: Comparison, claim: Claim, results: Sequence[CellResult]) -> dict[str, Any]:
    """The statement of a claim and its seeds, in the form in which JSON gives them back: tuples are lists."""
    pairs = [[comparison.cells[index].values for index in pair] for pair in claim.pairs]
    cells = [comparison.cells[index].values for index in sorted({index for pair in claim.pairs for index in pair})]
    seeds = [{"cell": values, "seeds": _seeds(values, claim, results)} for values in cells]
    statement = {"relation": str(claim.relation), "margin": claim.margin, "metrics": claim.metrics, "pairs": pairs}
    test: dict[str, Any] = json.loads(json.dumps({"says": claim.says, **statement, _SEEDS: seeds}))
    return test


def _seeds(values: dict[str, Any], claim: Claim, results: Sequence[CellResult]) -> list[int]:
    return sorted({seed for r in results if r.cell.values == values and r.metric in claim.metrics for seed in r.scores})


def _counts(test: dict[str, Any]) -> str:
    counts = [len(cell["seeds"]) for cell in test[_SEEDS]]
    return " to ".join(str(count) for count in dict.fromkeys((min(counts), max(counts))))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        tests: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for test in tests:
            _ = int(test["look"]), [test[key] for key in _STATEMENT], _counts(test), Verdict(test["verdict"])
        if not isinstance(tests, list):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        cure = "restore it, or start the table anew: verdicts depend on how often its scores were looked at"
        raise CmdTuneError(f"{path}: is no record of looks; {cure}") from None
    return tests
