"""The figures that a report links."""

from cmd_tune.search.report import FIGURES
from cmd_tune.search.report.sections.figures import figures


def test_each_figure_that_applies_is_linked_under_its_caption(findings_of, monkeypatch):
    monkeypatch.setitem(FIGURES, "none", lambda findings: None)
    findings = findings_of("comparison, one trial")
    assert figures(findings).markdown == "![The table as a figure](table.png)"
    assert figures(findings).screen == ()
    monkeypatch.setitem(FIGURES, "again", FIGURES["table"])
    links = ["![The table as a figure](table.png)", "![The table as a figure](again.png)"]
    assert figures(findings).markdown == "\n\n".join(links)


def test_where_none_applies_there_is_no_section(findings_of, monkeypatch):
    monkeypatch.setitem(FIGURES, "table", lambda findings: None)
    assert figures(findings_of("comparison, one trial")) is None
