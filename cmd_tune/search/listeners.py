"""The listeners of a search: they get its events, and decide nothing. The screen is one, the tracker another."""

from collections.abc import Sequence

from cmd_tune.search.report import SearchReport
from cmd_tune.search.report.live_repeats import SearchDisplay
from cmd_tune.search.study.trial_record import RepeatRecord, TrialRecord
from cmd_tune.tracking import Model, RunStatus


class SearchListener:
    """The contract, with methods that do nothing: a listener has those that concern it.

    The study is up to date when a method is called. In the life of a search:

    1. `opened`, before anything else.
    2. `continued`, before each start of a trial and before the tests of finalists: there is something left to run.
    3. For each trial: `started` (again if its process begins anew), `reported`, `ended`. `noted` at any time.
    4. `tested` for each finalist.
    5. If finalists are confirmed, or refit, or the path to the best is run: `repeats_opened`; for each run,
       `repeat_started`, `repeat_reported` and `repeat_ended`; `repeats_closed`. Confirmations come before 4.
    6. `won`, if the best trial's encoder is to be registered, then `closed` with the report; or `interrupted`, if it
       does not come to that.

    Before 6, trials that have not ended are set unfinished. An exception in 2 or 3 ends the search.
    """

    def opened(self) -> None: ...

    def continued(self) -> None: ...

    def started(self, run: TrialRecord) -> None:
        """run: of a trial: itself, or that of another seed."""

    def reported(self, run: TrialRecord, records: Sequence[dict[str, float]]) -> None:
        """records: metrics of epochs that are new to the study, in order; none if a resumed trial repeats old ones."""

    def noted(self, text: str) -> None:
        """text: a line about the search; several trials may cause the same one."""

    def ended(self, trial: TrialRecord) -> None:
        """The trial has ended: see its state and reason."""

    def tested(self, trial: TrialRecord) -> None: ...

    def repeats_opened(self, repeats: Sequence[RepeatRecord]) -> None: ...

    def repeat_started(self, repeat: RepeatRecord) -> None: ...

    def repeat_reported(self, repeat: RepeatRecord) -> None: ...

    def repeat_ended(self, repeat: RepeatRecord) -> None:
        """The run has ended: with what it is run for, or with a reason."""

    def repeats_closed(self) -> None: ...

    def interrupted(self, status: RunStatus) -> None:
        """status: STOPPED by a person, or FAILED. Trials that ran are left to be resumed."""

    def won(self, model: Model) -> None:
        """The best trial's encoder, before `closed`, if there is one to be registered."""

    def closed(self, status: RunStatus, report: SearchReport, best: TrialRecord | None) -> None:
        """best: the trial that won; None in a comparison, or if no trial finished."""


class ScreenListener(SearchDisplay, SearchListener):
    """Prints a search as it goes."""
