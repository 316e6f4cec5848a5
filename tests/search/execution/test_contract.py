"""What every engine does alike: tasks, reports, answers, failures, an end in the middle."""

import shlex
import statistics
import time
from collections import Counter, defaultdict

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution import ENGINES, WAIT, ResourceRequest, TrialEvents, TrialTask
from cmd_tune.search.execution.trial_process import run_task
from cmd_tune.train.loop import epochs_done
from tests.search.local_engine import LocalEngine

ALL = {**ENGINES, "local": LocalEngine}
AT_ONCE = 2


class Script(TrialEvents):
    """Hands out these tasks, ends a trial after an epoch, and keeps all that it is told."""

    def __init__(self, tasks, stop_after=None):
        self.tasks, self.stop_after = list(tasks), stop_after or {}
        self.started_times, self.running = Counter(), set()
        self.reports, self.ends = defaultdict(list), defaultdict(list)
        self.errors = []

    def next_task(self):
        if len(self.running) == AT_ONCE:
            return WAIT
        task = self.tasks.pop(0) if self.tasks else None
        if task:
            self.running.add(task.index)
        return task

    def started(self, index):
        self.started_times[index] += 1

    def reported(self, index, report):
        epochs = [int(record["epoch"]) for record in report.records]
        self.reports[index].append(epochs)
        return epochs[-1] == self.stop_after.get(index)

    def ended(self, index, failure="", kind=""):
        self.running.remove(index)
        self.ends[index].append((failure, kind))

    def failed(self, error):
        self.errors.append(error)

    def stop_all(self):
        return bool(self.errors)


@pytest.fixture(scope="module", params=[*(pytest.param(name, marks=pytest.mark.long) for name in ENGINES), "local"])
def engine_name(request):
    return request.param


@pytest.fixture(scope="module")
def opened(engine_name, source, tmp_path_factory):
    """(an engine for two trials at once, its layout). It serves all tests, since Ray takes seconds to start."""
    engine = ALL[engine_name](tmp_path_factory.mktemp("it"), ResourceRequest(concurrent=AT_ONCE))
    with engine.opened(trials=5, given=5):
        yield engine, engine.plan(source)


@pytest.fixture(scope="module")
def source(tiny_store):
    return DataSource(tiny_store.path, "xview")


def make_task(engine, source, layout, settings, index):
    folder = engine.folder / "trials" / f"{index:03d}"
    folder.mkdir(parents=True)
    return TrialTask(index, folder, settings, source, layout.per_trial)


def test_tasks_run_once_each_as_they_are_answered(opened, source, tiny):
    """0 runs to its end, 1 is ended after an epoch, 2 diverges, 3 has run before, 4 comes after all of these."""
    changes = [{}, {"epochs": 400}, {"student_temperature": 1e-40}, {}, {}]
    engine, layout = opened
    tasks = [make_task(engine, source, layout, tiny(**more), index) for index, more in enumerate(changes)]
    run_task(tasks[3], lambda report: None)
    script = Script(tasks, stop_after={1: 1})
    engine.run(layout, script)

    assert engine.call(shlex.split, "a 'b c'")() == ["a", "b c"]
    wait = engine.call(statistics.mean, [])
    with pytest.raises(statistics.StatisticsError, match="at least one data point"):
        wait()
    assert (script.tasks, script.errors, script.running) == ([], [], set())
    assert script.started_times == dict.fromkeys(range(5), 1)
    assert script.reports == {0: [[1], [2], [3]], 1: [[1]], 3: [[1, 2, 3]], 4: [[1], [2], [3]]}
    (diverged,) = script.ends.pop(2)
    assert diverged[0].endswith("in epoch 1; lower learning_rate or raise the temperatures")
    assert diverged[1] == "Diverged"
    assert script.ends == {index: [("", "")] for index in (0, 1, 3, 4)}
    assert epochs_done(tasks[0].folder) == 3


def test_what_the_events_raise_ends_the_run(opened, source, tiny):
    class Broken(Script):
        def reported(self, index, report):
            raise OSError("no space left")

    engine, layout = opened
    script = Broken([make_task(engine, source, layout, tiny(epochs=400), index) for index in range(5, 9)])
    engine.run(layout, script)
    assert {str(error) for error in script.errors} == {"no space left"}
    assert len(script.tasks) >= 4 - AT_ONCE


def test_an_end_in_the_middle_leaves_nothing_running(opened, source, tiny):
    """As by Ctrl-C, which may come at any moment of the searching process. The engine is closed: this comes last."""

    class Interrupted(Script):
        def reported(self, index, report):
            raise KeyboardInterrupt

    engine, layout = opened
    task = make_task(engine, source, layout, tiny(epochs=2000, evaluate_every=2000), 9)
    with pytest.raises(KeyboardInterrupt):
        engine.run(layout, Interrupted([task]))
    engine.close()
    reached = epochs_done(task.folder)
    assert 1 <= reached < 2000
    time.sleep(1)
    assert epochs_done(task.folder) == reached
