"""Trials as a table: on a screen of any width, with as many parameters as there is room for, and as columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cmd_tune.compute.usage import USAGE
from cmd_tune.formatting import format_value
from cmd_tune.search.report.positions import position
from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.study.pareto_front import trials_on_front
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.UNFINISHED: "magenta",
    TrialState.FINISHED: "green",
    TrialState.STOPPED: "yellow",
    TrialState.FAILED: "red",
}
_WORD = 9  # characters that a word of a heading keeps on a narrow screen
_FEW = 2  # parameters that matter more to a reader than the scores that may be left out
_LOG = 10.0  # ranges whose ends differ by this factor are compared on a log scale


@dataclass(frozen=True)
class FittedTable:
    """A table that leaves out parameters from the end of `names` until its widest line fits the screen.

    build: makes the table from the headings of its parameters, by name, and the scores that have a column. more: a note
    below the table on the parameters that are left out, with "{}" for their number. scores: those that are left out,
    the last one first, before fewer than two parameters are shown.
    """

    names: Sequence[str]
    build: Callable[[Mapping[str, str], Sequence[str]], Table]
    more: str
    scores: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(table: Table) -> bool:
            return Measurement.get(console, options.update_width(10_000), table).maximum <= options.max_width

        few = min(_FEW, len(self.names))
        tries = [(self.names, max(map(len, self.names), default=0), self.scores)]
        tries += [(self.names[:count], _WORD, self.scores) for count in range(len(self.names), few - 1, -1)]
        tries += [(self.names[:few], _WORD, self.scores[:count]) for count in range(len(self.scores) - 1, -1, -1)]
        tries += [(self.names[:count], _WORD, ()) for count in range(few - 1, -1, -1)]
        for names, most, scores in tries:
            table = self.build({name: _heading(name, most) for name in names}, scores)
            if fits(table):
                break
        yield table
        if hidden := len(self.names) - len(names):
            yield Text(self.more.replace("{}", str(hidden)), style="dim")


def by_difference(parameters: Mapping[str, Parameter], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of parameters by how much the rows differ in them: by the standard deviation relative to the range."""

    def spread(name: str) -> float:
        parameter = parameters[name]
        log = parameter.low > 0 and parameter.high / parameter.low >= _LOG
        positions = [position(parameter, row[name], log=log) for row in rows if name in row]
        return float(np.std(positions)) if positions else 0.0

    return sorted(parameters, key=lambda name: -round(spread(name), 3))


def setting_text(values: Mapping[str, Any], name: str) -> str:
    """The value of a parameter as a table has it; a dash where it does not count."""
    return format_value(values[name]) if name in values else "–"


def _heading(name: str, most: int) -> str:
    """A name with one word per line, each cut to `most` characters."""
    return "\n".join(word if len(word) <= most else f"{word[: most - 1]}…" for word in name.split("_"))


def trials_table(study: SearchStudy, trials: Sequence[TrialRecord], best: Sequence[TrialRecord] = ()) -> RenderableType:
    """One line per trial: the first parameters of the space, epoch, loss, main scores and state. best: in bold."""
    metric, comparison = study.space.metric, study.space.comparison
    validated = ("val/knn/joint", "val/knn/fused") if study.base.holdout == "validation" else ()
    scores = list(dict.fromkeys(("loss/total", metric, *(comparison.metrics() if comparison else validated))))

    spare = [name for name in ("val/knn/joint", "loss/total") if name in scores and name != metric]

    def build(parameters: Mapping[str, str], kept: Sequence[str]) -> Table:
        shown = [name for name in scores if name not in spare or name in kept]
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("trial", vertical="bottom")
        for heading in (*parameters.values(), *(name.replace("/", "\n") for name in ("epoch", *shown))):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        for trial in trials:
            table.add_row(
                f"{trial.index:03d}",
                *(setting_text(trial.values, name) for name in parameters),
                f"{trial.epochs_run}/{study.epochs_in_all(trial)}",
                *(bare_score(name, trial.score(name), digits=2) for name in shown),
                Text(str(trial.state), style=STATE_STYLES[trial.state]),
                style="bold" if trial in best else None,
            )
        return table

    return FittedTable(tuple(study.space.parameters), build, "… and {} more parameters", spare[::-1])


def trials_columns(study: SearchStudy) -> dict[str, list[Any]]:
    """The columns of trials.csv: state, reason, kind of failure, rank (of a search's finished trials), values, scores;
    if several metrics judge the trials, whether each is on the Pareto front.

    Those that are in the trials' histories alone: a metric with a parameter's name, since the parameter has the column,
    and what trials took of their machines.
    """
    trials = list(study.trials.values())
    names = {name: None for trial in trials for record in trial.history for name in record}
    names = {name: None for name in names if name != "epoch" and not name.startswith(USAGE)}
    names |= {name: None for trial in trials for name in trial.tests}
    columns: dict[str, list[Any]] = {
        "trial": [trial.name for trial in trials],
        "state": [str(trial.state) for trial in trials],
        "reason": [trial.reason for trial in trials],
        "failure": [str(trial.failure or "") for trial in trials],
        "epoch": [trial.epochs_run for trial in trials],
    }
    if not study.space.comparison:
        ranks = {trial.index: rank for rank, trial in enumerate(study.ranked(), 1)}
        columns["rank"] = [ranks.get(trial.index) for trial in trials]
    if study.space.more_metrics:
        front = trials_on_front(study)
        columns["front"] = [trial in front for trial in trials]
    for name in (*study.space.fixed, *study.space.parameters):
        columns[name] = [trial.values.get(name) for trial in trials]
    for name in [name for name in names if name not in columns]:
        columns[name] = [trial.score(name) for trial in trials]
    return columns
