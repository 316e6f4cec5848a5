"""The trials that are scored on the test set."""

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Ending
from cmd_tune.search.controller import SearchController
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.finalists import score_finalists
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.refits import all_tested
from tests.search.local_engine import LocalEngine


class Listener(SearchListener):
    def __init__(self):
        self.told = []

    def continued(self):
        self.told.append("continued")

    def noted(self, text):
        self.told.append(text)

    def tested(self, trial):
        self.told.append(trial.name)


@pytest.fixture
def searched(make_space, open_study, tiny_store):
    """Runs so many trials. Returns the study, the listener, and what scores the finalists and returns the troubles."""

    def run(trials):
        study, source, listener = open_study(make_space(), trials), DataSource(tiny_store.path, "xview"), Listener()
        engine = LocalEngine(study.folder, ResourceRequest())
        engine.open(trials=trials, given=trials)
        layout = engine.plan(source)
        engine.run(layout, SearchController(study, source, layout))

        def score():
            ending = Ending(study.folder)
            score_finalists(study, source, engine, [listener], ending.attempt)
            return ending.troubles

        return study, listener, score

    return run


def test_each_finalist_is_scored_once_and_one_that_cannot_be_stops_no_other(searched):
    study, listener, score = searched(trials=2)
    checkpoint = study.trials[0].folder / "checkpoint.pt"
    content = checkpoint.read_bytes()
    checkpoint.unlink()

    assert not all_tested(study, None)
    assert score() == [f"test of trial-000: {checkpoint}: no such checkpoint"]
    assert listener.told == ["continued", "trial-001"]
    assert study.trials[1].test_scores.keys() >= {"test/knn/fused", "test/linear/joint"}
    checkpoint.write_bytes(content)
    assert score() == []
    assert listener.told == ["continued", "trial-001", "continued", "trial-000"]
    assert all_tested(study, None)
    assert score() == []
    assert len(listener.told) == 4


def test_a_damaged_checkpoint_of_a_finalist_is_said(searched):
    """In one line if there is no other, else with the one that is scored in its place."""
    study, listener, score = searched(trials=1)
    checkpoint = study.trials[0].folder / "checkpoint.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    why = f"{checkpoint}: not a whole checkpoint (its content is not what was written)"

    assert score() == [f"test of trial-000: {why}; restore it, or remove it and train from the first epoch"]
    checkpoint.with_name("checkpoint-before.pt").write_bytes(content)
    assert score() == []
    epochs = len(study.trials[0].history)
    noted = f"{why}; checkpoint-before.pt, of epoch {epochs}, is used in its place"
    assert listener.told[-2:] == [noted, "trial-000"]
