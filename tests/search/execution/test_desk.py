"""The desk: what clients and hosts are told, in which order, and what becomes of the work of lost hosts."""

import asyncio

import pytest

from cmd_tune.search.execution.desk import CLOSED, NOTHING, Desk

SOON, LATER = 0.05, 5.0
ABOUT = [{"pid": 7}]  # of a host


def run(scene):
    return asyncio.run(scene(Desk()))


def test_a_trial_from_its_task_to_its_last_report():
    async def scene(desk):
        await desk.submit("a", {"epochs": 2}, first=True)
        assert await desk.take(0, ABOUT, SOON) == ("a", {"epochs": 2})
        client = asyncio.create_task(desk.fetch("a", 0, LATER))
        assert await desk.put(0, "a", {"epoch": 1}, LATER) is False
        assert await client == {"report": {"epoch": 1}}
        assert await desk.fetch("a", 0, SOON) == {"report": {"epoch": 1}}  # as if the first answer had been lost
        await desk.end(0, "a", {"epoch": 2})
        return await desk.fetch("a", 1, SOON)

    assert run(scene) == {"end": {"epoch": 2}}


def test_a_host_is_ahead_of_what_is_decided_by_one_report():
    """Report 1 may be computed while report 0 is being judged; what comes after has to wait for that."""

    async def scene(desk):
        await desk.submit("a", {}, first=True)
        await desk.take(0, ABOUT, SOON)
        await desk.fetch("a", 0, SOON)
        assert await desk.put(0, "a", {"epoch": 1}, SOON) is False
        assert await desk.put(0, "a", {"epoch": 2}, SOON) == NOTHING  # nobody has asked for it
        assert await desk.decide(0, "a", SOON) == NOTHING
        deciding = asyncio.create_task(desk.decide(0, "a", LATER))
        await desk.leave("a")
        return await deciding

    assert run(scene) is True


def test_trials_come_before_calls_and_each_in_order():
    async def scene(desk):
        for key, first in (("call", False), ("a", True), ("b", True)):
            await desk.submit(key, key, first=first)
        taken = [(await desk.take(host, ABOUT, SOON))[0] for host in range(3)]
        return taken, await desk.take(3, ABOUT, SOON)

    assert run(scene) == (["a", "b", "call"], NOTHING)


def test_two_hosts_never_get_the_same_work():
    async def scene(desk):
        hosts = [asyncio.create_task(desk.take(host, ABOUT, 0.2)) for host in range(4)]
        await asyncio.sleep(0.01)
        for key in ("a", "b"):
            await desk.submit(key, key, first=True)
        return sorted(map(str, await asyncio.gather(*hosts)))

    assert run(scene) == ["('a', 'a')", "('b', 'b')", NOTHING, NOTHING]


def test_who_is_first_to_ask_finds_the_work_begun_and_who_asks_again_begins_anew():
    async def scene(desk):
        await desk.submit("a", 1, first=True)
        assert await desk.take(0, ABOUT, SOON) == ("a", 1)
        await desk.ensure("a", 1, first=True)
        await desk.end(0, "a", {"epoch": 1})
        await desk.ensure("a", 1, first=True)
        assert await desk.fetch("a", 0, SOON) == {"end": {"epoch": 1}}
        await desk.ensure("a", 2, first=True)
        assert await desk.take(0, ABOUT, SOON) == ("a", 2)
        await desk.lost(0, "killed")
        await desk.ensure("a", 3, first=True)
        return await desk.take(1, ABOUT, SOON)

    assert run(scene) == ("a", 3)


def test_work_that_nobody_left_is_left_by_who_asks():
    """The desk may have started anew in between."""

    async def scene(desk):
        await desk.ensure("a", 1, first=True)
        return await desk.take(0, ABOUT, SOON)

    assert run(scene) == ("a", 1)


def test_work_under_a_key_waits_until_the_host_that_had_it_has_stopped():
    """Its client has died and left it again. Two hosts would write to one folder."""

    async def scene(desk):
        await desk.submit("a", 1, first=True)
        await desk.take(0, ABOUT, SOON)
        await desk.submit("a", 2, first=True)
        assert await desk.take(1, ABOUT, SOON) == NOTHING
        assert await desk.put(0, "a", {"epoch": 1}, SOON) is True
        assert await desk.take(1, ABOUT, SOON) == NOTHING  # it stops, but has not yet
        await desk.end(0, "a", {})
        assert await desk.take(1, ABOUT, SOON) == ("a", 2)
        return await desk.fetch("a", 0, SOON)

    assert run(scene) == NOTHING  # nothing of the earlier one


