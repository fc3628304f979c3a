"""A peer that holds the keys and lies, and a link that copies and shuffles: bounded, counted, and nothing is lost."""

from collections.abc import Callable

import pytest

from edge_agent.core.arq import Reordering
from edge_agent.core.blocks import Ack
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.peer_clock import DOUBT_S, PeerClock
from edge_agent.core.receive_space import ReceiveSpace
from edge_agent.core.report import LinkReport, NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

RATE_BPS = 1_000_000
LIE_S = 30.0
BUNDLE_BYTES = 64_000
Lie = Callable[[Ack], Ack]


def all_arrived(ack: Ack) -> Ack:
    """Nothing was ever lost (Savage et al., TCP congestion control with a misbehaving receiver, 1999)."""
    return ack._replace(ranges=((0, ack.highest + 1),))


def more_arrived(ack: Ack) -> Ack:
    """Frames are acknowledged before they came, and some before they left."""
    return ack._replace(ranges=((0, ack.highest + 21),), highest=ack.highest + 20)


def at_once(ack: Ack) -> Ack:
    """The whole link took no time."""
    return ack._replace(arrivals=tuple((number, 0) for number, _ in ack.arrivals))


def backwards(ack: Ack) -> Ack:
    return ack._replace(arrivals=tuple((number, max(0, 2**30 - ticks)) for number, ticks in ack.arrivals))


def squeezed(ack: Ack) -> Ack:
    """A hundred times as fast as it was."""
    first = ack.arrivals[-1][1] if ack.arrivals else 0
    return ack._replace(arrivals=tuple((number, first + (ticks - first) // 100) for number, ticks in ack.arrivals))


def scattered(ack: Ack) -> Ack:
    return ack._replace(arrivals=tuple((number, number * 2_654_435_761 % 2**40) for number, _ in ack.arrivals))


def lying(lie: Lie) -> type[ReceiveSpace]:
    """What takes the place of a receiver's account, so that all else of the peer stays what it is."""

    class Liar(ReceiveSpace):
        __slots__ = ()

        def take_ack(self, reference: int, room_bytes: int, *, most_times: int = 64) -> Ack | None:
            ack = ReceiveSpace.take_ack(self, reference, room_bytes, most_times=most_times)
            return lie(ack) if ack is not None else None

    return Liar


def bulk_world(profile: LinkProfile) -> World:
    """A kit that has half a second's worth of one link to send every 0.6 s, for 30 s from 2 s on."""
    world = World(1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("link", "kit-1", COMMAND, profile)
    header = BundleHeader(destination=COMMAND, flow="bulk")
    world.every(
        0.6,
        lambda: world.submit("kit-1", header, Precedence.ROUTINE, bytes(BUNDLE_BYTES)),
        start_s=2.0,
        until_s=2.0 + LIE_S,
    )
    world.run_until(2.0)
    return world


def make_command(world: World, space: type[ReceiveSpace]) -> None:
    """Let command account for what it receives in this way, from now on."""
    for contact in world.node(COMMAND).contacts.contacts:
        assert contact.session is not None
        contact.session.space.__class__ = space


def kit_link(world: World) -> LinkReport:
    return world.report("kit-1").links[0]


def lied_to(lie: Lie, *, loss_ratio: float = 0.0) -> tuple[World, float]:
    """The world after 30 s of lies and its kit's wire bytes in them, as a share of what the link carries."""
    world = bulk_world(
        LinkProfile(rate_bps=RATE_BPS, delay_s=0.05, queue_bytes=25_000, overhead_bytes=28, loss_ratio=loss_ratio)
    )
    make_command(world, lying(lie))
    world.run_until(2.0 + LIE_S)
    return world, kit_link(world).sent_bytes * 8 / (RATE_BPS * LIE_S)


@pytest.mark.slow
@pytest.mark.parametrize("loss_ratio", [0.0, 0.05])
@pytest.mark.parametrize(
    ("lie", "drop"),
    [
        (all_arrived, ""),
        (more_arrived, "ack_beyond_sent"),
        (at_once, "ack_times_impossible"),
        (backwards, "ack_times_impossible"),
        (squeezed, "ack_times_impossible"),
        (scattered, "ack_times_impossible"),
    ],
)
def test_a_lying_receiver_gets_no_burst_and_stalls_nobody(lie: Lie, drop: str, loss_ratio: float) -> None:
    """It goes on during the lies, at no more than the link's rate; what it claimed falsely is sent again after them."""
    world, used_ratio = lied_to(lie, loss_ratio=loss_ratio)
    assert 0.2 < used_ratio < 1.05
    assert world.deliveries
    counted = world.node("kit-1").outputs.drops
    assert set(counted) <= {drop, "custody_overdue"}
    assert drop in ("", *counted)
    make_command(world, ReceiveSpace)
    world.run_until(2.0 + LIE_S + 90.0)
    assert not world.ledger.waiting()
    assert len({delivery.bundle for delivery in world.deliveries}) == len(world.deliveries)


@pytest.mark.slow
def test_who_believes_every_time_sends_three_times_what_the_link_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(PeerClock, "allows", lambda self, sent_s, arrived_s, now_s: True)
    assert lied_to(at_once)[1] > 2.0


@pytest.mark.slow
def test_a_link_that_copies_everything_and_shuffles_by_seconds_delivers_once() -> None:
    profile = LinkProfile(
        rate_bps=RATE_BPS,
        delay_s=2.0,
        jitter_s=1.9,
        reorders=True,
        duplicate_ratio=1.0,
        queue_bytes=250_000,
        overhead_bytes=28,
    )
    world = bulk_world(profile)
    world.run_until(2.0 + LIE_S + 120.0)
    assert not world.ledger.waiting()
    assert len({delivery.bundle for delivery in world.deliveries}) == len(world.deliveries) == round(LIE_S / 0.6)
    assert world.node(COMMAND).outputs.drops["frame_replayed"] > 1000
    assert kit_link(world).sent_bytes < 2.0 * BUNDLE_BYTES * len(world.deliveries)


def delivered_when_shuffled() -> int:
    """Bundles of 50 that a link with delays of 0.1 to 0.9 s in any order has delivered when the last was submitted."""
    profile = LinkProfile(
        rate_bps=RATE_BPS, delay_s=0.5, jitter_s=0.4, reorders=True, queue_bytes=250_000, overhead_bytes=28
    )
    world = bulk_world(profile)
    world.run_until(2.0 + LIE_S)
    return len(world.deliveries)


@pytest.mark.slow
def test_a_link_that_shuffles_is_used() -> None:
    assert delivered_when_shuffled() > 25


@pytest.mark.slow
def test_who_takes_every_overtaken_frame_for_lost_uses_little_of_such_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(Reordering, "note_late", lambda self, *late: None)
    assert delivered_when_shuffled() < 10


def test_a_clock_that_was_set_is_believed_again_and_drift_never_matters() -> None:
    clock = PeerClock()
    for second in range(1000):
        assert clock.allows(second, second * 1.0004 + 7.05, second + 0.1), second
    assert not clock.allows(1000.0, 5.0, 1000.1)
    assert not clock.allows(1001.0, 6.0, 1001.1), "doubted for a while"
    assert clock.allows(1002.0 + DOUBT_S, 7.0 + DOUBT_S, 1002.1 + DOUBT_S)
