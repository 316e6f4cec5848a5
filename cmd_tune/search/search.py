"""A search from its plan to its report: start Ray, run the trials, score the finalists, say what came out."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted, one_line
from cmd_tune.evaluate.scores import Scores
from cmd_tune.runs.ending import ERRORS, Ending, keep_traceback
from cmd_tune.runs.environment import describe_software, record_session
from cmd_tune.runs.messages import close_tracker, print_line, print_places, tell_outage
from cmd_tune.runs.pretrain_and_score import Conditions, baseline_scores, conditions, test_scores
from cmd_tune.runs.run_folder import SEARCH_FILE, lock_folder, resume_line
from cmd_tune.runs.session import termination_as_interrupt
from cmd_tune.search.checks import check_start
from cmd_tune.search.controller import Conductor
from cmd_tune.search.execution.nodes import check_nodes
from cmd_tune.search.execution.ray_output import log_ray_messages, native_errors_to
from cmd_tune.search.execution.ray_session import check_reachable, ray_session
from cmd_tune.search.execution.resources import DRIVER_CPU, Machine, plan_machine
from cmd_tune.search.execution.trial_process import MAX_RESTARTS, run_trial
from cmd_tune.search.plan import Plan, record_layout
from cmd_tune.search.report import SearchReport, StudyFindings, kept_baselines, print_report, write_report
from cmd_tune.search.report.live import with_reason
from cmd_tune.search.study.study import FINALISTS, STUDY, Book, Entry
from cmd_tune.tracking import BackgroundTracker, RunStatus, open_tracker


def run_search(plan: Plan, *, address: str | None, console: Console) -> None:
    """Run a new or resumed search to its end and print the report.

    Raises Interrupted on Ctrl-C or SIGTERM; CmdTuneError where no trial has a result, where the search could not go on,
    or where a step of its end failed: the others are done.
    """
    with _removed_unless_started(plan), lock_folder(plan.folder), termination_as_interrupt():
        for remark in check_start(plan):
            console.print(remark, style="yellow", soft_wrap=True, highlight=False, markup=False)
        if address and ":" in address:
            check_reachable(address)
        say = tell_outage(console, "search", plan.folder)
        tracker = open_tracker(plan.tracking_uri, plan.experiment, plan.name, plan.folder.parent, say)
        for line in tracker.remarks():
            print_line(console, line)
        try:
            _conduct(plan, tracker, address, console)
        finally:
            close_tracker(tracker, console, "search", plan.folder)


@contextmanager
def _removed_unless_started(plan: Plan) -> Iterator[None]:
    """Take a new search's folder away where it ends before its book is opened, unless it was stopped, or the error
    names a file in it.
    """
    try:
        yield
    except CmdTuneError as error:
        started = (plan.folder / STUDY).exists() or isinstance(error, Interrupted)
        if plan.new and not started and f"{plan.folder}/" not in str(error):
            shutil.rmtree(plan.folder, ignore_errors=True)
        raise


def _conduct(plan: Plan, tracker: BackgroundTracker, address: str | None, console: Console) -> None:
    resume = resume_line("search", plan.folder)
    conductor = None
    try:
        ending = Ending(plan.folder)
        book = None if plan.new else Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
        kept = book and _baselines_of_finished(book)
        if book and kept:
            console.print(f"search {plan.name}: is finished; nothing is left to run", highlight=False)
            tracker.check()
            conductor = Conductor(plan, book, None, tracker, console)
            raw, untrained = kept
        else:
            joins = f"joining Ray at {address}" if address else "starting Ray"
            console.print(f"search {plan.name}: {joins}", highlight=False)
            record_session(plan.folder, describe_software())
            log = plan.folder / "ray.log"
            with native_errors_to(log), ray_session(address, log, nested=plan.workers > 1) as nodes:
                log_ray_messages()
                tracker.check()
                if address:
                    check_nodes(plan.source.path, plan.folder, SEARCH_FILE)
                machine = plan_machine(
                    nodes,
                    workers=plan.workers,
                    gpus=plan.gpus_per_worker,
                    trials=plan.trials,
                    given=plan.given,
                    concurrent=plan.concurrent,
                )
                console.print(f"layout: {machine}", highlight=False, soft_wrap=True)
                record_layout(plan, str(machine))
                book = book or Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
                conductor = Conductor(plan, book, machine, tracker, console)
                raw, untrained = _run(plan, machine, conductor, ending)
        _end(plan, conductor, raw, untrained, ending, console)
    except KeyboardInterrupt:
        if conductor:
            conductor.interrupted()
        raise Interrupted(f"interrupted; go on with: {resume}") from None
    except Exception as error:  # what is no step of the ending, such as a study that cannot be opened
        if conductor:
            conductor.interrupted()
            conductor.show_search(RunStatus.FAILED)
        if isinstance(error, CmdTuneError):
            raise
        keep_traceback(plan.folder, error)
        why = f"{plan.folder}: {one_line(error)}; see {ERRORS} there"
        raise CmdTuneError(f"{why}, and go on with: {resume}") from error

    ending.show(console)
    if conductor.trouble:
        raise CmdTuneError(f"{conductor.trouble}; mend that, and go on with: {resume}")
    ending.check(resume)
    book = conductor.book
    if not book.ranked():
        reasons = (f"{entry.name} {with_reason(entry)}" for entry in book.entries.values() if entry.reason)
        cure = f"; raise budget.time or lower epochs, or go on with: {resume}" if book.timed_out else ""
        raise CmdTuneError(f"{plan.folder}: no trial has a result; {next(reasons, book.shortfall)}{cure}")


def _baselines_of_finished(book: Book) -> tuple[Scores, Scores] | None:
    """(raw, untrained) of a search that has nothing left to do; None of another."""
    kept = kept_baselines(book.folder)
    tested = all(entry.test_scores for entry in book.finalists(FINALISTS))
    return kept if kept and tested and book.complete else None


def _end(plan: Plan, conductor: Conductor, raw: Scores, untrained: Scores, ending: Ending, console: Console) -> None:
    """Files, MLflow and screen, each as far as it goes."""
    book = conductor.book
    report = ending.attempt("report", lambda: _report(plan, book, raw, untrained, ending)) or SearchReport()
    ranked = book.ranked()
    if conductor.trouble:
        conductor.interrupted()
    if ranked and not plan.space.table:
        conductor.show_winner(ranked[0])
    failed = not ranked or conductor.trouble or ending.troubles
    conductor.show_search(RunStatus.FAILED if failed else RunStatus.FINISHED, report.metrics, report.files)
    ending.attempt("closing table", lambda: print_report(console, book, report))
    names = ", ".join((SEARCH_FILE, *(path.name for path in report.files), "trials/"))
    print_places(console, book.folder, names, conductor.tracker)


def _report(plan: Plan, book: Book, raw: Scores, untrained: Scores, ending: Ending) -> SearchReport:
    where = ending.attempt("data set", lambda: conditions(plan.source)) if plan.space.table else None
    where = where or Conditions(plan.dataset, plan.source.protocol, {})
    return write_report(StudyFindings(book, raw, untrained, where), attempt=ending.attempt)


def _run(plan: Plan, machine: Machine, conductor: Conductor, ending: Ending) -> tuple[Scores, Scores]:
    """Baselines beside the trials, then the finalists' test scores, where the search came to its end."""
    import ray

    beside = {"num_cpus": 0, "num_gpus": machine.gpus}
    baselines = ray.remote(baseline_scores).options(**beside).remote(plan.settings, plan.source, plan.folder)
    try:
        conductor.display.open()
        try:
            _tune(plan, machine, conductor)
        finally:
            conductor.display.close()
    except Exception as error:  # whatever Tune, Ray or the terminal may raise
        conductor.failed(error)
    raw, untrained = ending.attempt("baselines", lambda: ray.get(baselines)) or ({}, {})
    if conductor.trouble:
        return raw, untrained
    # A finalist takes a worker's place, now that no trial does: as many are tested at once as there is room for.
    task = ray.remote(test_scores).options(num_cpus=machine.cpus, num_gpus=machine.gpus)
    book = conductor.book
    finalists = [entry for entry in book.finalists(FINALISTS) if not entry.test_scores]
    if finalists:
        conductor.goes_on()
    tested = [task.remote(book.settings_of(entry), plan.source, entry.folder) for entry in finalists]
    for entry, scores in zip(finalists, tested, strict=True):
        ending.attempt(f"test of {entry.name}", partial(_enter_test, conductor, entry, scores))
    return raw, untrained


def _enter_test(conductor: Conductor, entry: Entry, scores: Any) -> None:
    import ray

    conductor.tested(entry, ray.get(scores))


def _tune(plan: Plan, machine: Machine, conductor: Conductor) -> None:
    from ray import tune

    from cmd_tune.search.execution.ray_tune import BookCallback, BookScheduler, BookSearcher, BookStopper

    alone = {"CPU": machine.cpus, "GPU": machine.gpus}
    tune.Tuner(
        tune.with_resources(run_trial, alone if machine.workers == 1 else {"CPU": DRIVER_CPU}),
        tune_config=tune.TuneConfig(
            search_alg=BookSearcher(conductor),
            scheduler=BookScheduler(conductor),
            num_samples=-1,  # the book says when it is enough
            reuse_actors=machine.workers == 1,
            trial_dirname_creator=_trial_dirname,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(plan.folder),
            verbose=0,
            callbacks=[BookCallback(conductor)],
            stop=BookStopper(conductor),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
        ),
    ).fit()


def _trial_dirname(trial: Any) -> str:
    """Ray's own folder of a trial has the number that the trial has everywhere."""
    return f"{trial.config['trial']:03d}"
