"""What was begun goes on: after a restart of either side, beyond what is in memory, and at another node."""

from dataclasses import replace

import pytest

from edge_agent.core.arrivals import SYNC_WAIT_S, UNSYNCED_BYTES_MAX
from edge_agent.core.begun_before import BEGUN_MAX, BegunBefore
from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import LoadWindow
from edge_agent.core.peer import Peer
from edge_agent.core.verdicts import LEAVE_S
from tests.core.bench import DATAGRAM, Bench
from tests.core.sending import outgoing

PAYLOAD = bytes(range(256)) * 4000
STEADY = replace(DATAGRAM, rate_is_ceiling=True)
FRAME_SHARE = 1.05  # of the payload, with headers and words
IN_FLIGHT_BYTES = 20_000  # a round trip of 20 ms at 1 Mbit/s, and the first train
RUN_BYTES = 65_536


def half_sent(**settings: int) -> Bench:
    """A megabyte, about half of which is at command."""
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("kit-1", **settings)
    bench.join("a", "kit-1", "command", STEADY)
    bench.submit("kit-1", PAYLOAD)
    bench.run(4)
    return bench


def stored_bytes(bench: Bench) -> int:
    """What command has synced of it."""
    (part,) = bench.places["command"].disk.start(bench.now_s).parts
    return sum(end - start for start, end in part.ranges)


def sent_again_bytes(bench: Bench, stored: int) -> float:
    """Payload sent from now on beyond what was not stored."""
    before = sum(len(flight.frame) for flight in bench.history if flight.sender == "kit-1")
    bench.run(20)
    (delivered,) = bench.places["command"].delivered()
    assert bench.places["command"].disk.payload(delivered.record.id) == PAYLOAD
    sent = sum(len(flight.frame) for flight in bench.history if flight.sender == "kit-1") - before
    return sent / FRAME_SHARE - (len(PAYLOAD) - stored)


def test_a_sender_that_restarts_sends_nothing_that_is_synced() -> None:
    """Its peer tells it, unasked, what of its bundles is on disk there."""
    bench = half_sent()
    stored = stored_bytes(bench)
    assert 300_000 < stored < 800_000
    bench.crash("kit-1")
    bench.start("kit-1")
    assert sent_again_bytes(bench, stored) <= IN_FLIGHT_BYTES


def test_after_a_restart_of_both_nothing_that_is_synced_goes_again() -> None:
    bench = half_sent()
    stored = stored_bytes(bench)
    for node in ("command", "kit-1"):
        bench.crash(node)
    for node in ("command", "kit-1"):
        bench.start(node)
    assert sent_again_bytes(bench, stored) <= IN_FLIGHT_BYTES


def test_a_receiver_that_restarts_costs_no_more_than_its_last_run() -> None:
    bench = half_sent()
    stored = stored_bytes(bench)
    bench.crash("command")
    bench.start("command")
    assert sent_again_bytes(bench, stored) <= IN_FLIGHT_BYTES + RUN_BYTES


def test_the_word_of_what_is_synced_waits_for_a_bundle_that_is_not_loaded_yet() -> None:
    bench = half_sent()
    stored = stored_bytes(bench)
    bench.crash("kit-1")
    bench.disk_works = lambda place, effect: not isinstance(effect, LoadWindow)
    kit = bench.places["kit-1"]
    kit.effects.clear()
    bench.start("kit-1")
    bench.run(2)
    assert kit.running.custody.bundles == {}
    bench.disk_works = lambda place, effect: True
    for load in [effect for effect in kit.effects if isinstance(effect, LoadWindow)]:
        kit.running.complete(load.effect_id, kit.disk.execute(load), bench.now_s)
    bench.pump(kit)
    assert sent_again_bytes(bench, stored) <= IN_FLIGHT_BYTES


