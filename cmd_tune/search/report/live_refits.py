"""The refits of a search on the screen, once its live table is closed: bars on a terminal, lines at start and end."""

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cmd_tune.formatting import count, percent
from cmd_tune.progress import PERIOD_S
from cmd_tune.search.report.live import Display
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.study.trial_record import BEFORE_REFIT, RefitRecord


class SearchDisplay(Display):
    """Shows the trials of a study, and its refits after them."""

    def refits_opened(self, refits: Sequence[RefitRecord]) -> None:
        self._print(f"refit: pretraining the finalists again on the whole training set, {count(len(refits), 'run')}")
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

    def refit_started(self, refit: RefitRecord) -> None:
        how = f"resumes after epoch {refit.epoch}" if refit.epoch else "starts"
        self._print(f"{refit.name} {how}")
        if refit.name not in self._bar_of:
            self._bar_of[refit.name] = self._bars.add_task(refit.name, total=self.study.epochs_of(refit))
        self._bars.update(self._bar_of[refit.name], completed=refit.epoch)

    def refit_reported(self, refit: RefitRecord) -> None:
        self._bars.update(self._bar_of[refit.name], completed=refit.epoch)

    def refit_ended(self, refit: RefitRecord) -> None:
        self._bars.update(self._bar_of[refit.name], visible=False)
        if refit.reason:
            self._print(f"{refit.name} failed: {refit.reason}")
        elif refit.test_scores:
            metric = tested_metric(self.study.space.metric)
            before = self.study.trials[refit.index].tests.get(BEFORE_REFIT + metric)
            was = f", {percent(before)} before it" if before is not None else ""
            self._print(f"{refit.name}: {metric} {percent(refit.test_scores.get(metric))}{was}")

    def refits_closed(self) -> None:
        self._bars.stop()

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)
