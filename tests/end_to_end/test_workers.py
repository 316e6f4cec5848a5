"""Trials of several workers."""

import os
import re
import signal
import subprocess

import pytest

from tests.end_to_end.searches import GRID, epochs_done, finish, in_the_way, search, trials, wait_for

pytestmark = pytest.mark.long


def test_two_workers_give_what_one_gives_and_survive_the_death_of_one(unbroken, tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 1e-40]}}}
    process = search(tmp_path, tiny_store, space, "--workers", 2)
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    workers = subprocess.run(["pgrep", "-f", "ray::RayTrainWorker"], capture_output=True, text=True, check=True)  # noqa: S607
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    output = finish(process)
    assert "trial-000 finished" in output
    (ours, diverged), alone = trials(tmp_path), trials(unbroken[0])[0]
    assert (ours["state"], diverged["state"]) == ("finished", "failed")
    assert "in epoch 1; lower learning_rate" in diverged["reason"]
    for name in alone:
        if name.startswith(("loss/", "learning_rate")):
            assert float(ours[name]) == pytest.approx(float(alone[name]), rel=2e-3), name
        elif name.startswith(("val/knn", "test/knn")):  # of 12 and 24 queries: one may tip over
            assert abs(float(ours[name]) - float(alone[name])) <= 100 / 12 + 0.01, name


@pytest.mark.slow
def test_a_worker_that_cannot_go_on_ends_its_group_and_is_named(tiny_store, tmp_path):
    """The checkpoint cannot be written by the one worker that writes it; the other waits for it in a collective."""
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05]}}}
    process = search(tmp_path, tiny_store, space, "--workers", 2, epochs=400)
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    checkpoint = tmp_path / "runs" / "it" / "trials" / "000" / "checkpoint.pt"
    in_the_way(checkpoint)
    output = finish(process, 1)
    failure = rf"worker 0 on \S+: {re.escape(str(checkpoint))}: cannot be written: Is a directory"
    assert re.search(rf"^trial-000 failed: {failure}$", output, re.MULTILINE)
    assert re.search(rf"^error: .*{failure}", output, re.MULTILINE)
