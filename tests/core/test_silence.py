"""A link that went silent is known to be dead at both ends, and is in use again as soon as it is back."""

from types import SimpleNamespace

import pytest

from edge_agent.core import liveness, words
from edge_agent.core.blocks import Control
from edge_agent.core.bundle import COMMAND, BundleHeader, MalformedError, Precedence
from edge_agent.core.effects import LinkState
from edge_agent.core.report import NodeSettings
from edge_agent.core.silence import SILENCE_KIND, read_silence
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

PLAIN = LinkProfile(rate_bps=5_000_000, delay_s=0.02, queue_bytes=62_500, overhead_bytes=28)
LONG = LinkProfile(rate_bps=5_000_000, delay_s=0.1, queue_bytes=62_500, overhead_bytes=28)
FAR = LinkProfile(rate_bps=512_000, delay_s=0.3, queue_bytes=51_200, overhead_bytes=28)
LIVE = BundleHeader(destination=COMMAND, flow="live")
CUT_S, AWAY_S = 6.0, 8.0


def live_world() -> World:
    """A message each 20 ms over a short link, which dies without a word after 6 s, with a longer one beside it."""
    world = World(seed=1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("short", "kit-1", COMMAND, PLAIN)
    world.connect("long", "kit-1", COMMAND, LONG)
    world.every(
        0.02, lambda: world.submit("kit-1", LIVE, Precedence.IMMEDIATE, bytes(200)), start_s=3.0, until_s=CUT_S + 12
    )
    world.run_until(CUT_S)
    world.cut("short")
    return world


def dead_after_s(world: World, peer: str) -> float:
    """When the node whose peer is ``peer`` gave the short link up, after the cut."""
    return next(
        t_s - CUT_S
        for t_s, change in world.link_changes
        if change.link == "short" and change.peer == peer and change.state is LinkState.DOWN
    )


@pytest.mark.slow
def test_the_other_end_hears_of_a_dead_link_by_the_link_that_lives() -> None:
    world = live_world()
    world.run_until(CUT_S + 3.0)
    assert dead_after_s(world, "kit-1") <= dead_after_s(world, COMMAND) + LONG.delay_s + 0.01


@pytest.mark.slow
def test_an_end_that_is_not_told_finds_out_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(liveness, "tell_silence", lambda contact, now_s: None)
    world = live_world()
    world.run_until(CUT_S + 3.0)
    assert dead_after_s(world, "kit-1") > dead_after_s(world, COMMAND) + 0.5


def back_after_s() -> float:
    """From the link's return to the first message that it alone delivered."""
    world = live_world()
    world.run_until(CUT_S + AWAY_S)
    world.restore("short")
    world.run_until(CUT_S + 20.0)
    world.audit()
    back_s = CUT_S + AWAY_S
    return next(each.t_s for each in world.deliveries if each.t_s > back_s and each.via == ("short",)) - back_s


def back_one_way_s() -> float:
    """From the conviction of a link whose way back is dead to the word that its way there is not."""
    world = World(seed=1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    for link, profile in (("far", FAR), ("short", PLAIN), ("long", LONG)):
        world.connect(link, "kit-1", COMMAND, profile)
    world.every(
        0.02, lambda: world.submit("kit-1", LIVE, Precedence.IMMEDIATE, bytes(200)), start_s=3.0, until_s=CUT_S + 2
    )
    world.run_until(CUT_S)
    world.cut("short", direction="down")
    world.run_until(CUT_S + 3.0)
    world.audit()
    changes = [(t_s, each.state) for t_s, each in world.link_changes if (each.link, each.peer) == ("short", COMMAND)]
    down_s = next(t_s for t_s, state in changes if t_s > CUT_S and state is LinkState.DOWN)
    return next(t_s for t_s, state in changes if t_s > down_s and state is LinkState.UP) - down_s


def test_word_of_a_link_that_is_dead_one_way_comes_by_the_quickest_other_one() -> None:
    assert back_one_way_s() < PLAIN.delay_s + 2 * LONG.delay_s


def test_word_by_the_longest_link_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(
        words, "_quickest_beside", lambda contact, now_s: max(contact.siblings(), key=lambda each: each.rtt.min_s)
    )
    assert back_one_way_s() > FAR.delay_s


@pytest.mark.slow
def test_a_link_that_comes_back_carries_live_data_within_half_a_second() -> None:
    assert back_after_s() <= 0.5


@pytest.mark.slow
def test_a_link_that_is_asked_seldom_comes_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(liveness, "PROBE_WAIT_LIVE_S", 2.0)
    assert back_after_s() > 0.5


def told(highest: int, *, acked: int, receive_id: int = 5) -> bool:
    """Whether a word of silence about session 5, of which ``acked`` was acknowledged and 20 frames left, counts."""
    session = SimpleNamespace(is_keyed=True, receive_id=5, arq=SimpleNamespace(highest_acked=acked, next_number=20))
    contact = SimpleNamespace(siblings=lambda: [SimpleNamespace(session=session)])
    return read_silence(contact, Control([SILENCE_KIND, receive_id, highest])) is not None  # type: ignore[arg-type]  # two fields of many


def test_a_word_that_comes_late_or_from_nowhere_is_not_believed() -> None:
    assert told(9, acked=9)
    assert told(9, acked=-1)
    assert not told(9, acked=10), "heard since"
    assert not told(20, acked=9), "a number that was never sent"
    assert not told(19, acked=9), "nothing is missing"
    assert not told(9, acked=9, receive_id=6)


@pytest.mark.parametrize("fields", [[SILENCE_KIND], [SILENCE_KIND, 5], [SILENCE_KIND, "5", 1], [SILENCE_KIND, 5, True]])
def test_a_malformed_word_is_refused(fields: list[object]) -> None:
    contact = SimpleNamespace(siblings=list)
    with pytest.raises(MalformedError):
        read_silence(contact, Control(fields))  # type: ignore[arg-type]  # nothing of it is read
