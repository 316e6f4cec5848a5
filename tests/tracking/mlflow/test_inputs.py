"""The data of runs, as MLflow takes them: a real database."""

import getpass
import json

from mlflow import MlflowClient

from cmd_tune.tracking import DataInput, RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.uris import default_uri


def test_a_run_has_its_data_once_however_often_it_is_shown_and_says_who_made_it(tmp_path):
    data = DataInput("nw-ucla", "f00d" * 8, "/data/ucla.arrow", {"protocol": "xview"})
    other = DataInput("nw-ucla", "beef" * 16, "s3://data/ucla.arrow")
    for shown in (data, data, other):  # each by a session that knows nothing of the others
        tracker = open_tracker(default_uri(tmp_path), "nw-ucla-xview", "it", tmp_path)
        tracker.show(RunSnapshot(key=None, name="it", params={}, documents={}, data=shown))
        assert tracker.close() == ""
    client = MlflowClient(default_uri(tmp_path))
    (run,) = client.search_runs([client.get_experiment_by_name("nw-ucla-xview").experiment_id])
    found = {each.dataset.digest: each for each in run.inputs.dataset_inputs}
    assert set(found) == {"f00d" * 8, "beef" * 9}  # MLflow takes 36 characters
    first = found["f00d" * 8]
    assert (first.dataset.name, first.dataset.source_type) == ("nw-ucla", "local")
    assert json.loads(first.dataset.source) == {"uri": "/data/ucla.arrow"}
    assert json.loads(first.dataset.profile) == {"protocol": "xview"}
    assert {tag.key: tag.value for tag in first.tags} == {"mlflow.data.context": "training"}
    assert found["beef" * 9].dataset.source_type == "s3"
    assert run.data.tags["mlflow.user"] == getpass.getuser()
