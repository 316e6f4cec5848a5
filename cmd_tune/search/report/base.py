"""What the parts of a report are: a section is a function of the findings, and so is a figure.

Each returns its part, or None where the study has nothing to say there; neither prints nor writes. To add one, write
a file in sections/ or figures/ and a line in the dict of that folder: write.py prints, writes and uploads it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from cmd_tune.figures import Drawing
from cmd_tune.search.report.findings import StudyFindings


@dataclass(frozen=True)
class Section:
    """One part of a report. markdown: its paragraphs in report.md. screen: what the terminal shows at the end."""

    markdown: str = ""
    screen: Sequence[RenderableType] = ()


MakeSection = Callable[[StudyFindings], Section | None]
MakeFigure = Callable[[StudyFindings], Drawing | None]