def test_what_is_remembered_of_bundles_not_loaded_is_bounded() -> None:
    begun, peer = BegunBefore(), Peer("command")
    bundles = [outgoing(number) for number in range(BEGUN_MAX + 5)]
    for bundle in bundles:
        begun.note(bundle.record.id, peer, ((1, 9),))
    for bundle in bundles:
        begun.apply_to(bundle)
    assert [bundle.peer is None for bundle in bundles] == [True] * 5 + [False] * BEGUN_MAX
    again = outgoing(BEGUN_MAX)
    begun.apply_to(again)
    assert again.peer is None, "its word was used"


def test_small_partials_that_wait_are_synced_beyond_the_promise() -> None:
    """Twenty bundles of 60 kB stop half-way: what a crash of the receiver costs is bounded, and all arrive whole."""
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("kit-1")
    bench.join("a", "kit-1", "command")
    bench.run(1)
    command = bench.places["command"]
    (peer,) = command.running.contacts.peers.values()
    header = BundleHeader(destination=COMMAND, flow="f").pack()
    pieces = [
        Fragment(None, Precedence.ROUTINE, number, 0, 60_000, header, 0, 0, bytes((number,)) * 30_000)
        for number in range(20)
    ]
    for piece in pieces:
        command.running.arrivals.take(piece, peer, "a", bench.now_s)
    bench.now_s += SYNC_WAIT_S
    command.running.arrivals.sweep(bench.now_s)
    bench.pump(command)
    synced = sum(end - start for part in command.disk.start(bench.now_s).parts for start, end in part.ranges)
    assert 20 * 30_000 - synced <= UNSYNCED_BYTES_MAX
    for piece in pieces:
        rest = piece._replace(offset=30_000, header=b"")
        command.running.arrivals.take(rest, peer, "a", bench.now_s)
    bench.pump(command)
    arrived = [event.record.id for event in command.delivered()]
    assert sorted(bundle.sequence for bundle in arrived) == list(range(20))
    assert all(command.disk.payload(bundle) == bytes((bundle.sequence,)) * 60_000 for bundle in arrived)


def two_posts() -> Bench:
    bench = Bench()
    for number in (1, 2):
        bench.add(f"command-{number}", role=COMMAND)
    bench.add("kit-1")
    for number, link in ((1, "a"), (2, "b")):
        bench.join(link, "kit-1", f"command-{number}", STEADY)
    bench.run(1)
    return bench


def begun_at_first(bench: Bench, precedence: Precedence, payload: bytes) -> BundleId:
    """A bundle pinned to the first post, of which nothing more gets there."""
    bench.unplug("kit-1", "b")
    header = BundleHeader(destination=COMMAND, flow="text", origin=Origin.PERSON)
    bundle = bench.submit("kit-1", payload, precedence, header)
    bench.run(0.005)
    begun = bench.places["kit-1"].running.custody.bundles[bundle]
    assert begun.peer is not None
    assert begun.peer.node_id == "command-1"
    bench.crash("command-1")
    bench.plug("kit-1", "b")
    return bundle


@pytest.mark.parametrize(("precedence", "within_s"), [(Precedence.FLASH, 5.0), (Precedence.ROUTINE, LEAVE_S + 12.0)])
def test_what_was_begun_towards_a_dead_post_goes_to_another(precedence: Precedence, within_s: float) -> None:
    bench = two_posts()
    bundle = begun_at_first(bench, precedence, bytes(50_000))
    bench.run(within_s)
    assert [event.record.id for event in bench.places["command-2"].delivered()] == [bundle]


def test_a_short_outage_moves_no_picture() -> None:
    bench = two_posts()
    bundle = begun_at_first(bench, Precedence.ROUTINE, bytes(50_000))
    bench.run(LEAVE_S / 2)
    bench.start("command-1")
    bench.run(20)
    assert [event.record.id for event in bench.places["command-1"].delivered()] == [bundle]
    assert bench.places["command-2"].delivered() == []
