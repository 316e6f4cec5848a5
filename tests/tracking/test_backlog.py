"""What waits to be written: its order, the pauses of what fails, what is given up."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cmd_tune.tracking import RunKey, RunSnapshot
from cmd_tune.tracking.backlog import SETTLE_S, Backlog, Job


def snapshot(key: RunKey, *files: Path) -> RunSnapshot:
    return RunSnapshot(key=key, name=f"run-{key}", params={}, documents={}, files=list(files))


def drain(backlog: Backlog) -> list[Job]:
    """Do all that can be done without a wait, in its order."""
    done = []
    backlog.hurry()
    while job := backlog.next():
        backlog.take(job)
        backlog.done(job, "written")
        done.append(job)
    return done


def test_files_come_after_all_runs_the_smallest_first(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(bytes(2_500_000))
    small.write_bytes(bytes(10))
    backlog = Backlog()
    backlog.put(snapshot(3, large))
    backlog.put(snapshot(2, small))
    backlog.put(snapshot("raw"))
    backlog.put(snapshot(None))
    assert str(backlog) == "4 runs and 2 files of 2.5 MB"
    assert drain(backlog) == [Job(None), Job(2), Job(3), Job("raw"), Job(2, small), Job(3, large)]
    assert not backlog
    assert str(backlog) == ""


def test_what_fails_is_tried_after_pauses_that_grow_and_lets_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backlog = Backlog()
    for key in (0, 1):
        backlog.put(snapshot(key))
    backlog.hurry()
    pauses = []
    for _ in range(7):
        backlog.take(Job(0))
        backlog.failed(Job(0), "no", now, last=False)
        assert backlog.next() == Job(1)
        pauses.append(backlog.failures[0].again - now)
        now += pauses[-1]
        assert backlog.next() == Job(0)  # its turn again
    assert pauses == [2, 4, 8, 16, 30, 30, 30]
    backlog.take(Job(0))
    backlog.done(Job(0), "written")
    assert backlog.failures == []
    assert drain(backlog) == [Job(1)]
    assert backlog.pause() == math.inf


def test_a_trials_snapshot_lets_the_next_take_its_place_and_the_searchs_own_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backlog = Backlog()
    backlog.put(snapshot(0))
    assert backlog.next() is None
    now += 0.8 * SETTLE_S
    backlog.put(replace(snapshot(0), reason="the end"))
    backlog.put(snapshot(None))
    assert backlog.next() == Job(None)
    backlog.take(Job(None))
    backlog.done(Job(None), "written")
    assert backlog.pause() == pytest.approx(0.2 * SETTLE_S)  # not later for those that come meanwhile
    now += backlog.pause() + 1e-6
    assert backlog.next() == Job(0)
    assert backlog.take(Job(0))[0].reason == "the end"
    assert backlog.next() is None


def test_at_the_end_it_is_given_up_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backlog = Backlog()
    backlog.put(snapshot(0))
    backlog.hurry()
    tries = 0
    while backlog:
        assert backlog.next() == Job(0)
        backlog.take(Job(0))
        failure = backlog.failed(Job(0), "no", 1000.0, last=True)
        now += backlog.pause() if backlog else 0.0
        tries += 1
    assert (now, tries, failure.given_up, failure.what, failure.cause) == (1032.0, 17, True, "run-0", "no")
    assert backlog.next() is None


def test_a_run_that_has_to_be_written_again_is_so_with_its_latest_snapshot_and_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    backlog = Backlog()
    backlog.put(snapshot(0))
    backlog.put(snapshot(0, file))
    drain(backlog)
    backlog.put_again([0, 7])
    assert backlog.written == {}
    assert drain(backlog) == [Job(0), Job(0, file)]


def test_a_file_of_a_run_whose_state_is_unknown_waits_for_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    backlog = Backlog()
    backlog.put(snapshot(0, file))
    drain(backlog)
    backlog.put(snapshot(0, file))
    backlog.take(Job(0))
    backlog.done(Job(0), "written")
    assert backlog.take(Job(0, file))[1] == "written"
    backlog.failed(Job(0, file), "no", time.monotonic(), last=False)
    assert backlog.next() == Job(0)  # first
