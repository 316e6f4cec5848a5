"""What a run has cost so far: by hand, and of a run that was interrupted."""

import pytest
import torch

from cmd_tune.data.splits import split_store
from cmd_tune.train.costs import costs
from cmd_tune.train.loop import pretrain


def test_seconds_add_up_and_parameters_stay():
    epochs = [{"epoch": 1, "seconds": 1.25}, {"epoch": 2}, {"epoch": 3, "seconds": 0.5, "cost/seconds": 9.0}]
    assert costs(epochs, 1234) == {"cost/seconds": 1.75, "cost/parameters": 1234}


def test_each_epoch_has_what_the_run_cost_so_far_also_after_a_resume(tiny_store, tiny, tmp_path):
    """Of 60 channels, each of three modalities has their norm, two layers of two GRUs of 8, and a head from 16 to 8."""
    parameters = 3 * (2 * 60 + 2 * 24 * (60 + 8 + 2) + 2 * 24 * (16 + 8 + 2) + 16 * (16 + 1) + 8 * (16 + 1))
    assert parameters == 15408

    class Killed(BaseException): ...

    records = []

    def until(last):
        def report(record):
            records.append(dict(record))
            if record["epoch"] == last:
                raise Killed

        return report

    def run(report):
        _, split = split_store(tiny_store, "xview", "none")
        pretrain(
            tiny(epochs=4), tiny_store, split.pretrain_N, folder=tmp_path, evaluate=lambda _: {}, report=report,
            device=torch.device("cpu"), recall=lambda history: None,
        )  # fmt: skip

    with pytest.raises(Killed):
        run(until(2))
    run(until(None))
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    spent = 0.0
    for record in records:
        spent += record["seconds"]
        assert record["cost/seconds"] == pytest.approx(spent, abs=0.001)
        assert record["cost/parameters"] == parameters
