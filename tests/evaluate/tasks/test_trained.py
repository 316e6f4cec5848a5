"""Trained classifiers: that nothing is trained twice, and the best epoch of public code."""

from dataclasses import replace

from cmd_tune.evaluate.tasks import TASKS, trained


def ignore(done: int, total: int) -> None: ...


def test_what_was_trained_is_kept_and_not_trained_again(subject, monkeypatch):
    first = TASKS["sgd"].measure(subject, ignore)
    assert [path.name for path in subject.folder.iterdir()] == ["linear_paper.json"]
    monkeypatch.setattr(trained, "train_classifier", None)
    assert TASKS["sgd"].measure(subject, ignore) == first


def test_the_best_epoch_is_no_worse_than_the_last(subject):
    last, best = TASKS["sgd"].measure(replace(subject, best_of_test=True), ignore)
    assert best.key == "linear_paper_official_best_of_test"
    assert list(best.estimates) == list(last.estimates)
    assert all(best.estimates[name].value >= estimate.value - 1e-4 for name, estimate in last.estimates.items())
