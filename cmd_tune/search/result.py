"""A kept search for Python and notebooks: its trials as a DataFrame, its best settings, its report."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.ending import Ending
from cmd_tune.search.ablations import path_of
from cmd_tune.search.kept_report import write_kept_report
from cmd_tune.search.kept_search import KeptSearch, SearchState, open_kept
from cmd_tune.search.report import print_report
from cmd_tune.search.report.ablation import AblationPath
from cmd_tune.search.report.confirmation import Confirmation, find_confirmation
from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.settings import Settings

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class ShownReport:
    """The report of a search, which a notebook shows: report.html of its folder, else report.md, else its text."""

    folder: Path
    text: str

    def _repr_html_(self) -> str | None:
        return self._read("report.html")

    def _repr_markdown_(self) -> str | None:
        return self._read("report.md")

    def __repr__(self) -> str:
        return self._read("report.md") or self.text

    def _read(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else None


class SearchResult:
    """A search as its folder had it when this was made. Nothing is written but the report, when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises CmdTuneError if the folder is damaged."""
        self._kept: KeptSearch = open_kept(folder)

    @property
    def folder(self) -> Path:
        return self._kept.folder

    @property
    def name(self) -> str:
        return self._kept.name

    @property
    def state(self) -> SearchState:
        """running, interrupted, finished or failed."""
        return self._kept.state

    @property
    def metric(self) -> str:
        """The name of the score that the search chooses by."""
        return self._kept.metric

    @cached_property
    def trials(self) -> "DataFrame":
        """A row for each trial, in the columns of trials.csv; the index is the trial's number."""
        from pandas import DataFrame

        study = self._kept.study
        return DataFrame(trials_columns(study), index=list(study.trials))

    @property
    def best(self) -> Settings | None:
        """The whole settings of the best trial; None of a table, and if no trial has finished."""
        best = self._kept.best
        return self._kept.study.settings_of(best.trial) if best else None

    @property
    def best_score(self) -> float | None:
        """The best trial's score: the mean over fresh seeds if it was confirmed. None as of `best`."""
        return self._kept.best.score if self._kept.best else None

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What the runs with fresh seeds found; None if there are none."""
        return find_confirmation(self._kept.study)

    @cached_property
    def ablation(self) -> AblationPath | None:
        """The path from the start point to the best trial, with what has run of it; None if there is none."""
        return path_of(self._kept.study, self._kept.ablation)

    @cached_property
    def report(self) -> ShownReport:
        """The report, written anew into the folder. Raises CmdTuneError if a file cannot be written."""
        ending, text = Ending(self.folder), StringIO()
        console = Console(file=text, width=100, force_jupyter=False)
        report = write_kept_report(self._kept, console, ending)
        if ending.troubles:
            raise CmdTuneError(*ending.troubles)
        print_report(console, self._kept.study, report)
        return ShownReport(self.folder, text.getvalue().strip("\n"))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>" + self.trials.to_html(max_rows=20)

    def __repr__(self) -> str:
        best, metric = self._kept.best, self.metric
        score = f", {metric} {bare_score(metric, best.score, digits=2)}" if best else ""
        return f"<search {self.name}: {self.state}, {self._kept.progress}{score}>"
