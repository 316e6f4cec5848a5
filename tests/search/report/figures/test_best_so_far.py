"""The best so far: steps where it improves, by number; who won; baselines where they can be shown."""

import pytest

from cmd_tune.figures import new_figure
from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.figures.best_so_far import best_so_far
from tests.search.report.made_up import METRIC, made_up


def drawn(drawing):
    figure = new_figure(*drawing.size)
    drawing.draw(figure)
    return figure.axes[0]


def test_steps_are_the_trials_that_improved(ended):
    study = ended([1, 2, 50], [1, 2, 40], [1, 2, 60], [97], [1, 2, 60], [99, 99], failed=[5])
    found = best_so_far(StudyFindings(study, {METRIC: 45.0}, {METRIC: 4.0}, Conditions("synthetic", "xview", {})))
    assert found.steps == [(0, 50), (2, 60)]
    assert [number for number, _ in found.finished] == [0, 1, 2, 4]
    assert (found.stopped, found.failed) == ([(3, 97)], [5])
    assert (found.start, found.best) == ((0, 50), (2, 60))
    assert found.title == "The best single run is trial-002, 60.0 %; it began at 50.0 %"
    plot = drawn(found)
    assert plot.get_xlabel() == "trial   (beyond the range shown: untrained 4.0)"
    assert plot.get_ylabel() == "val/knn/fused (percent right)"
    assert [line.get_ydata()[0] for line in plot.get_lines()][-1] == 45.0


def test_a_winner_by_fresh_seeds_has_the_star(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, noise=3.0, fresh=3, seed=5)
    found = best_so_far(findings)
    assert (found.best[0], found.steps[-1][0]) == (26, 14)
    assert found.title.endswith("; over fresh seeds trial-026 is best")


@pytest.mark.parametrize("name", ["search, empty", "search, all failed", "comparison, one trial"])
def test_without_a_best_there_is_none(findings_of, name):
    assert best_so_far(findings_of(name)) is None
