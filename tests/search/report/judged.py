"""A claim about two cells, judged by what the second has more than the first on each seed."""

from cmd_tune.search.report.cell_results import CellResult, claimed_pairs, judge_claim
from cmd_tune.search.report.claims import ClaimResult
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
