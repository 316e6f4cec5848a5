"""What is said of a claim: the verdict, the level it was tested at, the seeds that would tell."""

from cmd_tune.search.report.looks import Look
from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.report.verdicts import Verdict
from tests.search.report.judged import ABOVE, FLAT, judge


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
