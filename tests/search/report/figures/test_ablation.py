"""The path as points: their places, their intervals, the steps as labels, the differences beside them."""

import pytest

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.ablation import ablation_figure
from cmd_tune.search.spaces.ablation import Ablation
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import made_up


def drawn(found):
    figure = new_figure(*found.size)
    found.draw(figure)
    (plot,) = figure.axes
    return plot


def test_each_step_has_a_point_with_its_interval_and_a_label(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, noise=0.5, fresh=5, asked=Ablation(seeds=5))
    path, plot = findings.path, drawn(ablation_figure(findings))
    points = [tuple(offset) for dots in plot.collections for offset in dots.get_offsets()]
    assert points == [(pytest.approx(step.mean), row) for row, step in enumerate(path.steps)]
    bars = list(plot.lines[1:])
    assert [tuple(bar.get_xdata()) for bar in bars] == [step.interval for step in path.steps]
    assert [list(bar.get_ydata()) for bar in bars] == [[row] * 2 for row in range(len(path.steps))]
    labels = [label.get_text() for label in plot.get_yticklabels()]
    assert labels[0] == f"start point ({path.start.name})"
    assert labels[1].startswith(path.steps[1].changed[0].replace("_", " "))
    assert " → " in labels[1]
    said = [text for text in plot.texts if text.get_text().startswith(("+", "-"))]
    assert [text.get_text().split()[0] for text in said] == [f"{step.change.mean:+.1f}" for step in path.steps[1:]]
    assert [text.get_weight() for text in said] == [
        "bold" if step.change.is_clear else "normal" for step in path.steps[1:]
    ]
    assert plot.get_ylim()[0] > plot.get_ylim()[1]  # the start point is on top


def test_of_many_parameters_in_one_step_the_first_are_named(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, SIXTEEN, noise=0.5, height=20, fresh=5, asked=Ablation())
    last = findings.path.steps[-1].changed
    assert len(last) > 3
    assert ablation_figure(findings).labels[-1].splitlines()[3] == f"and {len(last) - 3} more"


def test_without_a_path_or_before_it_has_run_there_is_none(tmp_path, tiny, findings_of):
    assert ablation_figure(made_up(tmp_path / "plain", tiny, 40, fresh=5)) is None
    findings = made_up(tmp_path / "search", tiny, 40, asked=Ablation(seeds=2))
    for run in findings.study.ranked()[0].ablations:
        run.history.clear()
    assert ablation_figure(findings) is None
    assert ablation_figure(findings_of("comparison, one trial")) is None
