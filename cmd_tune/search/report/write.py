"""Writes the report of a finished study: the only place of the room where files are made and text is printed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console, Group, RenderableType

from cmd_tune.evaluate.scores import Scores
from cmd_tune.figures import save_drawing
from cmd_tune.files import write_text
from cmd_tune.runs.ending import Attempt, outright, written
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.figures import FIGURES
from cmd_tune.search.report.files import FILES
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.html import report_html
from cmd_tune.search.report.metrics import best_metrics, known_baselines
from cmd_tune.search.report.sections import SECTIONS
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState

REPORT, PAGE = "report.md", "report.html"


@dataclass(frozen=True)
class SearchReport:
    """files: written into the search's folder. metrics: for its run in the tracker. closing: the text to print.

    baselines: the scores of each, by the name of its kind. summary: the answer first, in Markdown.
    """

    files: list[Path] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    closing: RenderableType = ""
    baselines: dict[str, Scores] = field(default_factory=dict)
    summary: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the files for a person to open: the page first, and not the figures, which are in it."""
        names = [path.name for path in self.files if path.suffix != ".png"]
        return sorted(names, key=lambda name: name != PAGE)


def write_report(findings: StudyFindings, *, attempt: Attempt = outright) -> SearchReport:
    """Write the text files, the figures and the report of a study into its folder. `attempt` takes each step.

    Raises CmdTuneError if the record of a comparison's looks cannot be read.
    """
    folder = findings.study.folder
    files: list[Path] = []
    for name, make_text in FILES.items():
        if (text := attempt(name, partial(make_text, findings))) is not None:
            files += written(attempt, folder / name, partial(write_text, text=text))
    # The looks are recorded before anybody sees the verdicts.
    comparison = findings.comparison
    record = comparison.looks.keep(comparison.verdicts) if comparison else []
    for word, make_figure in FIGURES.items():
        if (drawing := attempt(f"{word}.png", partial(make_figure, findings))) is not None:
            files += written(attempt, folder / f"{word}.png", partial(save_drawing, drawing))
    made = (attempt(word, partial(make_section, findings)) for word, make_section in SECTIONS.items())
    sections = [section for section in made if section]
    summary = "\n\n".join(section.summary for section in sections if section.summary)
    if markdown := _markdown(sections):
        files += written(attempt, folder / REPORT, partial(write_text, text=markdown))
        page = attempt(PAGE, partial(report_html, markdown, folder.name, folder))
        files += written(attempt, folder / PAGE, partial(write_text, text=page)) if page else []
    metrics = attempt("best metrics", partial(best_metrics, findings)) or {}
    closing = Group(*(part for section in sections for part in section.screen))
    return SearchReport([*files, *record], metrics, closing, known_baselines(findings), summary)


def _markdown(sections: Sequence[Section]) -> str:
    parts = [section.markdown for section in sections if section.markdown]
    return "\n\n".join(parts) + "\n" if parts else ""


def print_report(console: Console, study: SearchStudy, report: SearchReport) -> None:
    """Print the closing text of a report, why trials failed, and why there are no more trials."""
    console.print()
    console.print(report.closing)
    for trial in study.trials.values():
        if trial.state is TrialState.FAILED:
            console.print(f"{trial.name} failed: {trial.reason}", soft_wrap=True, highlight=False, markup=False)
    if unfinished := [trial for trial in study.trials.values() if trial.state is TrialState.UNFINISHED]:
        went = (f"{trial.name} ({trial.epochs_run} of {study.epochs_in_all(trial)} epochs)" for trial in unfinished)
        text = f"unfinished, without a rank; --resume goes on with: {', '.join(went)}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if study.shortfall:
        trials = len(study.trials)
        short = study.budget is not None and trials < study.budget
        so_far = f"{trials} of {study.budget} trials" if short else f"{trials} trials"
        console.print(f"{so_far}: {study.shortfall}", soft_wrap=True, highlight=False, markup=False)
