"""A search from its plan to its report: engine, trials, finalists, files, what is printed at the end."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial

from rich.console import Console

from cmd_tune.errors import CmdTuneError, DiskFull, Interrupted, one_line
from cmd_tune.evaluate.scores import Scores
from cmd_tune.formatting import count, time_span
from cmd_tune.full_disk import as_disk_full
from cmd_tune.runs.ending import ERRORS, Ending, keep_traceback
from cmd_tune.runs.environment import describe_software, record_session
from cmd_tune.runs.messages import close_tracker, print_line, print_places, start_tracker
from cmd_tune.runs.pretrain_and_score import Conditions, baseline_scores, conditions
from cmd_tune.runs.run_folder import SEARCH_FILE, lock_folder
from cmd_tune.runs.session import termination_as_interrupt
from cmd_tune.search.ablations import ablation_count, describe_path, due_ablations, path_of
from cmd_tune.search.checks import check_start
from cmd_tune.search.confirmations import confirmation_count, due_confirmations
from cmd_tune.search.controller import SearchController
from cmd_tune.search.execution import Engine, ResourcePlan
from cmd_tune.search.finalists import score_finalists
from cmd_tune.search.listeners import ScreenListener, SearchListener
from cmd_tune.search.plan import KeptLayout, Plan, keep_plan
from cmd_tune.search.preview import describe_work
from cmd_tune.search.refits import all_tested, due_refits, refit_count
from cmd_tune.search.repeats import run_repeats
from cmd_tune.search.report import SearchReport, StudyFindings, kept_baselines, print_report, write_report
from cmd_tune.search.report.live import state_with_reason
from cmd_tune.search.study.study import STUDY, TIME_UP, SearchStudy
from cmd_tune.search.study.trial_record import RepeatRecord
from cmd_tune.search.tracker_listener import TrackerListener, cost_of
from cmd_tune.search.winner_model import winner_model
from cmd_tune.tracking import BackgroundTracker, RunStatus


def run_search(plan: Plan, engine: Engine, *, console: Console) -> None:
    """Run a new or resumed search to its end and print the report.

    engine: may be open already; it is closed.

    Raises Interrupted on Ctrl-C or SIGTERM; CmdTuneError if no trial has a result, if the search could not go on, or if
    a step of its end failed: the others are done.
    """
    plan = replace(plan, address=engine.address)
    at_once = termination_as_interrupt(f"interrupted; go on with: {plan.resume}")
    with _removed_unless_started(plan), lock_folder(plan.folder), at_once, closing(engine):
        for remark in check_start(plan):
            console.print(remark, style="yellow", soft_wrap=True, highlight=False, markup=False)
        study = None if plan.new else _open_study(plan)
        for remark in study.remarks if study else ():
            print_line(console, remark)
        tracker = start_tracker(plan, console)
        try:
            _SearchSession(plan, engine, tracker, console).run(study)
        finally:
            close_tracker(tracker, console, plan.resume)


@contextmanager
def _removed_unless_started(plan: Plan) -> Iterator[None]:
    """Remove a new search's folder if it ends before its study is opened, unless it was stopped, or the error names a
    file in it.
    """
    try:
        yield
    except CmdTuneError as error:
        started = (plan.folder / STUDY).exists() or isinstance(error, Interrupted)
        if plan.new and not started and f"{plan.folder}/" not in str(error):
            shutil.rmtree(plan.folder, ignore_errors=True)
        raise


def _open_study(plan: Plan) -> SearchStudy:
    kept = (plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
    data = {"dataset": plan.dataset, "protocol": plan.source.protocol, "fingerprint": plan.fingerprint or ""}
    return SearchStudy(*kept, retry_failed=plan.retry_failed, data=data)


class _SearchSession:
    """One session of a search, from the opening of its study to the end."""

    def __init__(self, plan: Plan, engine: Engine, tracker: BackgroundTracker, console: Console) -> None:
        self.plan, self.engine, self.tracker, self.console = plan, engine, tracker, console
        self.ending = Ending(plan.folder)
        self.listeners: list[SearchListener] = []
        self.trouble = ""  # why the search could not go on
        self.study: SearchStudy | None = None
        self.resources: ResourcePlan | KeptLayout | None = plan.last_layout

    def run(self, study: SearchStudy | None) -> None:
        """study: of an earlier session."""
        folder, resume = self.plan.folder, self.plan.resume
        try:
            self.study = study
            baselines = kept_baselines(folder) if study else None
            over = study is not None and (study.timed_out or study.complete)
            if study and baselines and over and self._nothing_due(study):
                self._reopen(study)
            else:
                study, baselines = self._run_trials(study)
            self._close(study, *baselines)
        except DiskFull as error:  # nothing more can be written, not even what a report needs
            self._interrupted(RunStatus.FAILED)
            raise CmdTuneError(f"{one_line(error)}; then go on with: {resume}") from error
        except KeyboardInterrupt:
            if self.engine.lost:
                self._interrupted(RunStatus.FAILED)
                raise CmdTuneError(f"{self.engine.lost}; go on with: {resume}") from None
            self._interrupted(RunStatus.STOPPED)
            raise Interrupted(f"interrupted; go on with: {resume}") from None
        except Exception as error:  # of no step of the ending: a study that cannot be opened, say
            self._interrupted(RunStatus.FAILED)
            if full := as_disk_full(error, folder / STUDY):
                raise CmdTuneError(f"{one_line(full)}; then go on with: {resume}") from error
            if isinstance(error, CmdTuneError):
                raise
            keep_traceback(folder, error)
            why = f"{folder}: {one_line(error)}; see {ERRORS} there"
            raise CmdTuneError(f"{why}, and go on with: {resume}") from error

        self.ending.show(self.console)
        if self.trouble:
            raise CmdTuneError(f"{self.trouble}; mend that, and go on with: {resume}")
        self.ending.check(resume)
        if not study.ranked():
            reasons = (f"{trial.name} {state_with_reason(trial)}" for trial in study.trials.values() if trial.reason)
            cure = f"; lower epochs, or {self._more_time()}" if study.shortfall == TIME_UP else ""
            raise CmdTuneError(f"{folder}: no trial has a result; {next(reasons, study.shortfall)}{cure}")

    def _more_time(self) -> str:
        """How to go on with a search whose time is up, in words."""
        limit = self.plan.space.seconds or 0.0
        return f"give more time, in all: {self.plan.resume} --time {time_span(2 * limit)}"

    def _reopen(self, study: SearchStudy) -> None:
        """Report a search that has nothing left to run."""
        what = "is finished; nothing is left to run"
        if not study.complete:
            study.shortfall = TIME_UP
            what = f"{TIME_UP}, {time_span(self.plan.space.seconds or 0.0)} in all; {self._more_time()}"
        print_line(self.console, f"search {self.plan.name}: {what}")
        self.tracker.check()
        keep_plan(self.plan)
        self._listen(TrackerListener(self.plan, study, self.plan.last_layout, self.tracker))

    def _run_trials(self, study: SearchStudy | None) -> tuple[SearchStudy, tuple[Scores, Scores]]:
        """Run what is left of a search, with the baselines beside it. Returns its study, and the baselines' scores."""
        plan, console = self.plan, self.console
        title, address = self.engine.title, self.engine.address
        joins = f"joining {title} at {address}" if address else f"starting {title}"
        console.print(f"search {plan.name}: {joins}", highlight=False)
        with self.engine.opened(trials=plan.trials, given=plan.given) as engine:
            self.tracker.check()
            resources = self.resources = engine.plan(plan.source)
            # What an earlier session left stays as it is until this one is known to go on.
            record_session(plan.folder, describe_software())
            keep_plan(plan, resources)
            console.print(f"layout: {resources}", highlight=False, soft_wrap=True)
            for line in describe_work(plan, resources.concurrent):
                console.print(line, highlight=False, soft_wrap=True, markup=False)
            study = self.study = study or _open_study(plan)
            if study.earlier:
                found = count(len(study.earlier), "finished trial")
                print_line(console, f"warm start: {found} of {plan.space.warm_start}")
            if study.timed_out:
                print_line(console, f"search {plan.name}: {TIME_UP}; {self._more_time()}")
            self._listen(TrackerListener(plan, study, resources, self.tracker))
            again, refits = confirmation_count(plan) + ablation_count(plan), refit_count(plan)
            screen = ScreenListener(study, console, concurrent=resources.concurrent, again=again, refits=refits)
            self._listen(screen)
            baselines = engine.call(baseline_scores, plan.settings, plan.source, plan.folder)
            controller = SearchController(study, plan.source, resources, self.listeners)
            try:
                screen.open()
                try:
                    with study.clock.kept():
                        engine.run(resources, controller)
                finally:
                    screen.close()
            except Exception as error:  # an engine or a terminal may raise anything
                controller.failed(error)
            if controller.disk_full:
                raise DiskFull(controller.trouble)
            scores = self.ending.attempt("baselines", baselines) or ({}, {})
            self.trouble = controller.trouble
            if not self.trouble:
                self._follow_up(study, engine, resources)
        return study, scores

    def _follow_up(self, study: SearchStudy, engine: Engine, resources: ResourcePlan) -> None:
        """Confirm finalists, which decides who they are; test them; refit them; run the path to the best."""
        plan, attempt = self.plan, self.ending.attempt

        def run(due: Sequence[RepeatRecord]) -> None:
            run_repeats(study, due, plan.source, engine, resources, self.listeners, attempt)

        run(due_confirmations(study, plan.confirm))
        score_finalists(study, plan.source, engine, self.listeners, attempt)
        run(due_refits(study, plan.refit))
        if (due := due_ablations(study, plan.ablation)) and (path := path_of(study, plan.ablation)):
            print_line(self.console, describe_path(path))
            run(due)

    def _nothing_due(self, study: SearchStudy) -> bool:
        plan = self.plan
        again = due_confirmations(study, plan.confirm) or due_ablations(study, plan.ablation)
        return not again and all_tested(study, plan.refit)

    def _listen(self, listener: SearchListener) -> None:
        self.listeners.append(listener)
        listener.opened()

    def _interrupted(self, status: RunStatus) -> None:
        if self.study:
            self.study.leave()
        for listener in self.listeners:
            listener.interrupted(status)

    def _close(self, study: SearchStudy, raw: Scores, untrained: Scores) -> None:
        """Write files, tell listeners, print; each as far as it goes."""
        plan, attempt = self.plan, self.ending.attempt
        study.leave()
        report = attempt("report", lambda: self._report(study, raw, untrained)) or SearchReport()
        ranked = study.ranked()
        failed = not ranked or self.trouble or self.ending.troubles
        best = ranked[0] if ranked and not plan.space.comparison else None
        model = attempt("model of the best trial", partial(winner_model, plan, best)) if best else None
        for listener in self.listeners:
            if model:
                listener.won(model)
            listener.closed(RunStatus.FAILED if failed else RunStatus.FINISHED, report, best)
        attempt("closing table", lambda: self._print(study, report))

    def _print(self, study: SearchStudy, report: SearchReport) -> None:
        print_report(self.console, study, report)
        names = ", ".join((*report.names, SEARCH_FILE, "trials/"))
        print_places(self.console, self.plan.folder, names, self.tracker)

    def _report(self, study: SearchStudy, raw: Scores, untrained: Scores) -> SearchReport:
        plan, attempt = self.plan, self.ending.attempt
        known = partial(conditions, plan.source, plan.settings.holdout)
        where = None
        if plan.space.comparison:
            where = attempt("data set", known)
        else:
            with suppress(CmdTuneError):  # what is gone after a search costs its report one line
                where = known()
        where = where or Conditions(plan.dataset, plan.source.protocol, {})
        costs = cost_of(study.trials.values(), self.resources)
        return write_report(StudyFindings(study, raw, untrained, where, costs, plan.ablation), attempt=attempt)
