"""Parallel coordinates: an axis a parameter, what matters most first, all finished trials as lines."""

import pytest

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.parallel_coordinates import parallel_coordinates
from cmd_tune.search.report.positions import place
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import made_up


def test_twelve_of_sixteen_parameters_are_axes(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 60, SIXTEEN)
    found = parallel_coordinates(findings)
    assert [axis.name for axis in found.axes] == [effect.name for effect in findings.importance.effects[:12]]
    assert found.hidden == 4
    assert found.place_TA.shape == (len(findings.study.ranked()), 12)
    name, row = found.best
    assert name == findings.best.name
    for axis, ours in zip(found.axes, found.place_TA[row], strict=True):
        # Lines through one choice are spread a little, so that one sees how many there are.
        assert ours == pytest.approx(place(axis, findings.best.values[axis.name]), abs=0.031 if axis.choices else 1e-9)
    figure = new_figure(*found.size)
    found.draw(figure)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == [axis.name.replace("_", "\n") for axis in found.axes]


@pytest.mark.parametrize("name", ["search, empty", "search, one trial", "comparison, one trial"])
def test_where_there_is_nothing_to_compare_there_is_none(findings_of, name):
    assert parallel_coordinates(findings_of(name)) is None
