"""Room for what arrives: shares of a slow disk, one reserve, and a FLASH that waits for none of it."""

import pytest

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.partial import Partial
from edge_agent.core.peer import FIRST_WINDOW_BYTES, STALE_S, Peer
from edge_agent.core.receive_room import (
    ACTIVE_S,
    LARGE_ROOM_BYTES,
    PEER_LEAST_BYTES,
    RESERVE_BYTES,
    TOTAL_LEAST_BYTES,
    WARM_BYTES,
    ReceiveRoom,
)
from edge_agent.core.report import NodeSettings

MEGABYTE_S = 8e6
SETTINGS = NodeSettings(node_id="command")


def room_with(peers: int) -> tuple[ReceiveRoom, list[Peer]]:
    """A post that syncs a megabyte a second, and peers that are well under way."""
    room = ReceiveRoom(SETTINGS)
    room.set_store_rate(MEGABYTE_S)
    those = [Peer(f"kit-{number}") for number in range(peers)]
    for peer in those:
        room.note_fed(peer, WARM_BYTES, 0.0)
    return room, those


@pytest.mark.parametrize("peers", [1, 7, 500])
def test_two_seconds_of_the_disk_are_shared_among_those_that_send(peers: int) -> None:
    room, those = room_with(peers)
    told = [room.window_bytes(peer) for peer in those]
    assert len(set(told)) == 1
    assert told[0] == max(PEER_LEAST_BYTES, 2_000_000 // peers)
    assert sum(told) <= max(2_000_000, peers * PEER_LEAST_BYTES)
    assert room.reserve_bytes() * peers <= max(RESERVE_BYTES, 65_536 * peers)


def test_the_window_follows_the_disk_between_its_bounds() -> None:
    room, (peer,) = room_with(1)
    found = []
    for bytes_s in (1e3, 1e6, 1e12):
        room.set_store_rate(bytes_s * 8)
        found.append(room.window_bytes(peer))
    assert found == [TOTAL_LEAST_BYTES, 2_000_000, SETTINGS.receive_window_bytes]


def test_a_peer_begins_with_little_and_a_silent_one_leaves_its_share() -> None:
    room, (one, other) = room_with(2)
    assert room.window_bytes(Peer("new")) == FIRST_WINDOW_BYTES
    room.note_fed(one, 1, ACTIVE_S)
    room.sweep(ACTIVE_S + 1)
    assert room.window_bytes(one) == 2_000_000
    room.take(other, 10)
    room.note_fed(other, 1, 0.0)
    room.sweep(ACTIVE_S + 1)
    assert room.window_bytes(one) == 1_000_000, "what it began and is not stored keeps its place"


def test_memory_is_bounded_whoever_sends() -> None:
    """However many begin at once: what is declared is counted before its first byte."""
    room, those = room_with(500)
    taken = 0
    for peer in those * 40:
        if not room.lacks_memory(50_000, Precedence.ROUTINE):
            room.take(peer, 50_000)
            taken += 50_000
    assert SETTINGS.receive_window_bytes - 50_000 < taken <= SETTINGS.receive_window_bytes
    assert not room.lacks_memory(50_000, Precedence.IMMEDIATE)
    assert room.retry_s() == 60.0


def test_a_large_bundle_takes_two_runs_of_memory_and_all_of_its_length_of_the_store() -> None:
    room, (peer,) = room_with(1)
    taken = room.take(peer, 1 << 30)
    assert (taken, room.reserved_bytes, peer.receiving_bytes) == (LARGE_ROOM_BYTES, 1 << 30, 1 << 30)
    assert not room.lacks_memory(50_000, Precedence.ROUTINE), "others go on beside it"
    room.give_back(Partial(BundleId("kit-1", 1, Precedence.ROUTINE, 0), 1 << 30, peer, 0.0, 0.0, taken))
    assert (room.memory_bytes, room.reserved_bytes, peer.receiving_bytes) == (0, 0, 0)


def test_flash_needs_no_window_and_others_do() -> None:
    peer = Peer("command", window_bytes=0, reserve_bytes=0)
    assert peer.may_open(Precedence.FLASH, 5_000)
    assert not peer.may_open(Precedence.FLASH, 100_000)
    assert not peer.may_open(Precedence.IMMEDIATE, 5_000)


def test_a_window_not_heard_of_for_long_counts_as_the_first_one() -> None:
    assert STALE_S > ACTIVE_S
    peer = Peer("command", window_bytes=64 << 20, reserve_bytes=0, opened_bytes=1)
    assert peer.may_open(Precedence.ROUTINE, 1 << 20)
    peer.is_stale = True
    assert not peer.may_open(Precedence.ROUTINE, 1 << 20)


def test_a_bundle_goes_on_as_fast_as_the_disk_behind_it() -> None:
    slow, fast = Peer("slow", window_bytes=4_000), Peer("fast", window_bytes=64 << 20)
    assert slow.may_go_on(100_000)
    assert not slow.may_go_on(140_000)
    assert fast.may_go_on(10_000_000)
