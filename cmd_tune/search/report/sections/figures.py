"""The figures, linked in the report."""

from contextlib import suppress

from cmd_tune.search.report.base import Section
from cmd_tune.search.report.figures import FIGURES
from cmd_tune.search.report.findings import StudyFindings


def figures(findings: StudyFindings) -> Section | None:
    """None if no figure applies."""
    links = []
    for word, make in FIGURES.items():
        with suppress(Exception):  # one that fails has been named when it was to be written
            links += [f"![{drawing.caption}]({word}.png)"] if (drawing := make(findings)) else []
    head = [] if findings.comparison else ["## Figures"]
    return Section("\n\n".join([*head, *links])) if links else None
