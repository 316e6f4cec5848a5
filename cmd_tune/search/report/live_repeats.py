"""The repeats of a search on the screen, once its live table is closed: bars on a terminal, lines at start and end."""

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cmd_tune.formatting import count, percent
from cmd_tune.progress import PERIOD_S
from cmd_tune.search.report.live import Display
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.study.trial_record import BEFORE_REFIT, Repeat, RepeatRecord

_TITLES = {
    Repeat.CONFIRM: "confirm: running the finalists and the start point again with fresh seeds",
    Repeat.REFIT: "refit: pretraining the finalists again on the whole training set",
    Repeat.ABLATION: "ablation: running the path from the start point to the best trial with fresh seeds",
}


class SearchDisplay(Display):
    """Shows the trials of a study, and its repeats after them."""

    def repeats_opened(self, repeats: Sequence[RepeatRecord]) -> None:
        self._print(f"{_TITLES[repeats[0].purpose]}, {count(len(repeats), 'run')}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        self._bars = Progress(
            *columns,
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            speed_estimate_period=PERIOD_S,
        )
        self._bar_of: dict[str, TaskID] = {}
        self._bars.start()

    def repeat_started(self, repeat: RepeatRecord) -> None:
        how = f"resumes after epoch {repeat.epoch}" if repeat.epoch else "starts"
        self._print(f"{repeat.name} {how}")
        if repeat.name not in self._bar_of:
            self._bar_of[repeat.name] = self._bars.add_task(repeat.name, total=self.study.epochs_of(repeat))
        self._bars.update(self._bar_of[repeat.name], completed=repeat.epoch)

    def repeat_reported(self, repeat: RepeatRecord) -> None:
        self._bars.update(self._bar_of[repeat.name], completed=repeat.epoch)

    def repeat_ended(self, repeat: RepeatRecord) -> None:
        self._bars.update(self._bar_of[repeat.name], visible=False)
        if repeat.reason:
            self._print(f"{repeat.name} failed: {repeat.reason}")
        elif self.study.done(repeat):
            self._print(f"{repeat.name}: {self._result(repeat)}")

    def repeats_closed(self) -> None:
        self._bars.stop()

    def _result(self, repeat: RepeatRecord) -> str:
        """What the run was for: its score, beside that of the trial if it has the same values."""
        trial, metric = self.study.trials[repeat.index], self.study.space.metric
        if repeat.purpose is Repeat.ABLATION:
            return f"{metric} {bare_score(metric, repeat.last(metric))}"
        if repeat.purpose is Repeat.CONFIRM:
            own = bare_score(metric, trial.score(metric))
            return f"{metric} {bare_score(metric, repeat.last(metric))}, {own} in the trial"
        metric = tested_metric(metric)
        before = trial.tests.get(BEFORE_REFIT + metric)
        was = f", {percent(before)} before it" if before is not None else ""
        return f"{metric} {percent(repeat.test_scores.get(metric))}{was}"

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)
