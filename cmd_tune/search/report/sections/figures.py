"""The figures of a comparison, linked in its report."""

from cmd_tune.search.report.base import Section
from cmd_tune.search.report.figures import FIGURES
from cmd_tune.search.report.findings import StudyFindings


def figures(findings: StudyFindings) -> Section | None:
    """None for a search, which has no report.md: its figures are files beside the others."""
    if findings.comparison is None:
        return None
    drawings = {word: make(findings) for word, make in FIGURES.items()}
    links = [f"![{drawing.caption}]({word}.png)" for word, drawing in drawings.items() if drawing]
    return Section("\n\n".join(links)) if links else None
