"""Learning curves: one a trial, by its state, the best apart."""

from cmd_tune.figures import new_figure
from cmd_tune.search.report.figures.learning_curves import learning_curves
from cmd_tune.search.study.trial_record import TrialState
from tests.search.report.made_up import EPOCHS, METRIC, made_up


def test_every_trial_has_its_curve(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 30)
    found = learning_curves(findings)
    numbers = {state: len(curves) for state, curves in found.curves.items()}
    assert numbers == {TrialState.STOPPED: 9, TrialState.FINISHED: 17, TrialState.FAILED: 2}  # without best and start
    name, curve = found.best
    assert name == findings.best.name
    assert [epoch for epoch, _ in curve] == list(range(1, EPOCHS + 1))
    assert curve[-1][1] == findings.best.last(METRIC)
    figure = new_figure(*found.size)
    found.draw(figure)
    title = f"{name}, the best of 30 trials, ends at {curve[-1][1]:.1f} %"
    assert figure.axes[0].get_title(loc="left") == title


def test_one_validation_makes_no_curve(tmp_path, tiny, findings_of):
    findings = made_up(tmp_path / "search", tiny, 12)
    for trial in findings.study.trials.values():
        trial.history = trial.history[-1:]
    assert learning_curves(findings) is None
    assert learning_curves(findings_of("search, empty")) is None
