"""What is said of a claim: the verdict, the level it was tested at, the seeds that would tell."""

from dataclasses import replace

import pytest
from rich.console import Console

from cmd_tune.search.report.cell_results import CellResult, claimed_pairs, judge_claim
from cmd_tune.search.report.claims import ClaimResult
from cmd_tune.search.report.looks import Look
from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.report.sections.claims import in_markdown, on_screen
from cmd_tune.search.report.verdicts import Verdict
from cmd_tune.search.spaces.comparison import Cell, Claim, Comparison, Relation

CELLS = tuple(Cell({"topk": k}, {}) for k in (4, 8))
ABOVE = Claim("eight is better", Relation.ABOVE, ((1, 0),), ("test/knn/joint",))
FLAT = Claim("no matter", Relation.WITHIN, ((1, 0),), ("test/knn/joint",), 1.0)


def judge(claim, gains, look=1, seeds="3", before=()):
    """The claim, of a cell that has 70 on every seed and one that has so much more."""
    scores = [dict.fromkeys(range(len(gains)), 70.0), {s: 70 + gain for s, gain in enumerate(gains)}]
    results = [CellResult(cell, "test/knn/joint", by, None, "") for cell, by in zip(CELLS, scores, strict=True)]
    table = Comparison("", CELLS, (0, 1, 2), (claim,))
    pairs = tuple(claimed_pairs(table, claim, results))
    return ClaimResult(claim, judge_claim(table, claim, results, look), pairs, look, seeds, tuple(before))


def test_pairs_come_by_metric_and_then_as_the_claim_names_them():
    claim = replace(ABOVE, pairs=((1, 0), (0, 1)), metrics=("b", "a"))
    results = [CellResult(cell, metric, {}, None, "") for metric in ("a", "b") for cell in CELLS]
    pairs = claimed_pairs(Comparison("", CELLS, (0,), (claim,)), claim, results)
    assert [(a.metric, a.cell.values["topk"], b.cell.values["topk"]) for a, b in pairs] == [
        ("b", 8, 4),
        ("b", 4, 8),
        ("a", 8, 4),
        ("a", 4, 8),
    ]


def test_a_first_look():
    claim = judge(ABOVE, [2.0, 2.0, 2.0])
    assert claim.verdict.verdict is Verdict.HOLDS
    assert claim.why == "of 1 comparison, 1 for it and 0 against it; first look, 3 seeds a cell, tested at 2.5 %"
    assert claim.power == ""


def test_a_later_look_names_the_earlier_ones():
    before = [Look(1, "3", Verdict.CANNOT_TELL)]
    claim = judge(FLAT, [0.0, 0.1, 0.0, 0.1], look=2, seeds="4", before=before)
    assert claim.why.endswith(
        "; margin 1 point; look 2, 4 seeds a cell, tested at 1.25 %, look 1 with 3 gave 'cannot tell'"
    )
    late = judge(ABOVE, [2.0, 2.1, 2.0, 2.1], look=3, seeds="4")
    assert late.why.endswith("tested at 0.625 %, first stated after look 2, when scores had been seen")


def test_too_few_seeds_say_nothing_of_a_level_or_of_more():
    claim = judge(ABOVE, [2.0, 2.0], seeds="2")
    assert claim.why == "2 seeds in common; 3 are needed"
    assert claim.power == ""


def test_the_seeds_that_would_tell_are_for_the_next_looks_level():
    claim = judge(ABOVE, [1.0, -1.0, 2.0])  # spread √(7/3)
    one, three = (seeds_needed((7 / 3) ** 0.5, [size], 0.0125) for size in (1.0, 3.0))
    assert claim.power == (
        "Differences vary by 1.5 points from seed to seed. With that, a chance of 80 % to find that the claim holds "
        f"takes about {one} seeds a cell if the difference is 1 point, about {three} seeds a cell if the difference "
        "is 3 points."
    )
    flat = judge(FLAT, [1.0, -1.0, 2.0])
    alike = seeds_needed((7 / 3) ** 0.5, [1.0, 1.0], 0.0125)
    assert flat.power.endswith(f" takes about {alike} seeds a cell if the cells are alike.")


def test_a_claim_in_the_report():
    claim = judge(ABOVE, [1.0, 2.0, 3.0])
    heading, why, power, rows = in_markdown([claim])
    assert heading == "### eight is better: cannot tell"
    assert why == f"O{claim.why[1:]}."
    assert power == claim.power
    # t = 2 √3 = 3.464 on 2 degrees: p = 0.0371; 2 ± 4.303 / √3.
    assert rows.splitlines()[2] == "| test/knn/joint | topk 8 | topk 4 | 3 | +2.00 (-0.48 to +4.48) | 0.037 | 0.963 |"


@pytest.mark.parametrize(("gains", "cells"), [([1.0], "| 1 | +1.00 | – | – |"), ([], "| 0 | – | – | – |")])
def test_what_cannot_be_computed_is_a_dash(gains, cells):
    *_, rows = in_markdown([judge(ABOVE, gains)])
    assert rows.splitlines()[2].endswith(cells)


def test_on_the_screen_verdicts_stand_below_each_other():
    console = Console(width=140)
    with console.capture() as capture:
        for part in on_screen([judge(ABOVE, [2.0, 2.0, 2.0]), judge(FLAT, [2.0, 2.0])]):
            console.print(part)
    first, second, *rule = capture.get().splitlines()
    assert first.startswith("holds       eight is better (of 1 comparison, 1 for it and 0 against it; first look")
    assert second == "cannot tell no matter (2 seeds in common; 3 are needed; margin 1 point)"
    assert "err in 5 % at most" in " ".join(rule)
