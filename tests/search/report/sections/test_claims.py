"""Claims in a report and on the screen: the verdict, the tests behind it, the seeds that would tell."""

import re

import pytest
from rich.console import Console

from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.report.sections.claims import claims, in_markdown, on_screen
from tests.search.report.judged import ABOVE, FLAT, judge
from tests.search.report.printed import lines_of
from tests.search.report.tables import CLAIMS, findings_of_table


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


UNDECIDED = {(4, 0): 61, (4, 1): 63, (4, 2): 62, (8, 0): 62, (8, 1): 62, (8, 2): 64}


def shown(study):
    """(as Markdown, as it is printed in one line)."""
    section = claims(findings_of_table(study))
    return section.markdown, " ".join(" ".join(lines_of(*section.screen)).split())


def test_where_it_cannot_be_told_the_seeds_that_would_are_named(table_space, played):
    """Differences of 1, -1 and 2: spread 1.53. The second look is tested at 1.25 %, one-sided."""
    claims = [CLAIMS[0], {**CLAIMS[2], "margin": 1}]
    text, printed = shown(played(table_space([0, 1, 2], claims=claims), UNDECIDED))
    spread = 5**0.5 * (7 / 15) ** 0.5
    reported, alike = seeds_needed(spread, [1.5], 0.0125), seeds_needed(spread, [1.0, 1.0], 0.0125)
    first = "Differences vary by 1.5 points from seed to seed. With that, a chance of 80 % to find that the claim holds"
    first += " takes"
    assert f"{first} about {reported} seeds a cell if the differences are as reported.\n" in text
    assert f"{first} about {alike} seeds a cell if the cells are alike.\n" in text
    assert f"about {reported} seeds a cell if the differences are as reported." in re.sub(r"\s+", " ", printed)
    text, _ = shown(played(table_space([0, 1, 2], claims=claims, reported_on=None), UNDECIDED))
    one, three = (seeds_needed(spread, [size], 0.0125) for size in (1.0, 3.0))
    told = [
        f"about {n} seeds a cell if the difference is {words}" for n, words in ((one, "1 point"), (three, "3 points"))
    ]
    assert f"{first} {', '.join(told)}.\n" in text


def test_seeds_that_trials_do_not_share_tell_nothing(table_space, played):
    one, _ = shown(played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0}))
    assert one.count(": cannot tell\n") == 3
    assert "1 seed in common; 3 are needed" in one


def test_where_a_cells_trials_failed_it_has_no_seed_in_common(table_space, played):
    text, _ = shown(played(table_space([0, 1]), {(4, 0): 61, (4, 1): 63}))
    assert "0 seeds in common; 3 are needed" in text


def test_where_nothing_is_claimed_there_is_no_section(findings_of):
    assert claims(findings_of("comparison, nothing reported or claimed")) is None


def test_a_search_claims_nothing(findings_of):
    assert claims(findings_of("search, one trial")) is None


def test_the_rule_of_looks_is_told_where_something_was_tested_alone():
    for gains, told in (([2.0, 2.0], False), ([2.0, 2.0, 2.0], True)):
        printed = " ".join(lines_of(*on_screen([judge(ABOVE, gains)]), width=300))
        assert ("Each further look at a claim" in printed) is told
