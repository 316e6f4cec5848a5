"""The figure of the Pareto front: a panel for each further metric, with the front of its two as a line."""

import numpy as np
import pytest

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.pareto_front import pareto_front
from tests.search.report.made_up import made_up

KNN, SECONDS, PARAMETERS = "val/knn/fused", "cost/seconds", "cost/parameters"


def test_two_metrics_are_a_panel_whose_line_rises_to_the_best(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, metrics=(KNN, SECONDS), stops=False)
    drawing = pareto_front(findings)
    (panel,) = drawing.panels
    x_F, y_F = panel.place_2T[:, panel.front_F]
    assert len(x_F) == len(findings.front) == drawing.on_front.sum() > 2
    assert (np.diff(x_F) > 0).all()
    assert (np.diff(y_F) > 0).all()
    assert y_F[-1] == findings.best.score(KNN)
    figure = new_figure(*drawing.size)
    drawing.draw(figure)
    (plot,) = figure.axes
    assert plot.get_xlabel() == "cost/seconds, less is better"
    assert plot.lines[0].get_drawstyle() == "steps-post"
    assert {text.get_text() for text in plot.texts} == {trial.name for trial in findings.front}


def test_three_metrics_are_two_panels_and_names_stop_at_eight(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 60, metrics=(KNN, SECONDS, PARAMETERS), stops=False)
    drawing = pareto_front(findings)
    assert [panel.across.name for panel in drawing.panels] == [SECONDS, PARAMETERS]
    assert drawing.on_front.sum() == len(findings.front) > max(len(panel.front_F) for panel in drawing.panels)
    figure = new_figure(*drawing.size)
    drawing.draw(figure)
    assert all(len(plot.texts) <= 8 for plot in figure.axes)


@pytest.mark.parametrize("metrics", [(), (KNN, SECONDS)])
def test_one_metric_or_one_trial_has_no_figure(tmp_path, tiny, metrics):
    assert pareto_front(made_up(tmp_path / "search", tiny, 1 if metrics else 12, metrics=metrics)) is None
