"""What a report says of its method, against the numbers that it is computed with."""

import re

from cmd_tune.search.report.looks import LOOKS
from cmd_tune.search.report.sections.method import method
from cmd_tune.search.report.verdicts import ALPHA, MIN_SEEDS, level_of


def test_the_numbers_in_its_words_are_those_of_the_tests(findings_of):
    text = " ".join(method(findings_of("comparison, one trial")).markdown.split())
    assert f"The first look at a claim is tested at {100 * level_of(1):g} %." in text
    assert level_of(2) == level_of(1) / 2  # "at half the level of the one before"
    assert re.findall(r"at most (\d+) %", text) == [f"{100 * ALPHA:g}"] * 2
    assert f"with fewer than {MIN_SEEDS} seeds, the verdict is *cannot tell*" in text
    assert f"{LOOKS} records all looks" in text


def test_a_search_has_none(findings_of):
    assert method(findings_of("search, one trial")) is None
