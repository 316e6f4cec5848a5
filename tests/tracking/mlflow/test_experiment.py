"""An experiment and runs that somebody deletes in the UI, or for good: real databases, and a real server."""

import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker
from cmd_tune.tracking.mlflow.experiment import find_or_make
from cmd_tune.tracking.mlflow.uris import default_uri
from tests.tracking.mlflow.test_faults import wait

PARENT = RunSnapshot(key=None, name="it", params={"method": "tpe"}, documents={})
RESTORED = "MLflow: the run {} of it was deleted; it is restored"


def trial(key, last, **changes):
    epochs = [{"epoch": epoch, "loss/total": 1 / epoch} for epoch in range(1, last + 1)]
    return RunSnapshot(key=key, name=f"trial-{key}", params={"topk": 8}, documents={}, epochs=epochs, **changes)


class Recording:
    """A search in an experiment of its own, in sessions that follow one another."""

    def __init__(self, uri, storage, experiment):
        self.uri, self.storage, self.experiment, self.told = uri, storage, experiment, []
        self.client = MlflowClient(uri)

    def begin(self):
        self.told.clear()
        return open_tracker(self.uri, self.experiment, "it", self.storage, tell=self.told.append, identity="f00d")

    def session(self, *snapshots):
        tracker = self.begin()
        for snapshot in snapshots:
            tracker.show(snapshot)
            wait(lambda: not tracker._backlog)
        assert tracker.close() == ""

    @property
    def experiment_id(self):
        return self.client.get_experiment_by_name(self.experiment).experiment_id

    def runs(self):
        """Active runs by name; each name once."""
        if self.client.get_experiment_by_name(self.experiment) is None:
            return {}
        found = self.client.search_runs([self.experiment_id], "tags.`cmd_tune.id` = 'f00d'")
        assert len({run.info.run_name for run in found}) == len(found)
        return {run.info.run_name: run for run in found}

    def steps(self, name):
        return [p.step for p in self.client.get_metric_history(self.runs()[name].info.run_id, "loss/total")]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return default_uri(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(params=["database", "server"])
def recording(request, tmp_path, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    return Recording(request.getfixturevalue(request.param), tmp_path, request.node.name)


@pytest.fixture
def gone(database, tmp_path, request, monkeypatch):
    """Of a database; deletes for good, as `mlflow gc` does."""
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    recording = Recording(database, tmp_path, request.node.name)
    recording.store = SqlAlchemyStore(database, str(tmp_path))
    return recording


@pytest.mark.long
def test_a_deleted_experiment_is_restored_with_its_runs(recording):
    recording.session(PARENT, trial(0, 2))
    recording.client.delete_experiment(recording.experiment_id)
    recording.session(PARENT, trial(0, 3), trial(1, 1))
    where = recording.experiment
    assert recording.told == [f"MLflow: the experiment {where} was deleted; it is restored, with its runs"]
    assert (recording.steps("trial-0"), recording.steps("trial-1")) == ([1, 2, 3], [1])
    recording.session(PARENT)
    assert recording.told == []


@pytest.mark.long
def test_an_experiment_that_is_deleted_in_the_middle_is_restored(recording, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.background._PULSE_S", 0.1)
    tracker = recording.begin()
    tracker.show(PARENT)
    tracker.show(trial(0, 1))
    wait(lambda: not tracker._backlog and recording.client.get_experiment_by_name(recording.experiment))
    recording.client.delete_experiment(recording.experiment_id)
    wait(lambda: recording.told)  # though nothing is written
    recording.client.delete_experiment(recording.experiment_id)
    for last in (2, 3):
        tracker.show(trial(0, last))
    assert tracker.close() == ""
    assert any("the experiment" in line for line in recording.told[1:])
    assert recording.steps("trial-0") == [1, 2, 3]


def test_one_that_is_gone_for_good_is_made_anew_with_all_its_runs(gone):
    tracker = gone.begin()
    for snapshot in (PARENT, trial(0, 2, status=RunStatus.FINISHED), trial(1, 1)):
        tracker.show(snapshot)
    wait(lambda: len(gone.runs()) == 3 and gone.steps("trial-1"))
    before = gone.experiment_id
    gone.client.delete_experiment(before)
    gone.store._hard_delete_experiment(before)
    tracker.show(trial(1, 2))  # the others are not shown again
    assert tracker.close() == ""
    assert gone.told == [f"MLflow: the experiment {gone.experiment} was gone; it is made anew, with this run"]
    assert set(gone.runs()) == {"it", "trial-0", "trial-1"}
    assert (gone.steps("trial-0"), gone.steps("trial-1")) == ([1, 2], [1, 2])
    parent = gone.runs()["it"].info.run_id
    assert gone.runs()["trial-0"].data.tags["mlflow.parentRunId"] == parent
    assert gone.runs()["trial-0"].info.status == "FINISHED"


@pytest.mark.long
def test_deleted_runs_are_restored_one_by_one_and_block_no_other(recording):
    recording.session(PARENT, trial(0, 1), trial(1, 1), trial(2, 1))
    before = {name: run.info.run_id for name, run in recording.runs().items()}
    for name in ("it", "trial-1"):
        recording.client.delete_run(before[name])
    recording.session(PARENT, trial(0, 2), trial(1, 2), trial(2, 2))
    assert recording.told == [RESTORED.format("it"), RESTORED.format("trial-1")]
    assert {name: run.info.run_id for name, run in recording.runs().items()} == before
    assert [recording.steps(f"trial-{key}") for key in range(3)] == [[1, 2]] * 3


@pytest.mark.long
def test_a_run_that_is_deleted_in_the_middle_is_restored_also_if_nothing_more_comes_of_it(recording):
    tracker = recording.begin()
    for snapshot in (PARENT, trial(0, 1), trial(1, 1)):
        tracker.show(snapshot)
    wait(lambda: len(recording.runs()) == 3)
    runs = recording.runs()
    for name in ("trial-0", "trial-1"):
        recording.client.delete_run(runs[name].info.run_id)
    tracker.show(trial(1, 2))
    assert tracker.close() == ""
    assert sorted(recording.told) == [RESTORED.format("trial-0"), RESTORED.format("trial-1")]
    assert (recording.steps("trial-0"), recording.steps("trial-1")) == ([1], [1, 2])


@pytest.mark.parametrize("name", ["it", "trial-0"])
def test_a_run_that_is_gone_for_good_is_made_anew_with_all_its_epochs(gone, name):
    gone.session(PARENT, trial(0, 2), trial(1, 1))
    run_id = gone.runs()[name].info.run_id
    gone.client.delete_run(run_id)
    gone.store._hard_delete_run(run_id)
    gone.session(PARENT, trial(0, 3), trial(1, 1))
    runs = gone.runs()
    assert runs[name].info.run_id != run_id
    assert set(runs) == {"it", "trial-0", "trial-1"}
    assert gone.steps("trial-0") == [1, 2, 3]
    parents = {runs[f"trial-{key}"].data.tags["mlflow.parentRunId"] for key in range(2)}
    assert parents == {runs["it"].info.run_id}


def test_a_trial_that_comes_before_its_parent_is_laid_into_it_in_the_end(gone):
    tracker = gone.begin()
    tracker.show(trial(0, 1))
    wait(lambda: not tracker._backlog and tracker._tried.is_set())
    tracker.show(PARENT)
    assert tracker.close() == ""
    runs = gone.runs()
    assert runs["trial-0"].data.tags["mlflow.parentRunId"] == runs["it"].info.run_id


class Racing:
    """A client of which somebody else is always a moment faster."""

    def __init__(self, client):
        self.client = client

    def __getattr__(self, name):
        def call(*arguments):
            if name in ("create_experiment", "restore_experiment"):
                getattr(self.client, name)(*arguments)
            return getattr(self.client, name)(*arguments)

        return call


def test_two_that_make_or_restore_one_at_once_have_the_same(database, tmp_path):
    client = MlflowClient(database)
    made, done = find_or_make(Racing(client), "racing", tmp_path)
    assert (made.lifecycle_stage, done) == ("active", "made")
    client.delete_experiment(made.experiment_id)
    again, done = find_or_make(Racing(client), "racing", tmp_path)
    assert (again.experiment_id, again.lifecycle_stage, done) == (made.experiment_id, "active", "restored")
    assert find_or_make(client, "racing", tmp_path)[1] == ""
