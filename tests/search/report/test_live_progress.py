"""The line on how a running search goes."""

import pytest

from cmd_tune.search.report.live_progress import best_so_far, progress_line, sparkline

METRIC = "val/knn/fused"


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([0.0, 7.0], "▁█"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▁▂▃▄▅▆▇█"),
        ([7.0, 3.5, 0.0], "█▅▁"),
    ],
)
def test_values_are_blocks_from_the_lowest_to_the_highest(values, drawn):
    assert sparkline(values) == drawn


def test_many_values_are_picked_at_even_distances_with_both_ends():
    drawn = sparkline(list(range(1000)))
    assert len(drawn) == 16
    assert (drawn[0], drawn[-1]) == ("▁", "█")
    assert list(drawn) == sorted(drawn)


def test_the_best_so_far_never_falls_back():
    assert best_so_far([3.0, 1.0, 5.0, 4.0], maximize=True) == [3.0, 3.0, 5.0, 5.0]
    assert best_so_far([3.0, 1.0, 5.0], maximize=False) == [3.0, 1.0, 1.0]


def play(study, scores, epochs=2):
    for score in scores:
        trial = study.next()
        for epoch in range(1, epochs + 1):
            study.record(trial, {"epoch": epoch, "loss/total": 1.0, METRIC: score})
        study.end(trial)


def test_curve_places_and_rungs_stand_in_one_line(make_space, open_study):
    study = open_study(
        make_space(early_terminate={"type": "asha", "grace_period": 1}, budget={"trials": 9}), 9, epochs=2
    )
    assert progress_line(study, 2) == "0 of 2 places busy"
    play(study, (40.0, 60.0))
    trial = study.next()
    study.record(trial, {"epoch": 1, "loss/total": 1.0, METRIC: 10.0})
    assert progress_line(study, 2) == (
        "best so far ▁█ 40.00 to 60.00; 1 of 2 places busy; trials that came to epoch 1: 3, 2: 2"
    )


def test_without_early_stopping_there_are_no_rungs(make_space, open_study):
    study = open_study(make_space(early_terminate="none"), epochs=2)
    play(study, (60.0, 40.0))
    assert progress_line(study, 1) == "best so far ▁▁ 60.00 to 60.00; 0 of 1 places busy"
