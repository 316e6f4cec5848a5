"""The time that a search will take yet."""

import io

import pytest
from rich.console import Console

from cmd_tune.search.report import live
from cmd_tune.search.report.live import Display
from cmd_tune.search.report.time_left import Course, seconds_left

WHOLE = Course(40, 40)


@pytest.mark.parametrize(
    ("ended", "running", "to_come", "slots", "seconds"),
    [
        ([], [Course(0, 40)], 0, 1, 80),
        ([WHOLE], [Course(10, 40)], 2, 1, 60 + 160),
        ([WHOLE], [Course(10, 40), Course(30, 40)], 2, 2, 60 + 80),  # at 20 s one is free, at 60 s the other
        ([WHOLE], [Course(39, 40)], 0, 4, 2),  # the last one has no company
        ([WHOLE] * 3, [], 5, 4, 160),  # four at once, then one
        ([Course(10, 40)] * 3 + [WHOLE], [], 4, 1, 4 * 35),  # three of four are stopped at a quarter
        ([Course(10, 40)] * 3 + [WHOLE], [Course(10, 40)], 0, 1, 60),  # past where others were stopped
        ([Course(10, 40)] * 3, [Course(20, 40)], 0, 1, 40),
        ([WHOLE], [Course(30, 40, idle=5.0), Course(30, 40, idle=50.0)], 0, 2, 15),
        ([Course(20, 20)], [Course(20, 80)], 1, 1, 120 + 80),  # a trial's own epochs
    ],
)
def test_by_hand(ended, running, to_come, slots, seconds):
    """An epoch takes 2 s; a trial to come has 40."""
    assert seconds_left(ended, running, to_come, epochs=40, pace=2.0, slots=slots) == pytest.approx(seconds)


def test_a_search_of_three_at_once_with_early_stopping(make_space, open_study, monkeypatch):
    """Ten seconds an epoch, three trials at once, of which two are stopped half-way: the others' time, not their sum.

    With what a validation takes again for the finalists: 2 of each 10 s.
    """
    clock = [1000.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    study = open_study(make_space(), trials=6, epochs=4)
    screen = Display(study, Console(file=io.StringIO()), concurrent=3)
    clock[0] += 60  # until Ray stands
    assert "time left: not known yet" in screen.summary()
    trials = [study.next() for _ in range(3)]
    for trial in trials:
        screen.started(trial)

    def epoch(number, trials):
        clock[0] += 10
        for trial in trials:
            study.record(trial, {"epoch": number, "seconds": 8.0, "loss/total": 1.0, "val/knn/fused": 50.0})
            screen.reported(trial, trial.history[-1:])

    epoch(1, trials)
    assert "about 1:12 left" in screen.summary()  # 30 s, 40 s, and the tests
    epoch(2, trials)
    for trial in trials[1:]:
        study.end(trial)
    clock[0] += 1
    # Two ended after two epochs, the one that runs goes to its end, in 19 s. Those to come take (2 + 2 + 4) / 3 epochs:
    # two start at once, the last when that one has ended.
    left = 19 + 26.7 + 2
    assert f"about {live.duration(left)} left" in screen.summary()


def test_a_resumed_search_counts_what_it_does_itself(make_space, open_study, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    first = open_study(make_space(), trials=1, epochs=10)
    trial = first.next()
    for number in range(1, 8):
        first.record(trial, {"epoch": number, "loss/total": 1.0})
    study = open_study(make_space(), trials=1, epochs=10)
    screen = Display(study, Console(file=io.StringIO()), concurrent=1)
    trial = study.next()
    screen.started(trial)
    clock[0] += 30
    study.record(trial, {"epoch": 8, "seconds": 30.0, "loss/total": 1.0})
    screen.reported(trial, trial.history[-1:])
    assert "about 1:00 left" in screen.summary()
