"""A link that comes and goes: what had arrived is not sent again, and what stayed with it finds another way."""

import random
from functools import partial

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.effects import LinkState
from edge_agent.core.pacing import RateController
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

BULK = BundleHeader(destination=COMMAND, flow="bulk")
NARROW = LinkProfile(rate_bps=64_000, delay_s=0.05, queue_bytes=8_000, overhead_bytes=28)
WIDE = LinkProfile(rate_bps=5_000_000, delay_s=0.02, queue_bytes=62_500, overhead_bytes=28)
WIRE_RATIO = 1.09
FLAPS = 40


def kit_and_command() -> World:
    world = World(seed=1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    return world


def submit(world: World, bundles: int, payload_bytes: int) -> None:
    for number in range(bundles):
        world.submit("kit-1", BULK, Precedence.ROUTINE, random.Random(number).randbytes(payload_bytes))


def wire_ratio_of_flaps() -> float:
    """Wire bytes that came out of a link that is unplugged 40 times, for each byte delivered."""
    world, rng, came_bytes = kit_and_command(), random.Random(1), [0]
    world.connect("link", "kit-1", COMMAND, NARROW)
    submit(world, 60, 8_000)

    def came(now_ns: int, offered_ns: int, frame: bytes) -> None:
        came_bytes[0] += len(frame) + NARROW.overhead_bytes

    world.lines()["kit-1/link/up"].observe(lambda now_ns, size, frame, verdict: None, came)
    end_s = 5.0
    for _ in range(FLAPS):
        world.at(end_s, partial(world.unplug, "link", "kit-1"))
        end_s += rng.uniform(0.2, 2.0)
        world.at(end_s, partial(world.plug, "link", "kit-1"))
        end_s += rng.uniform(0.2, 2.0)
    world.run_until(end_s)
    world.audit()
    return came_bytes[0] / sum(each.record.payload_bytes for each in world.deliveries)


@pytest.mark.slow
def test_nothing_that_arrived_before_a_flap_is_sent_again() -> None:
    assert wire_ratio_of_flaps() <= WIRE_RATIO


@pytest.mark.slow
def test_what_is_given_up_with_the_only_link_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: all in flight is owed again, though nobody else could carry it."""
    monkeypatch.setattr(Contact, "has_usable_sibling", lambda self: True)
    assert wire_ratio_of_flaps() > WIRE_RATIO


def carried_of_up_time(flaps: int) -> float:
    """Of what a link could carry that is silent again and again, for shorter than it takes to call it dead."""
    world, rng, up_s = kit_and_command(), random.Random(1), 0.0
    world.connect("link", "kit-1", COMMAND, NARROW)
    submit(world, 600, 8_000)
    end_s = 5.0
    for _ in range(flaps):
        world.at(end_s, partial(world.cut, "link", kills_in_flight=True))
        back_s = end_s + rng.uniform(0.2, 1.5)
        world.at(back_s, partial(world.restore, "link"))
        end_s = back_s + rng.uniform(0.2, 2.0)
        up_s += end_s - back_s
    world.run_until(5.0)
    before = len(world.deliveries)
    world.run_until(end_s)
    world.audit()
    assert NARROW.rate_bps is not None
    return sum(each.record.payload_bytes for each in world.deliveries[before:]) * 8 / NARROW.rate_bps / up_s


@pytest.mark.slow
def test_short_silences_do_not_slow_a_link_down() -> None:
    assert carried_of_up_time(300) >= 0.6


@pytest.mark.slow
def test_outages_that_are_measured_as_capacity_slow_it_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: what was lost in an outage stands in one window with what came before and after."""
    monkeypatch.setattr(RateController, "end_outage", lambda self, now_s, rtt_s: None)
    assert carried_of_up_time(300) < 0.6


def test_what_stayed_with_a_dead_link_goes_by_one_that_comes_up_later() -> None:
    world = kit_and_command()
    world.connect("one", "kit-1", COMMAND, NARROW)
    world.run_until(2.0)
    submit(world, 1, 4_000)
    world.run_until(2.2)
    world.cut("one", kills_in_flight=True)
    world.run_until(10.0)
    assert any(change.state is LinkState.DOWN and change.link == "one" for _, change in world.link_changes)
    world.connect("two", "kit-1", COMMAND, WIDE)
    world.run_until(12.0)
    assert len(world.deliveries) == 1


def carried_one_way(direction: str) -> float:
    """Of the wide link's rate, in the seconds after one of its directions died; a narrow link is beside it."""
    world = kit_and_command()
    world.connect("wide", "kit-1", COMMAND, WIDE)
    world.connect("narrow", "kit-1", COMMAND, NARROW)
    submit(world, 400, 16_000)
    world.run_until(3.0)
    world.cut("wide", direction=direction)
    world.run_until(5.0)
    before = len(world.deliveries)
    world.run_until(9.0)
    world.audit()
    assert WIDE.rate_bps is not None
    return sum(each.record.payload_bytes for each in world.deliveries[before:]) * 8 / 4.0 / WIDE.rate_bps


@pytest.mark.slow
def test_a_link_dead_on_the_way_back_goes_on_carrying_while_another_brings_its_acknowledgements() -> None:
    assert carried_one_way("down") >= 0.8


@pytest.mark.slow
def test_a_link_dead_on_the_way_there_carries_nothing() -> None:
    """The planted fault of the test above, if it would count what the narrow one brings."""
    assert carried_one_way("up") <= 0.05
