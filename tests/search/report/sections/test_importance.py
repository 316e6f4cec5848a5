"""The table of the parameters: what the best trial has, the start point's, and the verdict."""

from cmd_tune.search.report.importance import MOST_TRIALS, Impact, Importance, ParameterEffect
from cmd_tune.search.report.sections.importance import importance
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import made_up


def rows(findings):
    lines = [line for line in importance(findings).markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_parameter_has_a_row_with_its_verdict(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 60, noise=1.0)
    head, first, second = rows(findings)
    assert head == ["parameter", findings.best.name, "start point", "best fitted", "effect", "p", "verdict"]
    assert first[:3] == ["teacher_temperature", f"{findings.best.values['teacher_temperature']:.4g}", "0.02456"]
    assert first[-2:] == ["< 0.001", "matters"]
    assert second[0] == "student_temperature"
    text = importance(findings).markdown
    assert "with a line and a parabola for each numeric parameter" in text
    assert f"that the regression leaves, {findings.importance.noise:.1f} points" in text


def test_fresh_seeds_are_the_noise(tmp_path, tiny):
    text = importance(made_up(tmp_path / "search", tiny, 40, noise=1.0, fresh=5)).markdown
    assert "one standard\ndeviation over seeds, " in text


def test_too_few_trials_say_how_many_there_should_be(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 12, SIXTEEN)
    assert {tuple(row[-4:]) for row in rows(findings)[1:]} == {
        ("–", "–", "–", "cannot tell; at least 21 trials are needed")
    }


def test_what_no_number_tells_is_said(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 12)
    effects = (
        ParameterEffect("teacher_temperature", Impact.CANNOT_TELL, 0.5, (0.0, 2.0), 0.4, 0.05, None),
        ParameterEffect("student_temperature", Impact.CANNOT_TELL),
    )
    findings.__dict__["importance"] = Importance(effects, 12, 0.5, "over seeds")
    verdicts = [row[-1] for row in rows(findings)[1:]]
    assert verdicts == [
        f"cannot tell; more than {MOST_TRIALS:,} trials would",
        "cannot tell; it did not vary by itself",
    ]


def test_a_table_has_none(findings_of):
    assert importance(findings_of("comparison, one trial")) is None
