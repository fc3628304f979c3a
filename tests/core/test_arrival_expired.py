"""A bundle that has surely expired when it arrives: nobody gets it, its sender is released, its source is told."""

import pytest

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.effects import ArrivalExpired, Persist
from tests.core.bench import Bench, Place

LIFETIME_S = 30.0
HEADER = BundleHeader(destination=COMMAND, flow="order", lifetime_s=LIFETIME_S)


def post() -> tuple[Bench, Place]:
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("kit-1")
    bench.join("a", "kit-1", "command")
    bench.run(1)
    return bench, bench.places["command"]


def piece(age_s: float, *, total_bytes: int = 10) -> Fragment:
    """The first ten bytes of a bundle that is so old already."""
    return Fragment(None, Precedence.ROUTINE, 7, 0, total_bytes, HEADER.pack(), round(age_s * 1000), 0, bytes(10))


def take(bench: Bench, place: Place, fragment: Fragment) -> None:
    (peer,) = place.running.contacts.peers.values()
    place.running.arrivals.take(fragment, peer, "a", bench.now_s)
    bench.pump(place)


def expired(place: Place) -> list[ArrivalExpired]:
    return [event for event in place.events if isinstance(event, ArrivalExpired)]


def test_an_expired_arrival_is_stored_nowhere_and_its_sender_is_released() -> None:
    bench, command = post()
    take(bench, command, piece(LIFETIME_S))
    assert [(event.record.id.sequence, event.peer) for event in expired(command)] == [(7, "kit-1")]
    assert command.delivered() == []
    assert not any(isinstance(effect, Persist) for effect in command.effects)
    (peer,) = command.running.contacts.peers.values()
    assert [list(ranges) for ranges in peer.custody.values()] == [[(7, 8)]]
    take(bench, command, piece(LIFETIME_S + 1))
    assert len(expired(command)) == 1, "the copy on the other link tells nothing new"
    assert command.running.arrivals.room.reserved_bytes == 0


def test_an_arrival_inside_its_lifetime_is_delivered_with_its_age() -> None:
    bench, command = post()
    take(bench, command, piece(LIFETIME_S - 0.01))
    (event,) = command.delivered()
    assert event.record.age_low_at(bench.now_s) == pytest.approx(LIFETIME_S - 0.01)


def test_a_bundle_that_expires_half_way_leaves_nothing_behind() -> None:
    bench, command = post()
    take(bench, command, piece(LIFETIME_S - 5, total_bytes=200_000))
    command.running._touch()  # it came past the door
    bench.run(4)
    assert command.disk.start(bench.now_s).parts != ()
    bench.run(3)
    assert len(expired(command)) == 1
    assert command.disk.start(bench.now_s).parts == ()
    assert command.running.arrivals.room.reserved_bytes == 0
