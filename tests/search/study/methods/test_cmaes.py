"""What CMA-ES can search, and that it learns."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.study.methods import METHODS

CHOICES = {"layers": {"values": [1, 2, 3]}}
RANGES = {name: {"min": 0.5, "max": 0.999} for name in ("key_momentum", "sgd_momentum")}


def test_a_space_of_choices_alone_is_refused(make_space):
    with pytest.raises(UsageError, match=r"parameters: method cmaes learns of ranges alone, and there is none"):
        make_space(method="cmaes", parameters=CHOICES, points_to_evaluate=None)


def test_what_is_drawn_at_random_is_said(make_space):
    space = make_space(method="cmaes", parameters={**RANGES, **CHOICES}, points_to_evaluate=None)
    assert METHODS["cmaes"].remark(space.parameters).startswith("method cmaes draws layers at random")
    assert METHODS["cmaes"].remark({"key_momentum": space.parameters["key_momentum"]}) == ""


def test_one_range_is_searched(make_space, open_study):
    space = make_space(method="cmaes", parameters={"key_momentum": {"min": 0.5, "max": 0.9}}, points_to_evaluate=None)
    study = open_study(space, trials=9, epochs=1)
    values = set()
    while trial := study.next():
        study.record(trial, {"epoch": 1, "val/knn/fused": trial.values["key_momentum"]})
        study.end(trial)
        values.add(trial.values["key_momentum"])
    assert len(values) == 9


@pytest.mark.parametrize("method", ["cmaes", "gp"])
def test_later_trials_lie_nearer_to_the_best(make_space, open_study, method):
    """Of a paraboloid; of independent draws, the later ones do not."""

    def far(values):
        return (values["key_momentum"] - 0.6) ** 2 + (values["sgd_momentum"] - 0.9) ** 2

    study = open_study(make_space(method=method, parameters=RANGES, points_to_evaluate=None), trials=30, epochs=1)
    distances = []
    while trial := study.next():
        distances.append(far(trial.values))
        study.record(trial, {"epoch": 1, "val/knn/fused": -distances[-1]})
        study.end(trial)
    assert sum(distances[20:]) < 0.5 * sum(distances[:10])
