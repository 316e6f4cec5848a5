"""Five people's questions, answered by the text of the report alone: each finds the numbers of a made-up study."""

import re
from html import unescape

import pytest

from cmd_tune.search.report import write_report
from tests.search.report.made_up import METRIC, made_up


@pytest.fixture(scope="module")
def told(tmp_path_factory, tiny):
    """(what was found, the words of report.md up to its first table, the page without its tags)."""
    findings = made_up(tmp_path_factory.mktemp("told") / "search", tiny, 60, noise=0.8, height=14.0, fresh=5)
    write_report(findings)
    text = (findings.study.folder / "report.md").read_text(encoding="utf-8")
    page = (findings.study.folder / "report.html").read_text(encoding="utf-8")
    page = unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))
    return findings, text, page


def paragraph(text, question):
    return re.search(rf"^\*\*{re.escape(question)}\*\* (.*)$", text, re.MULTILINE).group(1)


def test_a_student_asks_which_settings_to_use(told):
    findings, text, _ = told
    answer = paragraph(text, "Which settings?")
    assert answer.startswith(findings.best.name)
    for name, value in findings.best.values.items():
        assert f"{name} {value:.4g} (start point {findings.study.start.values[name]:.4g})" in answer


def test_a_reviewer_asks_how_sure_that_is(told):
    findings, text, _ = told
    answer, winner = paragraph(text, "How sure?"), findings.confirmation.winner
    low, high = winner.interval
    assert f"{winner.mean:.1f} ({low:.1f} to {high:.1f})" in answer
    assert f"{winner.to_start.mean:+.1f} (" in answer
    assert re.search(r"p (< 0\.001|0\.\d{3})", answer)
    assert "two-sided paired t-test, corrected by Holm" in answer
    assert all(result.trial.name in answer for result in findings.confirmation.tied)


def test_a_colleague_asks_what_matters(told):
    _, text, _ = told
    assert paragraph(text, "What matters?").startswith("teacher_temperature (")
    (row,) = re.findall(r"^\| teacher_temperature \|.* (\w+) \|$", text, re.MULTILINE)
    assert row == "matters"


def test_whoever_pays_asks_what_it_cost(told):
    findings, text, _ = told
    trials = findings.study.trials.values()
    finished = sum(str(trial.state) == "finished" for trial in trials)
    answer = paragraph(text, "What did it cost?")
    assert answer.startswith(f"60 trials ({finished} finished, ")
    assert "with fresh seeds: 400 epochs" in answer
    assert "2.67 CPU-hours" in answer


def test_the_one_who_goes_on_asks_what_next(told):
    _, text, _ = told
    answer = paragraph(text, "What next?")
    assert re.match(r"(Keep|Widen|Narrow|Pretrain|Take|Stop) ", answer)
    assert all(step in text.partition("## Health")[2].lower() for step in answer.lower().split(". ")[:1])


def test_the_answers_are_the_first_that_stands_in_the_page_and_are_short(told):
    _, text, page = told
    first = text.partition("## Health")[0]
    assert len(first.split()) < 260
    assert METRIC in first
    assert page.index("Which settings?") < page.index("Health") < page.index("What matters\n")
