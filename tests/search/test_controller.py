"""Between Ray Tune and the book: nothing that happens there may raise into Tune's loop."""

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.controller import Conductor
from cmd_tune.search.execution.ray_tune import BookCallback, BookScheduler, BookSearcher, BookStopper
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.execution.trial_process import FAILURE, KIND
from cmd_tune.search.plan import Plan
from cmd_tune.search.study.study import Book, State
from cmd_tune.tracking import open_tracker


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all, since MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def conduct(make_space, tiny, tiny_store, database, tmp_path):
    """A conductor of the search in tmp_path / "runs" / "it", and what Tune has of it."""
    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    trackers = []

    def make(trials=9):
        plan = Plan(
            folder=folder,
            space=make_space(points_to_evaluate=None, method="random"),
            preset="quick",
            settings=tiny(),
            source=DataSource(tiny_store.path, "xview"),
            dataset="synthetic",
            trials=trials,
            concurrent=1,
            workers=1,
            gpus_per_worker=None,
            tracking_uri=database,
        )
        trackers.append(open_tracker(plan.tracking_uri, plan.experiment, tmp_path.name, tmp_path))
        book = Book(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)
        conductor = Conductor(plan, book, Machine(1, 1.0, 0.0, 1, 1, 1), trackers[-1], Console(quiet=True))
        return SimpleNamespace(
            conductor=conductor,
            searcher=BookSearcher(conductor),
            scheduler=BookScheduler(conductor),
            callback=BookCallback(conductor),
            stopper=BookStopper(conductor),
        )

    yield make
    for tracker in trackers:
        assert tracker.close() == ""


NO_FOLDER = {"folder": "/nowhere"}  # where the words of an error could be kept


def trial(name, **last):
    return SimpleNamespace(trial_id=name, last_result=last, get_error=lambda: last.get("error"), config=NO_FOLDER)


def run(tune, name, **last):
    """A trial that starts and ends with this last report; False where none is handed out any more."""
    config = tune.searcher.suggest(name)
    if config == Searcher.FINISHED:
        return False
    tune.callback.on_trial_start(0, [], trial(name))
    end = tune.callback.on_trial_error if "error" in last else tune.callback.on_trial_complete
    end(0, [], trial(name, **last))
    return True


def test_what_cannot_be_written_ends_the_search_and_leaves_its_trial_to_be_resumed(conduct):
    tune = conduct()
    config = tune.searcher.suggest("a")
    tune.callback.on_trial_start(0, [], trial("a"))
    history = tune.conductor.book.entries[0].folder / "history.jsonl"
    history.mkdir()
    report = {"epoch": 1, "loss/total": 2.0}
    assert not tune.stopper.stop_all()
    assert tune.scheduler.on_trial_result(None, trial("a"), report) == TrialScheduler.STOP
    assert tune.conductor.trouble == f"{history}: cannot be written: Is a directory"
    assert tune.stopper.stop_all()
    assert tune.searcher.suggest("b") == Searcher.FINISHED
    tune.callback.on_trial_complete(0, [], trial("a", **report))
    assert "IsADirectoryError" in (tune.conductor.plan.folder / "errors.log").read_text()

    history.rmdir()
    again = conduct()
    assert again.searcher.suggest("a") == config


def test_a_trial_that_nobody_started_is_no_end_of_tunes_loop(conduct):
    tune = conduct()
    tune.callback.on_trial_start(0, [], trial("unknown"))
    assert tune.conductor.trouble == f"{tune.conductor.plan.folder}: KeyError: 'unknown'"


def test_three_failures_of_one_kind_in_a_row_end_the_search_and_are_tried_once_more(conduct):
    tune = conduct()
    unread = {FAILURE: "data.arrow: no such file", KIND: "DataError"}
    lost = {"error": "Traceback …\nray.exceptions.ActorDiedError: the actor died"}
    ends = [unread, unread, lost, unread, {FAILURE: "the loss is nan"}, unread, unread]
    assert all(run(tune, str(index), **end) for index, end in enumerate(ends))
    assert tune.conductor.trouble == ""
    assert run(tune, "7", **unread)
    assert tune.conductor.trouble == "3 trials in a row failed alike, the last since data.arrow: no such file"
    assert not run(tune, "8")

    for sitting in (1, 2):
        again = conduct()
        entries = again.conductor.book.entries
        states = {index: entry.state for index, entry in entries.items()}
        # All but the trial whose values failed it; what fails once more has failed for good.
        failed = {4} if sitting == 1 else {0, 1, 2, 4}
        assert {index for index, state in states.items() if state is State.FAILED} == failed
        assert again.searcher.suggest("0")["trial"] == (0 if sitting == 1 else 3)
        again.callback.on_trial_complete(0, [], trial("0", **unread))
        assert run(again, "1", **unread)
        assert run(again, "2", **unread)
        assert again.conductor.trouble


def test_trials_that_diverge_end_nothing(conduct):
    tune = conduct(trials=5)
    assert all(run(tune, str(index), **{FAILURE: "the loss is nan"}) for index in range(5))
    assert not run(tune, "5")
    assert tune.conductor.trouble == ""
