"""The time that a search will take yet."""

import pytest

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
