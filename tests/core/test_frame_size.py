"""No frame is longer than its link takes, whatever waits; and whatever waits leaves, on the narrowest link too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st

from edge_agent.core import words
from edge_agent.core.blocks import Refused, StoredPartly
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.draft import Draft
from edge_agent.core.errors import RefusalReason
from edge_agent.core.peer import Peer, Reply
from edge_agent.core.words import WordWriter
from tests.core.bench import DATAGRAM, STREAM, Bench
from tests.core.blocks import NUMBERS, PRECEDENCES, SOURCES, upward_ranges
from tests.core.planted import finds, holds

LONG_ID = "kit-with-the-longest-name-allowe"  # 32 characters
MTUS = st.one_of(st.just(128), st.integers(128, 200), st.integers(201, 1500))
REFUSALS = st.builds(
    Refused,
    SOURCES,
    PRECEDENCES,
    NUMBERS,
    st.sampled_from(list(RefusalReason)),
    st.floats(0, 86_400).map(lambda s: round(s, 1)),
)
PARTS = st.builds(StoredPartly, SOURCES, PRECEDENCES, NUMBERS, upward_ranges(64))
CUSTODY = st.tuples(SOURCES, PRECEDENCES, NUMBERS)
HEADERS = st.builds(
    BundleHeader,
    destination=st.just(COMMAND),
    flow=st.text("abc", min_size=1, max_size=64),
    key=st.text("abc", max_size=64),
    operation_id=st.binary(max_size=16),
    created_at_ms=st.integers(0, (1 << 48) - 1),
)
BUNDLES = st.tuples(HEADERS, PRECEDENCES, st.integers(0, 3000))
WAITING = (
    MTUS,
    st.booleans(),
    st.lists(CUSTODY, max_size=60),
    st.lists(st.one_of(REFUSALS, PARTS), max_size=20),
    st.lists(BUNDLES, max_size=5),
    st.lists(st.integers(1, 4), max_size=40),
)


def peer_of(bench: Bench, node_id: str) -> Peer:
    (peer,) = bench.places[node_id].running.contacts.peers.values()
    return peer


def busy_bench(mtu_bytes: int, *, is_line: bool) -> Bench:
    """Two nodes with the longest names on a slow link; ``Bench`` itself fails at a frame above the MTU."""
    bench = Bench()
    bench.add(LONG_ID)
    bench.add("z" + LONG_ID[1:], role="command")
    limits = replace(STREAM if is_line else DATAGRAM, mtu_bytes=mtu_bytes, rate_bps=20_000.0)
    bench.join("line", LONG_ID, "z" + LONG_ID[1:], limits, far_listens=not is_line)
    bench.run(3)
    return bench


def nothing_is_too_long_and_all_leaves(
    mtu_bytes: int,
    is_line: bool,
    custody: list[tuple[Any, Precedence, int]],
    replies: list[Refused | StoredPartly],
    bundles: list[tuple[BundleHeader, Precedence, int]],
    gaps: list[int],
) -> None:
    """Custody of strangers' bundles, refusals, ranges, bundles with long headers, and a receive space full of gaps."""
    bench = busy_bench(mtu_bytes, is_line=is_line)
    node = bench.places[LONG_ID].running
    (contact,) = node.contacts.contacts
    peer = peer_of(bench, LONG_ID)
    for source, precedence, sequence in custody:
        named = (peer.node_id, peer.incarnation) if source is None else source
        peer.owe_custody(BundleId(*named, precedence, sequence), bench.now_s)
    for reply in replies:
        peer.owe(Reply(reply, is_urgent=True), bench.now_s)
    session = contact.session
    assert session is not None
    number = session.space.highest
    for gap in gaps:
        number += gap
        session.space.record(number, bench.now_s + number)
    session.space.want_ack(bench.now_s)
    for header, precedence, length in bundles:
        bench.submit(LONG_ID, bytes(length), precedence, header)
    node.scheduler.version += 1
    node._touch()
    began = len(bench.history)
    bench.run(300)  # the peer's next numbers count as seen here: its words are lost until it is beyond the gaps
    assert (list(peer.custody), list(peer.replies)) == ([], [])
    assert sum(flight.sender == LONG_ID for flight in bench.history[began:]) < 700, "frames with nothing in them"
    left = [outgoing.record.header for outgoing in node.custody.bundles.values()]
    longest = mtu_bytes - contact.frame_overhead_bytes
    assert all(len(header.pack()) + 31 > longest for header in left), "a header that fits leaves"


def test_no_frame_is_too_long_and_whatever_waits_leaves() -> None:
    holds(nothing_is_too_long_and_all_leaves, *WAITING, examples=10)


@pytest.mark.slow
def test_the_same_often() -> None:
    holds(nothing_is_too_long_and_all_leaves, *WAITING, examples=80)


def _window_without_looking(self: WordWriter, peer: Peer, draft: Draft) -> None:
    words.write_window(draft.body, self.window(peer))


def _ranges_by_estimate(block: words.RangesBlock, room_bytes: int) -> tuple[words.RangesBlock, bytearray] | None:
    return _FITTING(block, room_bytes + 10)


_FITTING = words.fit_ranges
_PUT_REPLY = WordWriter._put_reply


def _only_with_much_room(self: WordWriter, peer: Peer, draft: Draft, reply: Reply) -> bool:
    draft.is_wanted = True
    return draft.room_bytes >= 120 and _PUT_REPLY(self, peer, draft, reply)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name", "fault"),
    [
        (WordWriter, "put_window", _window_without_looking),
        (words, "fit_ranges", _ranges_by_estimate),
        (WordWriter, "_put_reply", _only_with_much_room),
    ],
)
def test_planted_faults_are_found(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, fault: Callable[..., object]
) -> None:
    """A WINDOW put without looking, ranges by an estimate, and refusals that never fit a short frame."""
    monkeypatch.setattr(place, name, fault)
    finds(nothing_is_too_long_and_all_leaves, *WAITING, examples=200)


def test_a_header_longer_than_the_link_takes_holds_up_nobody() -> None:
    bench = busy_bench(128, is_line=True)
    long = BundleHeader(destination=COMMAND, flow="f" * 64, key="k" * 64)
    bench.submit(LONG_ID, b"cannot leave", Precedence.ROUTINE, long)
    bench.submit(LONG_ID, b"can")
    bench.run(5)
    command = bench.places["z" + LONG_ID[1:]]
    assert [event.payload for event in command.delivered()] == [b"can"]
    assert bench.places[LONG_ID].drops()["header_beyond_mtu"] > 0
