"""Health lines in the report: each with what to do, all of it as text."""

from cmd_tune.search.report.health import health_lines
from cmd_tune.search.report.sections.health import health
from tests.search.report.made_up import made_up


def test_each_line_is_an_item_with_what_to_do_in_bold(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 30)
    head, _, *items = health(findings).markdown.splitlines()
    assert head == "## Health"
    assert len(items) == len(health_lines(findings))
    assert "- 2 of 30 trials failed (2 diverged). **Narrow the ranges where trials fail.**" in items
    assert health(findings).screen == ()


def test_a_table_has_none(findings_of):
    assert health(findings_of("comparison, one trial")) is None
