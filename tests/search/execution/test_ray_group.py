"""Trials of several workers."""

from cmd_tune.errors import DataError
from cmd_tune.search.execution.ray_group import group_failure


def test_the_worker_that_failed_is_named_not_those_that_lost_it():
    """Ranks as Ray Train has them; the words of gloo where the other end of a connection is gone."""
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:31041")
    unread = DataError("worker 1 on node-b: data.arrow: no such file")
    assert group_failure({0: lost, 1: unread}) is unread
    assert str(group_failure({0: lost, 2: ValueError("of rank 2\nmore")})) == "worker 2: of rank 2"
    assert str(group_failure({0: lost, 1: lost})).startswith("worker 0: [../gloo")
