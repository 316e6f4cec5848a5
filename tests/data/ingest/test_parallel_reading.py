"""Reading clips on several processes: the order, where it goes on, and what is wrong with a clip."""

from dataclasses import replace

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.parallel_reading import processes_that_pay, read_all
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.readers.source import Source

LAYOUT = LAYOUTS["kinect-20"]


def clip(number, shape=(4, 20, 3, 1), **changes):
    joints_TVCP = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    return Clip(
        **{"name": f"clip-{number}", "joints_TVCP": joints_TVCP, "label": 0, "where": f"at {number}", **changes}
    )


def read_numbers(batch):
    """A clip a number; of 4, a line."""
    return ["at 4: unreadable" if number == 4 else clip(number) for number in batch]


SOURCE = Source(
    dataset="rig",
    layout=LAYOUT,
    bodies=1,
    normalization=None,
    files=(),
    what="numbers",
    units=7,
    parallel_from=2,
    batches=([0, 1, 2], [3, 4], [5, 6]),
    read=read_numbers,
)


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_come_in_order_and_normalised_from_where_it_stopped(tmp_path, processes):
    found = list(read_all(SOURCE, "2s-agcn", tmp_path, 1, processes))
    assert [units for units, _ in found] == [2, 2]
    three, bad, five, six = (one for _, clips in found for one in clips)
    assert bad == "at 4: unreadable"
    for number, one in ((3, three), (5, five), (6, six)):
        assert one.name == f"clip-{number}"
        assert np.array_equal(one.joints_TVCP, align_first_frame(clip(number).joints_TVCP, LAYOUT))


def test_what_is_normalised_already_stays_as_it_is(tmp_path):
    ((_, (first, *_)), *_) = read_all(replace(SOURCE, normalization="2s-agcn"), "2s-agcn", tmp_path, 0, 1)
    assert np.array_equal(first.joints_TVCP, clip(0).joints_TVCP)


FAR_AWAY = np.full((4, 20, 3, 1), 1e4, np.float32)


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (clip(0, name="a\nb", where="a\nb"), r"a\nb: a name with characters that cannot be printed"),
        (clip(0, label=10_000), "at 0: label 10000 is not in 0–9999"),
        (clip(0, label=-1), "at 0: label -1 is not in 0–9999"),
        (clip(0, (4, 20, 3, 2)), "at 0: joints of shape (4, 20, 3, 2), expected (frames, 20, 3, 1)"),
        (clip(0, (0, 20, 3, 1)), "at 0: no frames"),
        (clip(0, joints_TVCP=FAR_AWAY), "at 0: coordinates that are not finite, or beyond 10000 metres"),
        (clip(0, joints_TVCP=0 * FAR_AWAY), "at 0: no body in any of its 4 frames"),
    ],
)
def test_what_is_wrong_with_a_clip_is_one_line(tmp_path, bad, line):
    source = replace(SOURCE, batches=([0],), read=lambda batch: [bad])
    assert list(read_all(source, "none", tmp_path, 0, 1)) == [(1, [line])]


def test_processes_that_would_not_read_long_enough_are_not_started(monkeypatch):
    monkeypatch.setattr("cmd_tune.data.ingest.parallel_reading.usable_cpus", lambda: 4)
    for units, processes in ((1, 1), (2, 2), (5, 3), (100, 4)):
        assert processes_that_pay(replace(SOURCE, units=units)) == processes


def test_no_more_processes_read_than_there_are_cpus_to_use(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert processes_that_pay(replace(SOURCE, units=100)) == 1
