"""A running search: lines where there is no terminal, a table that fits any screen, the time left."""

import io

import pytest
from rich.console import Console

from cmd_tune.formatting import named_values
from cmd_tune.search.report import live
from cmd_tune.search.report.live import Display, state_with_reason
from tests.search.report.printed import lines_of


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


def test_the_live_table_has_what_runs_then_what_finished_by_rank_then_the_others(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [98], [99, 99], failed=[3], running=[4])
    lines = lines_of(Display(study, Console())._render(), width=200)
    rows = [line.split() for line in lines if line.startswith("00")]
    assert [row[0] for row in rows] == ["004", "002", "000", "001", "003"]


def test_the_best_so_far_is_the_best_of_what_finished(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [97, 98], [99, 99], failed=[4])
    assert Display(study, Console()).summary().startswith("best 50.00 (trial-002), 5/5 trials")


def test_where_nothing_finished_there_is_no_best(ended):
    study = ended([99], [98], [97], running=[2])
    assert Display(study, Console()).summary().startswith("best –, 2/3 trials")


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (80, 12), (200, 50)])
def test_the_live_table_shows_best_and_time_left_on_any_screen(wide_study, width, height):
    display = Display(wide_study, Console(width=width, height=height))
    lines = lines_of(display._render(), width=width, height=height)
    assert len(lines) < height
    assert "best 52.00 (trial-012)" in " ".join(lines[-2:])
    assert "left" in " ".join(lines[-2:])
    trials = [line for line in lines if line[:3].isdigit()]
    assert trials[0].startswith("014")  # what runs comes first
    assert all(line.endswith(("running", "finished", "failed")) for line in trials)
    assert len(trials) >= min(13, height - 11)
    assert any(line.startswith("trial-013 failed: the loss is nan") for line in lines)
    assert any(line.startswith("… and ") and line.endswith("more parameters") for line in lines) == (width < 200)


def test_few_parameters_all_have_a_column(make_space, open_study):
    study = open_study(make_space())
    study.record(study.next(), {"epoch": 1, "loss/total": 1.0})
    lines = lines_of(Display(study, Console(width=80, height=24))._render())
    assert "temperature  temperature" in lines[2]
    assert not any("more parameters" in line for line in lines)


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


def test_a_trial_that_is_started_again_says_so(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    screen = io.StringIO()
    display = Display(study, Console(file=screen, width=200))
    for _ in range(2):
        display.started(trial)
    first, second = screen.getvalue().splitlines()
    assert first.startswith("trial-000 starts: teacher_temperature")
    assert second.startswith("trial-000 starts again, since its process ended: teacher_temperature")


def test_the_display_goes_through_trials_while_one_is_entered(make_space, open_study):
    """It renders in a thread of its own."""
    study = open_study(make_space())
    first = study.next()
    seen = iter(study.trials.items())
    study.next()
    assert list(seen) == [(0, first)]
    assert len(study.trials) == 2
