"""The effects as bars: their sizes, intervals and verdicts."""

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.importance import importance_figure
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import made_up


def test_bars_have_the_sizes_of_the_effects(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 60, noise=1.0)
    found = importance_figure(findings)
    figure = new_figure(*found.size)
    found.draw(figure)
    (plot,) = figure.axes
    effects = findings.importance.effects
    bars = [bar.get_width() for bar in plot.patches if bar.get_height() < 0.7]
    assert bars == [effect.effect for effect in effects]
    assert [label.get_text() for label in plot.get_yticklabels()] == [e.name.replace("_", " ") for e in effects]
    assert plot.texts[0].get_text() == "matters"
    assert found.title.startswith("teacher_temperature")
    assert found.title.endswith(("matters", "matter"))
    assert plot.get_ylim()[0] > plot.get_ylim()[1]  # what matters most is on top


def test_where_no_effect_is_known_there_is_none(tmp_path, tiny, findings_of):
    assert importance_figure(made_up(tmp_path / "search", tiny, 12, SIXTEEN)) is None
    assert importance_figure(findings_of("search, empty")) is None
    assert importance_figure(findings_of("comparison, one trial")) is None
