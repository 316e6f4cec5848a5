"""The answer in words: by numbers of the study, on the screen in a few lines."""

import pytest

from cmd_tune.search.report.sections.answer import answer, how_sure, what_it_cost, what_matters, what_next, which
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.study.trial_record import Repeat, TrialState
from tests.search.report.conftest import SIXTEEN
from tests.search.report.made_up import CONDITIONAL, EPOCHS, METRIC, made_up
from tests.search.report.printed import lines_of


@pytest.fixture
def study_of(tmp_path, tiny):
    return lambda trials=30, *rest, **changes: made_up(tmp_path / "search", tiny, trials, *rest, **changes)


def test_settings_stand_beside_the_start_points(study_of):
    findings = study_of()
    best = findings.best
    ours = {name: f"{value:.4g}" for name, value in best.values.items()}
    text = which(findings, 6)
    assert text.startswith(f"{best.name}, {best.last(METRIC):.1f} %: ")
    assert f"teacher_temperature {ours['teacher_temperature']} (start point 0.02456)" in text
    best.values["teacher_temperature"] = findings.study.start.values["teacher_temperature"]
    assert which(findings, 6).endswith("(start point 0.1228); the other 1 as at the start point.")


def test_a_setting_that_does_not_count_is_not_in_use(study_of):
    findings = study_of(30, CONDITIONAL)
    best, start = findings.best, findings.study.start
    assert start.values == {"shear_range": 0.3, "layers": 2, "topk": 10, "distill_weight": 0.398107}
    best.values = {"shear_range": 0.3, "layers": 1}
    text = which(findings, 6)
    assert "layers 1 (start point 2)" in text
    assert "topk not in use (start point 10)" in text
    assert text.endswith("; the other 1 as at the start point.")


def test_what_an_ablation_has_found_is_said_of_what_matters(study_of):
    findings = study_of(60, fresh=5, asked=Ablation(), noise=0.5, height=20.0)
    first, last = findings.path.steps[0].mean, findings.path.steps[-1].mean
    text = what_matters(findings)
    assert f"From the start point to {findings.best.name}, {METRIC} goes from {first:.1f} to {last:.1f} over 5" in text
    assert "carries the largest part of it" in text
    assert "From the start point" not in what_matters(study_of(60, fresh=5))


def test_many_settings_are_cut_and_the_file_has_the_rest(study_of):
    text = which(study_of(40, SIXTEEN), 3)
    assert text.count("(start point ") == 3
    assert "more (best.yaml has all)" in text


def test_a_start_point_that_wins_is_named_as_such(study_of):
    findings = study_of()
    findings.study.start.history[-1][METRIC] = 99.0
    assert which(findings, 6).startswith("trial-000, 99.0 %: the start point itself: teacher_temperature 0.02456, ")
    assert how_sure(findings).startswith("No trial was better than the start point.")


def test_single_runs_are_said_to_be_unsure(study_of):
    findings = study_of()
    text = how_sure(findings)
    gain = findings.best.last(METRIC) - findings.study.start.last(METRIC)
    assert f"{gain:.1f} points better than the start point's (trial-000, " in text
    assert "Each configuration ran once, which cannot tell settings from seeds" in text
    assert f"the best of {len(findings.study.ranked())} flatters itself." in text
    assert "Wilson's interval over 287 clips" in text
    findings.study.start.state = TrialState.STOPPED
    assert "The start point (trial-000) did not come to its last epoch." in how_sure(findings)


def test_trials_of_several_seeds_are_not_said_to_have_run_once(study_of):
    """The score is the mean, and its noise that of one run over √3."""
    findings = study_of(20)
    object.__setattr__(findings.study.space, "seeds", 3)
    for trial in findings.study.ranked():
        for seed, away in ((1, 2.0), (2, -2.0)):
            again = trial.repeat(Repeat.SEED, seed)
            again.history.append({"epoch": EPOCHS, METRIC: trial.last(METRIC) + away})
    assert "Each configuration ran with 3 seeds, and the best of 13 flatters itself." in how_sure(findings)
    assert "Its score is " in how_sure(findings)
    assert findings.importance.noise == pytest.approx(2.0)  # of x, x + 2, x - 2
    assert findings.noise == pytest.approx(2.0 / 3**0.5)
    assert findings.best_score == pytest.approx(findings.best.last(METRIC))


def test_fresh_seeds_have_an_interval_a_test_and_what_is_tied(study_of):
    findings = study_of(30, fresh=5)
    text, winner = how_sure(findings), findings.confirmation.winner
    assert f"{winner.trial.name} has the best mean over 5 fresh seeds: {winner.mean:.1f} (" in text
    assert "Test: two-sided paired t-test, corrected by Holm." in text
    assert "The noise between seeds is about " in text
    assert "ran once" not in text
    assert which(findings, 6).startswith(f"{winner.trial.name}, {winner.mean:.1f} %: ")


def test_what_matters_is_named_with_its_size(study_of):
    findings = study_of(60, noise=1.0)
    effect = findings.importance.effects[0]
    text = f"teacher_temperature ({effect.effect:.1f} points from its worst value to its best)"
    assert what_matters(findings).startswith(text)
    few = study_of(9)
    assert what_matters(few).startswith(
        "student_temperature, teacher_temperature cannot be told from chance by 7 finished"
    )


def test_the_cost_is_counted(study_of):
    text = what_it_cost(study_of(30, fresh=2))
    assert text.startswith("30 trials (19 finished, 9 stopped early, 2 failed), 8 runs with fresh seeds: 400 epochs, ")
    assert text.endswith(" for the trials, 2.67 CPU-hours.")


def test_what_to_do_next_comes_from_the_health_lines(study_of):
    findings = study_of(60, noise=2.0)
    assert what_next(findings).startswith("Keep the start point, or run both with more seeds: about ")
    assert what_next(findings, 1).count(".") == 1


def test_the_screen_has_the_first_lines_alone(study_of):
    lines = lines_of(*answer(study_of(40, SIXTEEN)).screen)
    assert len(lines) <= 8
    assert lines[0].startswith("trial-")


def test_names_of_any_kind_are_text(study_of):
    findings = study_of()
    findings.study.space.texts["name"] = "<b>a|b</b>"
    assert answer(findings).markdown.startswith(r"# \<b>a\|b\</b>")


def test_a_table_has_its_claims_instead(findings_of):
    assert answer(findings_of("comparison, one trial")) is None


def test_epochs_that_are_searched_are_a_range(study_of):
    findings = study_of()
    assert f"preset quick, {EPOCHS} epochs a trial; " in answer(findings).markdown
    findings.study.trials[1].values["epochs"] = 40
    assert f"preset quick, {EPOCHS} to 40 epochs a trial; " in answer(findings).markdown
