"""What a machine cannot keep is said, and only that."""

import asyncio
import os

from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile
from link_sim.real_time.machine import Machine, doubts, doubts_about, measure_machine

SLOW = Machine(frames_a_s=50_000, timer_late_s=0.0001)


def path(up: LinkProfile) -> PathProfile:
    return PathProfile(name="test", up=up, down=LinkProfile())


def test_rates_and_spans_beyond_the_machine_are_named_with_what_is_possible() -> None:
    profile = path(LinkProfile(rate_bps=10_000_000_000, delay_s=0.00001, jitter_s=0.00001))
    assert doubts(profile, SLOW) == [
        "up: rate_bps 10000000000 cannot be kept: this machine relays about 588800000 bit/s in frames of 1472 bytes",
        "up: delay_s 1e-05 is finer than this machine's timers, late by 0.0001 s",
        "up: jitter_s 1e-05 is finer than this machine's timers, late by 0.0001 s",
    ]
    assert doubts(path(LinkProfile(rate_bps=500_000_000, delay_s=0.0002)), SLOW) == []
    steps = path(LinkProfile(rate_schedule=((0, 64_000), (1, 600_000_000))))
    assert "rate_bps 600000000 cannot be kept" in doubts(steps, SLOW)[0]


async def test_this_machine_doubts_what_no_machine_does_and_nothing_else() -> None:
    descriptors, tasks = set(os.listdir("/dev/fd")), asyncio.all_tasks()
    beyond = await doubts_about(path(LinkProfile(rate_bps=10_000_000_000_000, delay_s=1e-9)))
    assert [each.split()[1] for each in beyond] == ["rate_bps", "delay_s"]
    assert await doubts_about(path(LinkProfile(rate_bps=10_000_000, delay_s=0.02))) == []
    machine = await measure_machine()
    assert machine.frames_a_s > 1000
    assert 0 < machine.timer_late_s < 1
    assert set(os.listdir("/dev/fd")) == descriptors
    assert asyncio.all_tasks() == tasks
