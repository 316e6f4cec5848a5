"""What reported accuracies were measured on, as a space file states it."""

import pytest
from pydantic import ValidationError

from cmd_tune.mistakes import refusal
from cmd_tune.search.spaces.reported import Origin, read_tested

STATED = {"by": "Them", "dataset": "ntu-60", "protocol": "xsub", "probes": {"knn": "1-NN", "linear": "SGD"}}


def test_it_is_read_as_it_is_written():
    assert Origin.model_validate(STATED).model_dump() == STATED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": None}, "mine.yaml: by: should be a name; found nothing"),
        ({"protocols": "xsub"}, "mine.yaml: protocols: unknown key, did you mean 'protocol'?"),
        ({"probes": {"kn": "1-NN"}}, "mine.yaml: probes.kn: unknown key, did you mean 'knn'?"),
        ({"probes": {"knn": 1}}, "mine.yaml: probes.knn: should be a name; found 1"),
    ],
)
def test_a_mistake_is_named_where_it_stands(changes, message):
    with pytest.raises(ValidationError) as caught:
        Origin.model_validate({**STATED, **changes})
    assert str(refusal("mine.yaml", caught.value)) == message


def test_accuracies_of_a_search_are_of_the_test_set(load, check_mistakes):
    assert read_tested({"test/knn/joint": 70.6, "test/linear/fused": 80}) == {
        "test/knn/joint": 70.6,
        "test/linear/fused": 80.0,
    }
    check_mistakes(
        load,
        {"reported": "{test/knn/joints: 70.6, test/linear/bone: 101, test/knn/bone: high}"},
        [
            "reported.test/knn/joints: unknown key, did you mean 'test/knn/joint'?",
            "reported.test/linear/bone: 101 is no accuracy in percent; write a number of 0 to 100",
            "reported.test/knn/bone: should be a finite number; found 'high'",
        ],
    )
    space = load(reported="{test/knn/joint: 70.6}", reported_on=str(STATED).replace("'", ""))
    assert (space.reported, space.reported_on.by) == ({"test/knn/joint": 70.6}, "Them")
