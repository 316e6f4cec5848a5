"""Scrambled Sobol' points."""

from math import log

from scipy.stats import qmc


def test_trials_after_the_first_are_one_sobol_sequence(make_space, open_study):
    """In each of its first four coordinates' quarters lies one of the first four points; the start point is none."""
    study = open_study(make_space(method="qmc"), trials=9)
    values = []
    while trial := study.next():
        values.append(trial.values)
    ranges = {"student_temperature": (0.05, 1.0), "teacher_temperature": (0.01, 0.2)}
    places = [
        [log(value[name] / low) / log(high / low) for name, (low, high) in ranges.items()] for value in values[1:]
    ]
    for coordinate in zip(*places, strict=True):
        assert sorted(int(8 * place) for place in coordinate) == list(range(8))
    independent = 0.01  # the discrepancy of eight independent points is about 0.03
    assert qmc.discrepancy(places) < independent
