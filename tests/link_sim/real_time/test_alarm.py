"""Both kinds of alarm ring once, never early, and only as last asked."""

import asyncio
import random
import sys
import time
from collections.abc import Callable

import pytest

from link_sim.real_time.alarm import Alarm, Lead, _LoopAlarm, make_alarm

MS = 1_000_000


def loop_alarm(ring: Callable[[], None]) -> Alarm:
    return _LoopAlarm(asyncio.get_running_loop(), ring)


@pytest.mark.parametrize("make", [make_alarm, loop_alarm])
async def test_an_alarm_rings_once_at_the_last_time_asked_for(make: Callable[[Callable[[], None]], Alarm]) -> None:
    rung_ns: list[int] = []
    rung = asyncio.Event()

    def ring() -> None:
        rung_ns.append(time.monotonic_ns())
        rung.set()

    alarm = make(ring)
    now_ns = time.monotonic_ns()
    alarm.set(now_ns + 3_600_000 * MS)
    alarm.set(now_ns + 1 * MS)
    alarm.set(now_ns + 20 * MS)
    async with asyncio.timeout(10):
        await rung.wait()
    resolution_ns = 0 if make is make_alarm and sys.platform == "linux" else 1000
    assert [each >= now_ns + 20 * MS - resolution_ns for each in rung_ns] == [True]
    rung.clear()
    alarm.set(1)  # long past: at once
    async with asyncio.timeout(10):
        await rung.wait()
    alarm.set(time.monotonic_ns() + 1 * MS)
    alarm.set(None)
    other = asyncio.Event()
    sentinel = make(other.set)
    sentinel.set(time.monotonic_ns() + 5 * MS)
    async with asyncio.timeout(10):
        await other.wait()
    assert len(rung_ns) == 2
    alarm.close()
    sentinel.close()


def test_a_lead_is_what_nearly_every_wake_up_takes_and_no_more_than_its_bound() -> None:
    lead, rng = Lead(), random.Random(1)
    early = 0
    for took_ns in (100_000 + round(rng.expovariate(1 / 40_000)) for _ in range(4000)):
        early += took_ns < lead.ns
        lead.note(took_ns)
    assert 90_000 <= lead.ns <= 125_000
    assert early < 800
    for _ in range(20):
        lead.note(20_000)
    assert lead.ns <= 22_000
    for _ in range(4000):
        lead.note(4_000_000)
    assert lead.ns == 250_000


@pytest.mark.skipif(sys.platform != "linux", reason="the loop's own timer has no lead")
async def test_an_alarm_with_a_lead_still_never_rings_early() -> None:
    rung, early_ns = asyncio.Event(), []
    alarm = make_alarm(rung.set)
    for _ in range(300):
        due_ns = time.monotonic_ns() + MS // 2
        rung.clear()
        alarm.set(due_ns)
        await rung.wait()
        early_ns.append(due_ns - time.monotonic_ns())
    alarm.close()
    assert max(early_ns) <= 0


async def test_an_alarm_set_anew_in_the_turn_that_it_was_due_in_does_not_ring() -> None:
    rung: list[int] = []
    alarm = make_alarm(lambda: rung.append(1))
    alarm.set(1)
    asyncio.get_running_loop().call_soon(alarm.set, time.monotonic_ns() + 3_600_000 * MS)
    for _ in range(3):
        await asyncio.sleep(0)
    assert rung == []
    alarm.close()
