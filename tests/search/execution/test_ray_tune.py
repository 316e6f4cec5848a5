"""The parts of Tune that pass its calls to the events: what is said, and that nothing raises into Tune's loop."""

import pickle
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from cmd_tune.search.execution import WAIT, TrialReport
from cmd_tune.search.execution.ray_tune import ERROR, TuneCallback, TuneScheduler, TuneSearcher, TuneStopper, _kind

HOSTS = SimpleNamespace(leave=lambda key: None, look=lambda say, relaid: None, submit=pytest.fail)
STACK = 'ray::Trial() (pid=7)\n  File "loop.py", line 3, in run\n    step()\n    ^^^^^^\n'
CUDA = """RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call.
  For debugging consider passing CUDA_LAUNCH_BLOCKING=1

Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (STACK + CUDA, "RuntimeError: CUDA error: device-side assert triggered"),
        (STACK + "KeyError: 'a'\n\nDuring its handling:\n\n" + STACK + "ValueError: b", "ValueError: b"),
        ("no stack\nat all", "at all"),
    ],
)
def test_a_trial_failed_for_what_its_exception_says_first(tmp_path, text, reason):
    """Those of PyTorch go on for many lines, of which the last says nothing."""
    told = []
    events = SimpleNamespace(ended=lambda *what: told.append(what), failed=pytest.fail)
    trial = SimpleNamespace(get_error=lambda: text, config={"trial": 3, "folder": str(tmp_path)})
    TuneCallback(events, HOSTS).on_trial_error(1, [], trial)
    assert told == [(3, f"{reason} (in full: {tmp_path / ERROR})", told[0][2])]
    assert (tmp_path / ERROR).read_text() == f"{text}\n"


def trial(index, **last):
    return SimpleNamespace(
        trial_id=str(index),
        run_metadata=SimpleNamespace(num_failures=1),
        last_result=last,
        config={"trial": index, "folder": "/nowhere"},
        get_error=lambda: None,
    )


def test_a_report_comes_without_the_keys_that_tune_adds():
    told = []
    events = SimpleNamespace(reported=lambda *what: told.append(what), failed=pytest.fail)
    record = {"epoch": 2.0, "loss/total": 1.5}
    result = {"records": [record], "slower": "half", "failure": "", "kind": "", "pid": 1, "done": False, "config": {}}
    assert TuneScheduler(events).on_trial_result(None, trial(3), result) == TrialScheduler.CONTINUE
    assert told == [(3, TrialReport([record], "half"))]


def test_last_words_are_no_report_and_go_with_the_end():
    told = []
    events = SimpleNamespace(
        reported=pytest.fail, stop_all=lambda: False, ended=lambda *what: told.append(what), failed=pytest.fail
    )
    last = {"records": [], "slower": "", "failure": "data.arrow: no such file", "kind": "DataError", "pid": 1}
    assert TuneScheduler(events).on_trial_result(None, trial(3), last) == TrialScheduler.CONTINUE
    TuneCallback(events, HOSTS).on_trial_complete(0, [], trial(3, **last))
    assert told == [(3, "data.arrow: no such file", "DataError")]


@pytest.mark.parametrize(("answer", "suggestion"), [(WAIT, None), (None, Searcher.FINISHED)])
def test_no_task_for_now_and_none_at_all_are_two_things(answer, suggestion):
    events = SimpleNamespace(next_task=lambda: answer, failed=pytest.fail)
    assert TuneSearcher(events, HOSTS).suggest("a") == suggestion


def test_a_task_is_with_the_hosts_as_tune_hears_of_it():
    """A trial's process at Tune takes a second to start, for which its host need not wait."""
    left, config = [], {"trial": 3, "folder": "/runs/it/trials/003"}
    events = SimpleNamespace(next_task=lambda: SimpleNamespace(to_plain=lambda: config), failed=pytest.fail)
    hosts = SimpleNamespace(submit=lambda *what: left.append(what))
    assert TuneSearcher(events, hosts).suggest("a") == config
    assert left == [("trial /runs/it/trials/003", config)]


class Broken:
    """Events of which each call raises."""

    def __init__(self):
        self.errors = []

    def failed(self, error):
        self.errors.append(str(error))

    def stop_all(self):
        return bool(self.errors)

    def __getattr__(self, name):
        def call(*_):
            raise OSError(name)

        return call


def test_nothing_raises_into_tunes_loop():
    events = Broken()
    stopper = TuneStopper(events)
    assert not stopper.stop_all()
    assert TuneSearcher(events, HOSTS).suggest("a") == Searcher.FINISHED
    assert stopper.stop_all()
    assert TuneScheduler(events).on_trial_result(None, trial(0), {"records": [{"epoch": 1}]}) == TrialScheduler.STOP
    callback = TuneCallback(events, HOSTS)
    callback.on_trial_start(0, [], trial(0))
    callback.on_trial_complete(0, [], trial(0))
    callback.on_trial_error(0, [], trial(0))
    assert events.errors == ["next_task", "reported", "started", "ended", "ended"]


def test_what_tune_pickles_is_empty():
    assert vars(pickle.loads(pickle.dumps(TuneStopper(Broken())))) == {}  # noqa: S301


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("its process died: killed, out of memory or crashed (in full: /x)", "Died"),
        ("RuntimeError: worker 1: The actor died unexpectedly before finishing this task.", "Died"),
        ("its node was lost (in full: /x)", "NodeLost"),
        ("its process was ended, since the memory of its node was full", "OutOfMemory"),
        ("ValueError: b", "ValueError"),
    ],
)
def test_what_kind_of_failure_it_was(failure, kind):
    assert _kind(failure) == kind
