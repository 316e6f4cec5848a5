"""What a search prints if there is no terminal."""

import io

import pytest
from rich.console import Console

from cmd_tune.formatting import named_values
from cmd_tune.search.report import live
from cmd_tune.search.report.live import Display, state_with_reason


@pytest.fixture
def printed(make_space, open_book, monkeypatch):
    """A book, its display on a file, the clock that the display goes by, and the lines that it has printed."""
    clock = [0.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    book = open_book(make_space(points_to_evaluate=None, method="random"), trials=4)
    file = io.StringIO()
    return book, Display(book, Console(file=file, width=40), concurrent=1), clock, lambda: file.getvalue().splitlines()


def test_a_trial_from_its_start_to_its_end_is_a_line_each(printed):
    book, screen, clock, lines = printed
    entry = book.next()
    values = named_values(entry.values)
    assert values == ", ".join(f"{name} {entry.values[name]:.4g}" for name in book.space.parameters)
    screen.started(entry)
    assert lines() == [f"trial-000 starts: {values}"]  # one line, however narrow the screen is
    for epoch, score in ((1, {}), (2, {}), (3, {"val/knn/fused": 51.2})):
        clock[0] += 10
        book.record(entry, {"epoch": epoch, "seconds": 8.0, "loss/total": 2.0 / epoch, **score})
        screen.reported(entry, entry.history[-1:])
    # The best is the best of those that ended. Three more trials of 3 epochs at 10 s, and 3 finalists' tests at 2 s.
    summary = "best –, 0/4 trials, elapsed 0:30, about 1:36 left"
    assert lines()[1:] == [f"trial-000 epoch 3/3: loss 0.667, val/knn/fused 51.20; {summary}"]
    book.end(entry)
    screen.ended(entry)
    assert lines()[2:] == ["trial-000 finished"]
    assert screen.summary() == "best 51.20 (trial-000), 1/4 trials, elapsed 0:30, about 1:36 left"


def test_nothing_is_foretold_before_the_first_epoch(printed):
    _, screen, clock, _ = printed
    clock[0] = 61
    assert screen.summary() == "best –, 0/4 trials, elapsed 1:01, time left: not known yet"


def test_where_a_trial_goes_on_and_that_it_starts_again_is_said(printed):
    book, screen, _, lines = printed
    entry = book.next()
    book.record(entry, {"epoch": 1, "loss/total": 1.0})
    screen.started(entry)
    screen.started(entry)
    assert [line.partition(":")[0] for line in lines()] == [
        "trial-000 resumes after epoch 1",
        "trial-000 resumes after epoch 1 again, since its process ended",
    ]


def test_how_a_trial_stands_and_why(make_space, open_book):
    book = open_book(make_space())
    stopped, failed, running = book.next(), book.next(), book.next()
    book.record(stopped, {"epoch": 1, "loss/total": 1.0, "val/knn/fused": 50.0})
    book.end(stopped)
    book.end(failed, failure="the loss is nan in epoch 1")
    assert state_with_reason(stopped) == "stopped early after epoch 1 of 3"
    assert state_with_reason(failed) == "failed: the loss is nan in epoch 1"
    assert state_with_reason(running) == "running"


def test_a_note_is_said_once_as_it_is(printed):
    _, screen, _, lines = printed
    for text in ("half the speed: [bold]no[/bold] compiler :smile:", "another", "another"):
        screen.noted(text)
    assert lines() == ["half the speed: [bold]no[/bold] compiler :smile:", "another"]