@pytest.mark.parametrize(
    ("last", "told"),
    [(None, {"lost": "killed"}), ({"failure": "disk full"}, {"end": {"failure": "disk full"}})],
)
def test_what_a_lost_host_was_doing(last, told):
    async def scene(desk):
        for key in ("a", "b"):
            await desk.submit(key, key, first=True)
        await desk.take(0, ABOUT, SOON)
        assert (await desk.state())["hosts"] == {0: ABOUT}
        await desk.lost(0, "killed", last)
        assert (await desk.state())["hosts"] == {}
        assert await desk.take(1, ABOUT, SOON) == ("b", "b")  # a is nobody's before it is left again
        return await desk.fetch("a", 0, SOON)

    assert run(scene) == told


def test_a_host_that_is_dismissed_ends_what_it_is_at_and_takes_nothing_more():
    async def scene(desk):
        await desk.submit("a", "a", first=True)
        await desk.take(0, ABOUT, SOON)
        idle = asyncio.create_task(desk.take(1, ABOUT, LATER))
        await asyncio.sleep(0.01)
        await desk.dismiss([0, 1])
        assert await asyncio.wait_for(idle, 1) == CLOSED
        await desk.fetch("a", 0, SOON)
        assert await desk.put(0, "a", {"epoch": 1}, SOON) is False  # it goes on
        await desk.end(0, "a", {})
        await desk.submit("b", "b", first=True)
        assert await desk.take(0, ABOUT, SOON) == CLOSED
        return await desk.take(2, ABOUT, SOON)

    assert run(scene) == ("b", "b")


def test_a_host_that_is_lost_as_it_waits_takes_nothing():
    async def scene(desk):
        waiting = asyncio.create_task(desk.take(0, ABOUT, LATER))  # goes on in the desk after the host's death
        await asyncio.sleep(0.01)
        await desk.lost(0, "killed")
        await desk.submit("a", {}, first=True)
        assert await waiting == CLOSED
        assert (await desk.state())["hosts"] == {}
        return await desk.take(1, ABOUT, SOON)

    assert run(scene) == ("a", {})


def test_reports_that_a_lost_host_had_left_are_read_first():
    async def scene(desk):
        await desk.submit("a", {}, first=True)
        await desk.take(0, ABOUT, SOON)
        await desk.put(0, "a", {"epoch": 1}, SOON)
        await desk.lost(0, "killed")
        return [await desk.fetch("a", number, SOON) for number in (0, 1)]

    assert run(scene) == [{"report": {"epoch": 1}}, {"lost": "killed"}]


def test_a_desk_that_was_started_anew_knows_of_nothing():
    async def scene(desk):
        told = await desk.fetch("a", 3, SOON)
        stopped = await desk.put(0, "a", {"epoch": 4}, SOON)
        await desk.end(0, "a", {})
        return told, stopped

    assert run(scene) == ({"lost": "the desk of the search was started anew"}, True)


def test_closing_sends_hosts_home():
    async def scene(desk):
        await desk.submit("a", {}, first=True)
        await desk.take(0, ABOUT, SOON)
        waiting = asyncio.create_task(desk.take(1, ABOUT, LATER))
        await asyncio.sleep(0.01)
        await desk.close()
        return await waiting, await desk.put(0, "a", {}, SOON)

    assert run(scene) == (CLOSED, True)


def test_how_long_each_trial_has_been_quiet():
    async def scene(desk):
        for key, first in (("a", True), ("call", False)):
            await desk.submit(key, key, first=first)
        await desk.take(0, ABOUT, SOON)
        await desk.take(1, ABOUT, SOON)
        await asyncio.sleep(0.2)
        asyncio.create_task(desk.fetch("a", 0, LATER))  # noqa: RUF006
        await desk.put(0, "a", {}, LATER)
        await asyncio.sleep(0.1)
        return (await desk.state())["quiet"]

    ((host, (quiet, longest)),) = run(scene).items()
    assert host == 0  # calls report nothing until they end
    assert 0.1 <= quiet < longest
    assert longest >= 0.2
