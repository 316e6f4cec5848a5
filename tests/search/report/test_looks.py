"""Looks at a table: what is a new one, what is the same again, how strictly each is tested, what is kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.report.cell_results import CellResult, judge_claim
from cmd_tune.search.report.looks import Look, Looks
from cmd_tune.search.report.verdicts import Verdict
from cmd_tune.search.spaces.comparison import Cell, Claim, Comparison, Relation

CELLS = tuple(Cell({"topk": k, "modalities": ["joint", "bone"]}, {}) for k in (4, 8, 16))
BEST = Claim("eight is above four", Relation.ABOVE, ((1, 0),), ("test/knn/joint",))
FLAT = Claim("no matter", Relation.WITHIN, ((1, 0),), ("test/knn/joint",), 1.0)

GAINS = [1.0, 2.0, 3.0, 1.0, 2.5, 2.0, 1.5]


def measured_with(seeds: int, others: int = 3) -> list[CellResult]:
    scores = (
        dict.fromkeys(range(seeds), 70.0),
        {s: 70.0 + GAINS[s] for s in range(seeds)},
        dict.fromkeys(range(others), 9),
    )
    return [CellResult(cell, "test/knn/joint", by, None, "") for cell, by in zip(CELLS, scores, strict=True)]


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., tuple[list[int], list[Verdict]]]:
    """Takes a look at the table in tmp_path, and writes it down: (its number for each claim, the verdicts)."""

    def take(measured: list[CellResult], *claims: Claim, keep: bool = True) -> tuple[list[int], list[Verdict]]:
        table = Comparison("", CELLS, (0, 1, 2), claims or (BEST,))
        looks = Looks(tmp_path, table, measured)
        numbers = [looks.number(index) for index in range(len(table.claims))]
        verdicts_now = [judge_claim(table, claim, measured, n) for claim, n in zip(table.claims, numbers, strict=True)]
        if keep:
            looks.keep(verdicts_now)
        return numbers, [verdict.verdict for verdict in verdicts_now]

    return take


def test_more_seeds_are_another_look_and_the_same_ones_again_are_not(look, tmp_path):
    assert [look(measured_with(n))[0] for n in (3, 3, 5, 5, 6)] == [[1], [1], [2], [2], [3]]
    record = json.loads((tmp_path / "looks.json").read_text())
    assert [(test["look"], test["level"]) for test in record] == [(1, 0.025), (2, 0.0125), (3, 0.00625)]
    assert [test["seeds"][0]["seeds"] for test in record] == [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]
    assert record[1]["seeds"][1]["cell"] == {"topk": 8, "modalities": ["joint", "bone"]}
    assert [test["verdict"] for test in record] == ["cannot tell", "holds", "holds"]


def test_a_later_look_asks_for_more(look):
    """Differences of 1, 2, 3, 1: t = 3.66 on 3 degrees, p = 0.018. At once that is enough; after a look it is not."""
    assert look(measured_with(4), keep=False) == ([1], [Verdict.HOLDS])
    assert look(measured_with(3)) == ([1], [Verdict.CANNOT_TELL])
    assert look(measured_with(4)) == ([2], [Verdict.CANNOT_TELL])


def test_what_earlier_looks_gave_is_known(look, tmp_path):
    look(measured_with(4))
    look(measured_with(3))
    looks = Looks(tmp_path, Comparison("", CELLS, (0,), (BEST, FLAT)), measured_with(5))
    assert looks.before(0) == [Look(1, "4", Verdict.HOLDS), Look(2, "3", Verdict.CANNOT_TELL)]
    assert (looks.before(1), looks.seeds(0)) == ([], "5")


def test_seeds_of_cells_that_a_claim_does_not_name_are_no_look_at_it(look):
    assert [look(measured_with(3, others))[0] for others in (0, 3, 9)] == [[1], [1], [1]]


def test_other_seeds_of_the_same_number_are_a_look(look):
    moved = [CellResult(m.cell, m.metric, {s + 9: x for s, x in m.scores.items()}, None, "") for m in measured_with(3)]
    assert (look(measured_with(3))[0], look(moved)[0]) == ([1], [2])


def test_a_claim_that_is_changed_goes_on_from_the_last_look_and_leaves_the_others_alone(look):
    """Nor is it another claim for being worded otherwise, or for standing elsewhere."""
    assert look(measured_with(3), BEST, FLAT)[0] == [1, 1]
    assert look(measured_with(3), replace(FLAT, says="no difference"), BEST)[0] == [1, 1]
    wider, widest = replace(FLAT, margin=4.0), replace(FLAT, margin=9.0)
    assert look(measured_with(3), BEST, wider) == ([1, 2], [Verdict.CANNOT_TELL, Verdict.CANNOT_TELL])
    assert look(measured_with(3), widest, BEST, wider)[0] == [3, 1, 2]
    assert look(measured_with(5), widest, BEST, wider)[0] == [4, 2, 3]


def test_what_could_test_nothing_is_no_look(look, tmp_path):
    assert [look(measured_with(n))[0] for n in (0, 1, 2)] == [[1], [1], [1]]
    assert not (tmp_path / "looks.json").exists()
    assert look(measured_with(3))[0] == [1]


@pytest.mark.parametrize("text", ["", "[3]", "{}", '[{"look": 1}]', "3"])
def test_a_record_that_cannot_be_read_is_named(look, tmp_path, text):
    (tmp_path / "looks.json").write_text(text)
    with pytest.raises(CmdTuneError, match=r"looks\.json: is no record of looks; restore it"):
        look(measured_with(3))
