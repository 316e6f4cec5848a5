"""Which reported accuracies stand beside ours."""

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report.left_out import left_out
from cmd_tune.search.spaces.reported import Origin

STATED = {"by": "Them", "dataset": "ntu-60", "protocol": "xsub", "probes": {"knn": "1-NN", "linear": "SGD"}}


def test_what_another_probe_found_is_left_out_alone():
    ours = Conditions("ntu-60", "xsub", {})
    names = ["test/knn/joint", "test/linear/joint", "test/linear/fused"]
    why = "their probe is SGD, ours solved"
    assert left_out(Origin(**STATED), names, ours) == {"test/linear/joint": why, "test/linear/fused": why}
    assert left_out(Origin(**{**STATED, "probes": {"linear": "solved"}}), names, ours) == {
        "test/knn/joint": "their probe is not named, ours 1-NN"
    }
