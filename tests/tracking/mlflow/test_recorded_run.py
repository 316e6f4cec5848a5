"""The state of a run in MLflow, and the times of its metrics."""

from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

from cmd_tune.tracking.mlflow.recorded_run import epoch_metrics, recorded


def found(epochs, start=1_000_000):
    return [(m.key, m.value, m.timestamp, m.step) for m in epoch_metrics(epochs, start)]


def test_a_metrics_time_is_the_seconds_of_training_until_its_epoch():
    """In ms since the run began, also of epochs before it that recorded nothing; without seconds, that of the start."""
    epochs = [
        {"epoch": 1, "seconds": 1.5, "loss/total": 3.0},
        {"epoch": 2, "seconds": 0.25},
        {"epoch": 3.0, "seconds": 2.0004, "loss/total": 1.0, "val/knn/fused": 50.0},
        {"epoch": 4, "loss/total": 0.5},
    ]
    assert found(epochs) == [
        ("loss/total", 3.0, 1_001_500, 1),
        ("loss/total", 1.0, 1_003_750, 3),
        ("val/knn/fused", 50.0, 1_003_750, 3),
        ("loss/total", 0.5, 1_003_750, 4),
    ]


def test_a_time_is_the_same_whenever_it_is_written():
    """A database takes the same value at another time for another one; rounding does not add up over 900 epochs."""
    epochs = [{"epoch": n, "seconds": 0.0004, "loss/total": 1.0} for n in range(1, 901)]
    whole = found(epochs)
    assert whole[:300] == found(epochs[:300])
    assert whole[-1][2] == 1_000_360


def test_accuracies_in_training_learning_rates_and_test_scores_stay_in_the_folder():
    names = ("accuracy/joint", "learning_rate", "seconds", "test/knn/joint", "loss/joint", "val/linear/fused")
    (epoch,) = [{"epoch": 1, **dict.fromkeys(names, 0.5)}]
    assert [key for key, *_ in found([epoch])] == ["loss/joint", "val/linear/fused"]


def test_a_run_that_is_found_may_have_more_than_its_tags_say():
    info = RunInfo("abc", "1", "me", "KILLED", 1000, 2000, "active")
    data = RunData([Metric("test/knn/fused", 70.0, 1, 0)], [Param("topk", "8")], [RunTag("cmd_tune.trial", "0")])
    run = recorded(Run(info, data))
    assert (run.run_id, run.start, run.end, run.status) == ("abc", 1000, 2000, "KILLED")
    assert (run.tags, run.params, run.scores) == ({"cmd_tune.trial": "0"}, {"topk"}, {"test/knn/fused": 70.0})
    assert (run.read, run.changed) == (True, False)
    run.scores["more"] = 1.0
    assert "more" not in data.metrics
