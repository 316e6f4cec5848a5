"""What MLflow gets of any run beside its scores."""

from cmd_tune.runs.run_records import cost, main_scores


def test_what_a_run_cost():
    history = [{"epoch": 1, "seconds": 1800.0}, {"epoch": 2}, {"epoch": 3, "seconds": 900.0}]
    expected = {"cost/epochs": 3.0, "cost/seconds": 2700.0, "cost/cpu_hours": 0.75 * 2 * 4, "cost/gpu_hours": 0.75}
    assert cost(history, workers=2, cpus=4, gpus=0.5) == expected
    assert cost(history, cpus=1, gpus=0) == {"cost/epochs": 3.0, "cost/seconds": 2700.0, "cost/cpu_hours": 0.75}
    assert cost([], cpus=1, gpus=0) == {"cost/epochs": 0.0, "cost/seconds": 0.0, "cost/cpu_hours": 0.0}


def test_the_scores_that_stand_for_all():
    names = ["val/knn/joint", "val/knn/bone", "val/linear/fused", "test/knn/fused", "loss/joint", "best/val/knn/fused"]
    assert main_scores(names) == ["val/knn/joint", "val/linear/fused", "test/knn/fused"]
