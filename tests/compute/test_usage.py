"""What a process takes of its machine."""

from mmap import mmap
from time import monotonic, process_time, sleep

from cmd_tune.compute.usage import Usage

CPU, MEMORY = "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"


def test_cpu_time_counts_from_the_last_call_on_and_waiting_counts_for_nothing():
    usage = Usage()
    until = process_time() + 0.2
    while process_time() < until:
        pass
    busy = usage.since_last()
    began, taken = monotonic(), process_time()
    sleep(0.3)
    idle = usage.since_last()
    most = 100 * (process_time() - taken + 0.01) / (monotonic() - began - 0.01)
    assert busy[CPU] > 0
    assert 0 <= idle[CPU] <= most + 1


def test_memory_is_that_of_the_process_in_megabytes():
    usage = Usage()
    before = usage.since_last()[MEMORY]
    with mmap(-1, 100_000_000) as kept:  # pages of its own: an allocator may have some left
        kept.write(b"1" * 100_000_000)
        after = usage.since_last()[MEMORY]
    assert after - before > 90
    assert usage.since_last()[MEMORY] < after - 90
