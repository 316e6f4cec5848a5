"""What reported accuracies were measured on, as a space file states it."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.parameter import Place
from cmd_tune.search.spaces.reported import Origin, read_origin

STATED = {"by": "Them", "dataset": "ntu-60", "protocol": "xsub", "probes": {"knn": "1-NN", "linear": "SGD"}}


def test_it_is_read_as_it_is_written():
    assert read_origin(Place("mine.yaml")["reported_on"], STATED) == Origin(**STATED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": None}, "mine.yaml: reported_on.by: should be a name; found nothing"),
        ({"protocols": "xsub"}, "mine.yaml: reported_on.protocols: unknown key, did you mean 'protocol'?"),
        ({"probes": {"kn": "1-NN"}}, "mine.yaml: reported_on.probes.kn: unknown key, did you mean 'knn'?"),
        ({"probes": {"knn": 1}}, "mine.yaml: reported_on.probes.knn: should be a name; found 1"),
    ],
)
def test_a_mistake_is_named_where_it_stands(changes, message):
    with pytest.raises(UsageError) as caught:
        read_origin(Place("mine.yaml")["reported_on"], {**STATED, **changes})
    assert str(caught.value) == message
