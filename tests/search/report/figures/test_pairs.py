"""Pairs of parameters: those that matter most, on their own scales; the ground is a mean by hand."""

import numpy as np
import pytest

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.pairs import pairs, smoothed
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import CONDITIONAL, made_up


def test_the_pairs_are_of_the_three_that_matter_most(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 120, SIXTEEN, noise=1.0)
    first, second, third = (effect.name for effect in findings.importance.effects[:3])
    assert {first, second} == {"teacher_temperature", "student_temperature"}
    found = pairs(findings)
    names = [(panel.across.name, panel.up.name) for panel in found.panels]
    assert names == [(first, second), (first, third), (second, third)]
    assert len(found.score_T) == len(findings.study.ranked())
    value = findings.best.values[first]
    assert found.panels[0].place_2T[0, found.best] == pytest.approx(np.log10(value) / 4 + 1)  # from 1e-4 to 1
    figure = new_figure(*found.size)
    found.draw(figure)
    assert figure.axes[0].get_xlabel() == first.replace("_", " ")


def test_choices_have_no_ground(tmp_path, tiny):
    parameters = {"objective": {"values": ["base", "cmd"]}, "shear_range": {"min": 0.0, "max": 1.0}}
    (panel,) = pairs(made_up(tmp_path / "search", tiny, 30, parameters)).panels
    assert panel.smoothed_YX is None


def test_the_ground_is_a_mean_of_the_trials_around():
    place_2T = np.array([[0.0, 1.0], [0.0, 1.0]])
    ground_YX = smoothed(place_2T, np.array([10.0, 30.0]))
    assert ground_YX[4, 4] == pytest.approx(10, abs=0.01)
    assert ground_YX[-5, -5] == pytest.approx(30, abs=0.01)
    assert np.isnan(ground_YX[0, -1])  # far from both
    everywhere = smoothed(np.random.default_rng(0).random((2, 50)), np.full(50, 7.0))
    assert np.nanmin(everywhere) == pytest.approx(np.nanmax(everywhere)) == pytest.approx(7)


def test_what_does_not_count_has_no_place_and_no_part_in_the_ground(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 60, CONDITIONAL)
    found = pairs(findings)
    panel = next(panel for panel in found.panels if "topk" in (panel.across.name, panel.up.name))
    there_T = np.array(["topk" in trial.values for trial in findings.study.ranked()])
    assert 0 < there_T.sum() < len(there_T)
    assert (~np.isnan(panel.place_2T).any(0) == there_T).all()
    np.testing.assert_array_equal(panel.smoothed_YX, smoothed(panel.place_2T[:, there_T], found.score_T[there_T]))
    found.draw(new_figure(*found.size))


@pytest.mark.parametrize("name", ["search, empty", "search, one trial", "comparison, one trial"])
def test_where_there_is_no_pair_there_is_none(findings_of, name):
    assert pairs(findings_of(name)) is None
