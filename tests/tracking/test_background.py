"""A tracker's thread: which snapshot is written when, what is tried again, and what is said of an outage."""

import threading
import time

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking import BackgroundTracker, RunSnapshot, Tracker, open_tracker


class Ledger(Tracker[int]):
    """Writes down its calls. `writes`, `opens`: the exceptions of the next ones, in order; None is a success.

    While `gate` is cleared, a write waits.
    """

    title = "the ledger"

    def __init__(self, *writes, opens=(), closing=None, final=False):
        self.uri, self.writes, self.opens, self.closing, self.final = "here", list(writes), list(opens), closing, final
        self.written, self.given, self.uploaded, self.pings, self.closed = [], [], [], 0, False
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()

    def open(self):
        if self.opens:
            raise self.opens.pop(0)

    def write(self, snapshot, written):
        self.given.append((snapshot.key, written))
        self.reached.set()
        assert self.gate.wait(60)
        if error := self.writes.pop(0) if self.writes else None:
            raise error
        self.written.append((snapshot.key, len(snapshot.epochs)))
        return len(self.written)

    def upload(self, path, written):
        self.uploaded.append(path)
        return written

    def ping(self):
        self.pings += 1

    def close(self):
        self.closed = True
        if self.closing:
            raise self.closing

    def is_final(self, error):
        return self.final

    def links(self):
        return [self.uri]


def snapshot(key, last=0, **changes):
    epochs = [{"epoch": epoch} for epoch in range(1, last + 1)]
    return RunSnapshot(key=key, name="it", params={}, documents={}, **{"epochs": epochs, **changes})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.01)


def held(ledger):
    """A tracker whose thread is in its first write, that of trial 9, until the gate is opened."""
    ledger.gate.clear()
    tracker = BackgroundTracker(ledger)
    tracker.show(snapshot(9))
    assert ledger.reached.wait(60)
    return tracker


def wait(reached):
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_latest_of_each_run_is_written_the_parent_first():
    ledger = Ledger()
    tracker = held(ledger)
    for key, last in ((2, 1), (0, 1), (2, 2), (None, 0), (2, 3), (0, 4)):
        tracker.show(snapshot(key, last))
    ledger.gate.set()
    assert tracker.close() == ""
    assert ledger.written == [(9, 0), (None, 0), (0, 4), (2, 3)]
    assert ledger.closed


def test_what_a_write_returns_is_given_to_the_next_of_that_run_and_nothing_after_a_failure():
    ledger = Ledger(None, None, OSError("lost"))
    tracker = BackgroundTracker(ledger)
    for key, last in ((0, 1), (1, 1), (0, 2), (0, 3), (1, 2)):
        tracker.show(snapshot(key, last))
        wait(lambda: not tracker._backlog and not tracker.trouble)
    assert tracker.close() == ""
    # Writes 1 and 2 return 1 and 2; the next of trial 0 fails, and is made again without what was known.
    assert ledger.given == [(0, None), (1, None), (0, 1), (0, None), (0, 3), (1, 2)]
    assert ledger.written == [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]


def test_a_later_snapshot_takes_the_place_of_one_that_failed():
    ledger = Ledger(OSError("lost"))
    tracker = held(ledger)
    tracker.show(snapshot(9, 5))
    ledger.gate.set()
    assert tracker.close() == ""
    assert ledger.written == [(9, 5)]


def test_an_address_that_is_refused_at_first_is_raised_in_one_line():
    ledger = Ledger(opens=[ValueError("no such\nscheme")], final=True)
    tracker = BackgroundTracker(ledger)
    tracker.show(snapshot(None))
    with pytest.raises(CmdTuneError) as caught:
        tracker.check()
    assert str(caught.value) == "the ledger at here: no such scheme"
    assert tracker.close() == ""
    assert ledger.written == []


def test_the_same_failure_later_is_not_final():
    ledger = Ledger(ValueError("no such"), final=True)
    tracker = BackgroundTracker(ledger)
    tracker.check()
    tracker.show(snapshot(0, 1))
    assert tracker.close() == ""
    tracker.check()
    assert ledger.written == [(0, 1)]


def test_an_outage_at_the_start_is_told_at_once_and_so_is_its_end():
    told = []
    tracker = BackgroundTracker(
        Ledger(opens=[OSError(111, "Connection refused"), OSError("again")]), lambda *said: told.append(said)
    )
    tracker.show(snapshot(0, 1))
    tracker.check()
    assert tracker.close() == ""
    assert told == [("the ledger", "the ledger at here: Connection refused"), ("the ledger", "")]


@pytest.mark.parametrize(("grace", "times"), [(0.0, 2), (3600.0, 0)])
def test_an_outage_later_is_told_once_it_has_lasted(monkeypatch, grace, times):
    """Three failures in a row are one outage, which is told when the grace is over, and its end."""
    monkeypatch.setattr("cmd_tune.tracking.background._GRACE_S", grace)
    told = []
    ledger = Ledger(None, *[OSError("lost")] * 3)
    tracker = BackgroundTracker(ledger, lambda title, trouble: told.append(trouble))
    tracker.show(snapshot(0, 1))
    wait(lambda: ledger.written)
    tracker.show(snapshot(0, 2))
    assert tracker.close() == ""
    assert told == ["the ledger at here: it: lost", ""][:times]


def test_the_end_waits_for_what_is_tried_again_and_loses_patience(monkeypatch):
    ledger = Ledger(*[OSError("lost")] * 5)
    tracker = BackgroundTracker(ledger)
    tracker.show(snapshot(0, 1))
    assert tracker.close() == ""
    assert ledger.written == [(0, 1)]
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.0)
    ledger = Ledger(*[OSError("lost")] * 10_000)
    tracker = BackgroundTracker(ledger)
    tracker.show(snapshot(0, 1))
    assert tracker.close() == "the ledger at here: it: lost"
    assert ledger.written == []


def test_tidying_up_that_fails_is_the_last_word():
    ledger = Ledger(closing=OSError("cannot tidy"))
    tracker = BackgroundTracker(ledger)
    tracker.show(snapshot(0, 1))
    wait(lambda: ledger.written)
    assert tracker.close() == "the ledger at here: cannot tidy"


def test_a_server_is_asked_now_and_then_while_nothing_is_to_be_written(monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.background._PULSE_S", 0.01)
    ledger = Ledger()
    tracker = BackgroundTracker(ledger)
    wait(lambda: ledger.pings > 3)
    assert tracker.close() == ""
    assert ledger.written == []


def test_a_server_that_is_not_there_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 1.0)
    tracker = open_tracker("http://127.0.0.1:9", "synthetic-xview", "a-search", tmp_path)
    started = time.monotonic()
    tracker.show(snapshot(None))
    for epoch in range(1, 200):
        tracker.show(snapshot(0, epochs=[{"epoch": n} for n in range(1, epoch)]))
    shown = time.monotonic() - started
    assert "127.0.0.1" in tracker.close()  # what is wrong names the server
    assert shown < (time.monotonic() - started) / 2
