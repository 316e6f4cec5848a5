"""The contract of a report's parts: a section is a function of the findings, and so is a figure.

Each returns its part, or None if it does not apply to the study. It raises nothing, prints nothing and writes nothing.
To add one, write a file in sections/ or figures/ and a line in the dict of that folder: write.py prints and writes it,
and its file is uploaded to the tracker with the others. tests/search/report/test_contract.py runs all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from cmd_tune.figures import Drawing
from cmd_tune.search.report.findings import StudyFindings


@dataclass(frozen=True)
class Section:
    """One part of a report. markdown: its paragraphs in report.md. screen: what the terminal shows at the end. summary:
    what the search's description on the tracking server begins with, in Markdown.
    """

    markdown: str = ""
    screen: Sequence[RenderableType] = ()
    summary: str = ""


MakeSection = Callable[[StudyFindings], Section | None]
MakeFigure = Callable[[StudyFindings], Drawing | None]
