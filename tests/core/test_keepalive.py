"""An idle link is asked as seldom as its policy allows, and one that shall say nothing says nothing."""

import math
from itertools import pairwise

import pytest

from edge_agent.core.effects import LinkState
from edge_agent.core.limits import KEEPALIVE_METERED_S, KEEPALIVE_S, LinkPolicy
from tests.core.bench import DATAGRAM, Bench

HOUR_S = 3600.0
NAT_S = 30.0


def idle(policy: LinkPolicy) -> Bench:
    """A kit and a command post that have met over one link, of which nothing is in ``history``."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("link", "kit-1", "command", policy=policy)
    bench.run(10.0)
    bench.history.clear()
    return bench


def wire_bytes(bench: Bench) -> int:
    return sum(len(each.frame) + DATAGRAM.overhead_bytes for each in bench.history)


def state(bench: Bench) -> LinkState:
    """Of the kit's link."""
    return bench.places["kit-1"].running.report(bench.now_s).links[0].state


def test_the_wait_is_that_of_the_policy_or_of_the_kind() -> None:
    assert LinkPolicy(metered=False).ask_every_s == KEEPALIVE_S
    assert LinkPolicy(metered=True).ask_every_s == LinkPolicy().ask_every_s == KEEPALIVE_METERED_S
    assert LinkPolicy(metered=True, keepalive_s=7.0).ask_every_s == 7.0
    assert LinkPolicy(metered=False, keepalive_s=0).ask_every_s == math.inf


def test_an_idle_link_keeps_its_nat_open_for_20_kb_an_hour() -> None:
    bench = idle(LinkPolicy(metered=False))
    bench.run(HOUR_S)
    sent_s = [each.t_s for each in bench.history if each.sender == "kit-1"]
    assert max(later - sooner for sooner, later in pairwise(sent_s)) < NAT_S
    assert wire_bytes(bench) <= 20_000


def test_an_idle_metered_link_costs_2_kb_an_hour() -> None:
    bench = idle(LinkPolicy(metered=True))
    bench.run(HOUR_S)
    assert 0 < wire_bytes(bench) <= 2_000


@pytest.mark.parametrize("metered", [True, False])
def test_an_idle_link_is_known_dead_and_alive_within_five_minutes(metered: bool) -> None:
    bench = idle(LinkPolicy(metered=metered))
    bench.passes = lambda flight: False
    bench.run(300.0)
    assert state(bench) is LinkState.DOWN
    bench.run(300.0)
    bench.passes = lambda flight: True
    bench.run(300.0)
    assert state(bench) is not LinkState.DOWN


def test_a_silent_link_says_nothing_until_a_bundle_waits() -> None:
    bench = idle(LinkPolicy(metered=False, keepalive_s=0))
    bench.run(HOUR_S)
    assert not bench.history
    bench.submit("kit-1", b"now")
    bench.run(1.0)
    assert [each.payload for each in bench.places["command"].delivered()] == [b"now"]


def test_a_silent_link_that_died_is_asked_while_a_bundle_waits_and_no_longer() -> None:
    bench = idle(LinkPolicy(metered=False, keepalive_s=0))
    bench.passes = lambda flight: False
    bench.submit("kit-1", b"now")
    bench.run(600.0)
    waiting = [each for each in bench.history if each.sender == "kit-1" and each.t_s > bench.now_s - 60.0]
    assert len(waiting) >= 20, "it may be back any moment"
    bench.passes = lambda flight: True
    bench.run(10.0)
    assert [each.payload for each in bench.places["command"].delivered()] == [b"now"]
    bench.passes = lambda flight: False
    bench.history.clear()
    bench.run(HOUR_S)
    assert not bench.history


def test_a_bundle_hurries_a_dead_link_that_was_asked_ever_more_seldom() -> None:
    bench = idle(LinkPolicy(metered=True))
    bench.passes = lambda flight: False
    bench.run(HOUR_S)
    assert state(bench) is LinkState.DOWN
    bench.submit("kit-1", b"now")
    bench.run(5.0)
    bench.passes = lambda flight: True
    bench.run(35.0)
    assert [each.payload for each in bench.places["command"].delivered()] == [b"now"]
