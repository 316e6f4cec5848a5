"""What a search prints if there is no terminal."""

import io

import pytest
from rich.console import Console

from cmd_tune.formatting import named_values
from cmd_tune.search.report import live
from cmd_tune.search.report.live import Display, state_with_reason


@pytest.fixture
def printed(make_space, open_study, monkeypatch):
    """A study, its display on a file, the clock that the display goes by, and the lines that it has printed."""
    clock = [0.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    study = open_study(make_space(points_to_evaluate=None, method="random"), trials=4)
    file = io.StringIO()
    return (
        study,
        Display(study, Console(file=file, width=40), concurrent=1),
        clock,
        lambda: file.getvalue().splitlines(),
    )


def test_a_trial_from_its_start_to_its_end_is_a_line_each(printed):
    study, screen, clock, lines = printed
    trial = study.next()
    values = named_values(trial.values)
    assert values == ", ".join(f"{name} {trial.values[name]:.4g}" for name in study.space.parameters)
    screen.started(trial)
    assert lines() == [f"trial-000 starts: {values}"]  # one line, however narrow the screen is
    for epoch, score in ((1, {}), (2, {}), (3, {"val/knn/fused": 51.2})):
        clock[0] += 10
        study.record(trial, {"epoch": epoch, "seconds": 8.0, "loss/total": 2.0 / epoch, **score})
        screen.reported(trial, trial.history[-1:])
    # The best is the best of those that ended. Three more trials of 3 epochs at 10 s, and 3 finalists' tests at 2 s.
    summary = "best –, 0/4 trials, elapsed 0:30, about 1:36 left"
    assert lines()[1:] == [f"trial-000 epoch 3/3: loss 0.667, val/knn/fused 51.20; {summary}"]
    study.end(trial)
    screen.ended(trial)
    assert lines()[2:] == ["trial-000 finished"]
    assert screen.summary() == "best 51.20 (trial-000), 1/4 trials, elapsed 0:30, about 1:36 left"


def test_nothing_is_foretold_before_the_first_epoch(printed):
    _, screen, clock, _ = printed
    clock[0] = 61
    assert screen.summary() == "best –, 0/4 trials, elapsed 1:01, time left: not known yet"


def test_where_a_trial_goes_on_and_that_it_starts_again_is_said(printed):
    study, screen, _, lines = printed
    trial = study.next()
    study.record(trial, {"epoch": 1, "loss/total": 1.0})
    screen.started(trial)
    screen.started(trial)
    assert [line.partition(":")[0] for line in lines()] == [
        "trial-000 resumes after epoch 1",
        "trial-000 resumes after epoch 1 again, since its process ended",
    ]


def test_how_a_trial_stands_and_why(make_space, open_study):
    study = open_study(make_space())
    stopped, failed, running = study.next(), study.next(), study.next()
    study.record(stopped, {"epoch": 1, "loss/total": 1.0, "val/knn/fused": 50.0})
    study.end(stopped)
    study.end(failed, failure="the loss is nan in epoch 1")
    assert state_with_reason(stopped) == "stopped early after epoch 1 of 3"
    assert state_with_reason(failed) == "failed: the loss is nan in epoch 1"
    assert state_with_reason(running) == "running"


def test_a_note_is_said_once_as_it_is(printed):
    _, screen, _, lines = printed
    for text in ("half the speed: [bold]no[/bold] compiler :smile:", "another", "another"):
        screen.noted(text)
    assert lines() == ["half the speed: [bold]no[/bold] compiler :smile:", "another"]
