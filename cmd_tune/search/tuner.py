"""A search from its plan to its report: start Ray, run the trials, score the finalists, say what came out."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.evaluate.scores import Scores
from cmd_tune.search.cluster import ray_session
from cmd_tune.search.conductor import Conductor
from cmd_tune.search.folders import hold, resume_line
from cmd_tune.search.machine import DRIVER_CPU, Machine, plan_machine
from cmd_tune.search.plan import Plan
from cmd_tune.search.report import Report, kept_baselines, print_closing, search_report
from cmd_tune.search.run import baseline_scores, query_counts, test_scores
from cmd_tune.search.study import FINALISTS, Book
from cmd_tune.search.table_report import table_report
from cmd_tune.search.tracking import Tracker
from cmd_tune.search.trial import MAX_RESTARTS, run_trial


def run_search(plan: Plan, *, address: str | None, console: Console) -> None:
    """Run a new or resumed search to its end and print the report.

    Raises Interrupted on Ctrl-C or SIGTERM, CmdTuneError where no trial has a result.
    """
    with hold(plan.folder), termination_as_interrupt():
        tracker = Tracker(plan.tracking_uri, plan.experiment, plan.name, plan.folder.parent / "mlartifacts")
        try:
            _conduct(plan, tracker, address, console)
        finally:
            if trouble := tracker.close():
                console.print(f"MLflow at {plan.tracking_uri} has not got everything: {trouble}", style="yellow")
                console.print(
                    f"Write the rest with: {resume_line('search', plan.folder)}", style="yellow", soft_wrap=True
                )


def _conduct(plan: Plan, tracker: Tracker, address: str | None, console: Console) -> None:
    book = Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
    kept = kept_baselines(plan.folder)
    if kept and book.complete and all(entry.test_scores for entry in book.finalists(FINALISTS)):
        console.print(f"search {plan.name}: is finished; nothing is left to run", highlight=False)
        _close(plan, Conductor(plan, book, None, tracker, console), *kept, console)
        return
    console.print(f"search {plan.name}: {f'joining Ray at {address}' if address else 'starting Ray'}", highlight=False)
    conductor = None
    try:
        with ray_session(address, plan.folder / "ray.log", nested=plan.workers > 1) as nodes:
            machine = plan_machine(
                nodes, workers=plan.workers, gpus=plan.gpus_per_worker, trials=plan.trials, concurrent=plan.concurrent
            )
            conductor = Conductor(plan, book, machine, tracker, console)
            raw, untrained = _run(plan, machine, conductor)
    except KeyboardInterrupt:
        if conductor:
            conductor.interrupted()
        raise Interrupted(f"interrupted; go on with: {resume_line('search', plan.folder)}") from None
    _close(plan, conductor, raw, untrained, console)


def _close(plan: Plan, conductor: Conductor, raw: Scores, untrained: Scores, console: Console) -> None:
    """The report, on the screen, as files and in MLflow. Raises CmdTuneError where no trial has a result."""
    book = conductor.book
    report = _report(plan, book, raw, untrained)
    ranked = book.ranked()
    if ranked and not plan.space.table:
        conductor.show_winner(ranked[0])
    conductor.show_search("FINISHED" if ranked else "FAILED", report.metrics, report.files)
    print_closing(console, book, report, plan.tracking_uri)
    if not ranked:
        reasons = {entry.reason for entry in book.entries.values() if entry.reason}
        raise CmdTuneError(f"{plan.folder}: no trial has a result; {next(iter(reasons), 'the time was too short')}")


def _report(plan: Plan, book: Book, raw: Scores, untrained: Scores) -> Report:
    table = plan.space.table
    if table is None:
        return search_report(book, raw, untrained)
    where = f"{plan.dataset}, {plan.source.protocol}"
    return table_report(book, table, raw, untrained, where=where, queries=query_counts(plan.source))


def _run(plan: Plan, machine: Machine, conductor: Conductor) -> tuple[Scores, Scores]:
    """Baselines beside the trials, then the finalists' test scores."""
    import ray

    beside = {"num_cpus": 0, "num_gpus": machine.gpus}
    baselines = ray.remote(baseline_scores).options(**beside).remote(plan.settings, plan.source)
    conductor.display.open()
    try:
        _tune(plan, machine, conductor)
    finally:
        conductor.display.close()
    raw, untrained = ray.get(baselines)
    # A finalist takes a worker's place, now that no trial does: as many are tested at once as there is room for.
    task = ray.remote(test_scores).options(num_cpus=machine.cpus, num_gpus=machine.gpus)
    finalists = [entry for entry in conductor.book.finalists(FINALISTS) if not entry.test_scores]
    if finalists:
        conductor.goes_on()
    settings = [conductor.book.settings_of(entry) for entry in finalists]
    tested = [task.remote(s, plan.source, entry.folder) for s, entry in zip(settings, finalists, strict=True)]
    for entry, scores in zip(finalists, tested, strict=True):
        conductor.tested(entry, ray.get(scores))
    return raw, untrained


def _tune(plan: Plan, machine: Machine, conductor: Conductor) -> None:
    from ray import tune

    from cmd_tune.search.sampler import BookCallback, BookScheduler, BookSearcher

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
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
        ),
    ).fit()


def _trial_dirname(trial: Any) -> str:
    return str(trial.trial_id)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM, as a cluster's queue sends it, ends a run the way Ctrl-C does; so does SIGINT in the background."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
