"""What MLflow gets of any run beside its scores."""

from cmd_tune.runs.run_records import cost, main_scores, rounded_metrics


def test_what_a_run_cost():
    history = [{"epoch": 1, "seconds": 1800.0}, {"epoch": 2}, {"epoch": 3, "seconds": 900.0}]
    expected = {"cost/epochs": 3.0, "cost/seconds": 2700.0, "cost/cpu_hours": 0.75 * 2 * 4, "cost/gpu_hours": 0.75}
    assert cost(history, workers=2, cpus=4, gpus=0.5) == expected
    assert cost(history, cpus=1, gpus=0) == {"cost/epochs": 3.0, "cost/seconds": 2700.0, "cost/cpu_hours": 0.75}
    assert cost([], cpus=1, gpus=0) == {"cost/epochs": 0.0, "cost/seconds": 0.0, "cost/cpu_hours": 0.0}


def test_the_scores_that_stand_for_all():
    names = ["val/knn/joint", "val/knn/bone", "val/linear/fused", "test/knn/fused", "loss/joint", "best/val/knn/fused"]
    assert main_scores(names) == ["val/knn/joint", "val/linear/fused", "test/knn/fused"]


def test_metrics_are_shown_to_four_digits_and_what_counts_or_times_epochs_is_left_as_it_is():
    record = {"epoch": 12345.0, "seconds": 1.23456, "val/knn/fused": 77.35191637630662, "cost/seconds": 12345.6}
    assert rounded_metrics(record) == {**record, "val/knn/fused": 77.35, "cost/seconds": 12346.0}
