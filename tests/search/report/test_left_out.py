"""Which reported accuracies stand beside ours."""

from dataclasses import replace

import pytest

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report.left_out import left_out
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.reported import Origin
from cmd_tune.search.spaces.space_file import find_space
from tests.search.report.tables import HERE, METRICS, ORIGIN, reported_on

STATED = {"by": "Them", "dataset": "ntu-60", "protocol": "xsub", "probes": {"knn": "1-NN", "linear": "SGD"}}


def test_what_another_probe_found_is_left_out_alone():
    ours = Conditions("ntu-60", "xsub", {})
    names = ["test/knn/joint", "test/linear/joint", "test/linear/fused"]
    why = "their probe is SGD, ours solved"
    assert left_out(Origin(**STATED), names, ours) == {"test/linear/joint": why, "test/linear/fused": why}
    assert left_out(Origin(**{**STATED, "probes": {"linear": "solved"}}), names, ours) == {
        "test/knn/joint": "their probe is not named, ours 1-NN"
    }


LEFT_OUT = [
    (None, HERE, "the space file does not say what they were measured on (reported_on: "),
    (reported_on(dataset="ntu-60"), HERE, "they are of ntu-60 xview, these of synthetic xview"),
    (reported_on(protocol="xsub"), HERE, "they are of synthetic xsub, these of synthetic xview"),
    (
        ORIGIN,
        replace(HERE, partial="(published: 9 and 9)"),
        "this synthetic xview is not the whole one (published: 9 and",
    ),
    (
        ORIGIN,
        replace(HERE, pretrained=733, training=1020),
        "they are pretrained on the whole training set, ours on 733 of 1,020 clips",
    ),
    (reported_on(probes={"knn": "5-NN", "linear": "5-NN"}), HERE, "their probe is 5-NN, ours"),
    (reported_on(probes={}), HERE, "their probe is not named, ours"),
]


@pytest.mark.parametrize(("origin", "where", "why"), LEFT_OUT)
def test_what_was_reported_of_something_else_is_left_out(table_space, origin, where, why):
    apart = left_out(table_space([0], reported_on=origin).comparison.origin, METRICS, where)
    assert list(apart) == list(METRICS)
    assert all(reason.startswith(why) for reason in apart.values())


def test_the_papers_tables_are_not_set_beside_other_data():
    """Nor their linear accuracies, which are of another probe, beside those of their own data."""
    tables = [read_space(find_space(f"table{n}")).comparison for n in (1, 2, 3)]
    ucla, ntu = Conditions("nw-ucla", "xview", {}), Conditions("ntu-60", "xsub", {})
    for table in tables:
        assert set(left_out(table.origin, table.metrics(), ucla)) == set(table.metrics())
        assert set(left_out(table.origin, table.metrics(), ntu)) == {"test/linear/joint"}
