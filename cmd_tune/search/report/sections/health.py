"""The health of a search: what to know before trusting its winner, and what to do about it."""

from cmd_tune.formatting import markdown_text
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.health import health_lines


def health(findings: StudyFindings) -> Section | None:
    """None for a comparison, and if there is nothing to say."""
    lines = [] if findings.comparison else health_lines(findings)
    said = [f"- {markdown_text(line.what)}. " + (f"**{_sentence(line.do)}**" if line.do else "") for line in lines]
    return Section("\n".join(["## Health\n", *map(str.strip, said)])) if lines else None


def _sentence(text: str) -> str:
    return markdown_text(f"{text[:1].upper()}{text[1:]}.")
