"""The path from the start point to the best trial in words and as a table: which step carries the gain, how sure."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from cmd_tune.formatting import signed
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.report.sections.ablation import ablation
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.study.failure_tags import FailureTag
from tests.search.report.made_up import made_up

AUTO = Ablation()
FIVE = {
    "teacher_temperature": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.2},
    "student_temperature": {"distribution": "log_uniform_values", "min": 0.05, "max": 1.0},
    "key_momentum": {"distribution": "uniform", "min": 0.9, "max": 0.99},
    "crop_min_share": {"distribution": "uniform", "min": 0.1, "max": 0.9},
    "shear_range": {"distribution": "uniform", "min": 0.1, "max": 0.9},
}


@pytest.fixture
def found(tiny, tmp_path):
    def make(parameters=FIVE, asked=AUTO, **options):
        options = {"noise": 0.3, "height": 20.0, "fresh": 5, **options}
        return made_up(tmp_path / "search", tiny, options.pop("trials", 80), parameters, asked=asked, **options)

    return make


def printed(section, width):
    file = io.StringIO()
    console = Console(file=file, width=width)
    for part in section.screen:
        console.print(part)
    return file.getvalue().splitlines()


def test_the_step_that_carries_the_gain_is_named_with_its_interval_and_what_is_told(found):
    findings = found()
    text, path = ablation(findings).markdown, findings.path
    top = max(path.steps[1:], key=lambda step: step.change.mean)
    low, high = top.change.interval
    size = f"{top.change.mean:+.1f} ({low:+.1f} to {high:+.1f})"
    assert f"The step of {top.changed[0]} carries the largest part of it, {size}." in text
    ends = f"val/knn/fused goes from {path.steps[0].mean:.1f} to {path.steps[-1].mean:.1f} over 5 fresh seeds"
    assert f"From the start point to {path.best.name}, {ends}" in text
    clear = [step.changed[0] for step in path.steps[1:] if step.change.is_clear and step.change.mean > 0]
    assert len(clear) == 2
    assert f"The seeds tell the gain of {clear[0]} and {clear[1]} from zero." in text


def test_the_table_has_a_row_a_step_with_values_before_and_after(found):
    findings = found()
    rows = [line.split(" | ") for line in ablation(findings).markdown.splitlines() if line.startswith("| ")][1:]
    path = findings.path
    assert rows[0][:2] == ["| 0", "start point"]
    assert len(rows) == len(path.steps) == 6
    for row, (before, step) in zip(rows[1:], pairwise(path.steps), strict=True):
        (name,) = step.changed
        assert row[1] == f"{name} {before.values[name]:.4g} → {step.values[name]:.4g}"
        assert row[2].startswith(f"{step.mean:.1f} (")
        assert row[3] == signed(step.change.mean, step.change.interval)


def test_it_fits_a_narrow_screen(found):
    assert max(map(len, printed(ablation(found()), 80))) <= 80


def test_one_seed_tells_nothing(found):
    text = ablation(found(asked=Ablation(seeds=1))).markdown
    assert "One seed tells no step from zero." in text
    assert "over 1 fresh seed." in text


def test_what_changes_together_is_said_with_the_reason(found):
    findings = found(trials=24)  # 12 runs, of 5 seeds each
    last = findings.path.steps[-1].changed
    assert [len(step.changed) for step in findings.path.steps] == [0, 1, 1, 3]
    said = (
        f"{last[0]}, {last[1]} and {last[2]} change together, since half the work of the trials pays for no more runs."
    )
    assert said in ablation(findings).markdown


def test_two_that_differ_in_one_parameter_need_no_path(found):
    findings = found({**FIVE, "layers": {"values": [1, 2]}})
    study = findings.study
    only = {**study.start.values, "layers": 3 - study.start.values["layers"]}
    findings.best.values.clear()
    findings.best.values.update(only)
    text = ablation(findings).markdown
    was = study.start.values["layers"]
    assert (
        f"{findings.best.name} and the start point differ in layers {was} → {3 - was} alone; the whole difference"
        in text
    )
    assert "is that parameter's, and nothing lies between them: +" in text


def test_runs_that_are_yet_to_come_are_counted(found):
    findings = found()
    run = findings.study.ranked()[0].ablations[0]
    run.history.clear()
    assert "1 run of it is yet to come." in ablation(findings).markdown


def test_where_nothing_is_told_one_sentence_says_so_and_without_an_ablation_there_is_no_section(found, findings_of):
    text = ablation(found(fresh=0)).markdown
    assert text.startswith("## Ablation\n\nThe best trial and the start point have not both run with fresh seeds")
    assert len(text.splitlines()) == 3
    assert ablation(findings_of("search, one trial")) is None
    assert ablation(findings_of("comparison, one trial")) is None


def test_where_a_configuration_has_no_score_no_step_is_said_to_carry_the_gain(found):
    findings = found()
    path = findings.path
    for run in findings.best.ablations:
        if run.number == 1:
            run.history.clear()
            run.reason, run.failure = "the loss is nan", FailureTag.DIVERGED
    path = StudyFindings(findings.study, {}, {}, findings.conditions, ablation=AUTO)
    assert [step.change is None for step in path.path.steps] == [True, True, True, False, False, False]
    text = ablation(path).markdown
    assert "Which step carries it is not known, since not all have all their scores." in text
    assert "carries the largest part" not in text
