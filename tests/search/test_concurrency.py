"""How many trials the controller lets run at once."""

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.controller import SearchController
from cmd_tune.search.execution import WAIT, ResourcePlan, TrialResources

POINTS = [{"teacher_temperature": 0.05, "student_temperature": value / 10} for value in range(1, 7)]


@pytest.mark.parametrize(("points", "count"), [(6, 6), (1, 2)])
def test_queued_points_take_every_place_and_what_is_learnt_fewer(make_space, open_study, tiny_store, points, count):
    """Counts what is handed out before any trial reports."""
    space = make_space(points_to_evaluate=POINTS[:points], budget={"trials": 12})
    layout = ResourcePlan(TrialResources(1, 1.0, 0.0, 1), concurrent=8, learning=2)
    controller = SearchController(open_study(space, trials=12), DataSource(tiny_store.path, "xview"), layout)
    assert [controller.next_task().index for _ in range(count)] == list(range(count))
    assert controller.next_task() == WAIT
