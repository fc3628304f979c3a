"""A link that flaps is damped but not forgotten: urgent data does not trust it alone, bulk goes on, and it recovers."""

import pytest

from edge_agent.core.damping import CEILING, CUT_OFF, HALF_LIFE_S, REUSE, Damping
from edge_agent.core.effects import LinkState
from link_sim.nodes.world import World
from tests.core.test_link_queue import NARROW
from tests.core.test_pacing import bulk_world

KIT, LINK = "kit-1", "line"


def test_seldom_falls_are_forgotten() -> None:
    damping = Damping()
    for number in range(50):
        damping.note_fall(number * 2 * HALF_LIFE_S)
    assert damping.until_s < 0


def test_three_falls_in_a_row_damp_and_it_ends() -> None:
    damping = Damping()
    for now_s in (0.0, 1.0, 2.0):
        damping.note_fall(now_s)
    assert CUT_OFF < 3 * 2 ** (-2 / HALF_LIFE_S) < 3
    assert 2.0 + HALF_LIFE_S < damping.until_s < 2.0 + 3 * HALF_LIFE_S


def test_however_often_it_fell_it_is_trusted_again_within_a_known_time() -> None:
    damping = Damping()
    for number in range(1000):
        damping.note_fall(number * 0.5)
    last_s = 999 * 0.5
    assert damping.until_s == pytest.approx(last_s + HALF_LIFE_S * 2.415, rel=1e-3)  # log2(CEILING / REUSE)
    assert pytest.approx(2**2.415, rel=1e-3) == CEILING / REUSE


def test_falls_are_counted_while_it_flaps_and_from_the_first() -> None:
    damping = Damping()
    for now_s in (100.0, 101.0, 102.0, 110.0):
        damping.note_fall(now_s)
        assert damping.falls_at(now_s) == (0 if now_s < 102.0 else damping.falls)
    assert (damping.falls, damping.since_s) == (4, 100.0)
    assert damping.falls_at(damping.until_s) == 0
    damping.note_fall(damping.until_s + 3 * HALF_LIFE_S)
    assert damping.falls == 1


def flap(world: World, link: str, times: int) -> None:
    for _ in range(times):
        world.unplug(link, KIT)
        world.run_until(world.now_s + 0.5)
        world.plug(link, KIT)
        world.run_until(world.now_s + 1.5)


def test_a_flapping_link_says_so_carries_on_and_is_steady_again() -> None:
    world = bulk_world(NARROW, bundles=300)
    (link,) = {each.link for each in world.report(KIT).links}
    world.run_until(5.0)
    flap(world, link, 2)
    assert world.report(KIT).links[0].state is LinkState.UP
    before = len(world.deliveries)
    flap(world, link, 2)
    report = world.report(KIT).links[0]
    assert (report.state, report.reason) == (LinkState.DEGRADED, "flapping")
    assert report.falls == 4
    assert report.flapping_s == pytest.approx(8.0, abs=0.1)
    assert len(world.deliveries) >= before
    sent_bytes = report.sent_bytes
    world.run_until(world.now_s + 10.0)
    assert world.report(KIT).links[0].sent_bytes - sent_bytes > 0.9 * 64_000 / 8 * 10.0
    world.run_until(world.now_s + 3 * HALF_LIFE_S)
    report = world.report(KIT).links[0]
    assert (report.state, report.reason, report.falls) == (LinkState.UP, "steady again", 0)
