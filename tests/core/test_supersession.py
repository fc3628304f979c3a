"""Which bundle of a key is the newer, and what becomes of the older one when a part of it has left."""

from dataclasses import replace
from itertools import pairwise

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import BundleClosed, EraseReason
from edge_agent.core.supersession import Fate, fate_of, is_newer
from tests.core.bench import STREAM, Bench
from tests.core.sending import outgoing

HEADER = BundleHeader(destination=COMMAND, flow="report", order=FlowOrder.LATEST, key="unit-1")
SLOW = replace(STREAM, rate_bps=8_000.0, rate_is_ceiling=True, mtu_bytes=256)


def record(sequence: int, incarnation: int = 1, as_of_s: float = 0.0, age_s: float = 0.0) -> BundleRecord:
    bundle = BundleId("kit-1", incarnation, Precedence.PRIORITY, sequence)
    return BundleRecord(id=bundle, header=HEADER, payload_bytes=100, as_of_s=as_of_s, age_low_s=age_s, age_high_s=age_s)


def test_numbers_tell_inside_one_incarnation_and_ages_between_two() -> None:
    assert is_newer(record(2), record(1))
    assert not is_newer(record(1, as_of_s=50.0), record(2))
    of_new_store, of_old_store = record(0, incarnation=2, as_of_s=100.0), record(900, incarnation=1, age_s=3600.0)
    assert is_newer(of_new_store, of_old_store), "a new store counts from 0 again"
    assert not is_newer(of_old_store, of_new_store)


@pytest.mark.parametrize(
    ("sent_bytes", "newer_bytes", "follows_abandoned", "fate"),
    [
        (0, 100, False, Fate.REPLACED),
        (0, 100, True, Fate.REPLACED),
        (500, 100, False, Fate.ABANDONED),
        (500, 100, True, Fate.FINISHED),
        (500, 500, False, Fate.FINISHED),
        (950, 100, False, Fate.FINISHED),
        (1000, 0, False, Fate.FINISHED),
    ],
)
def test_what_is_begun_is_finished_unless_the_newer_one_is_complete_earlier(
    sent_bytes: int, newer_bytes: int, follows_abandoned: bool, fate: Fate
) -> None:
    bench = Bench()
    bench.add("kit-1")
    peer = bench.places["kit-1"].running.contacts.peer("command")
    older = outgoing(0, 1000)
    older.follows_abandoned = follows_abandoned
    if sent_bytes:
        older.peer = peer
        older.take("a", 0, sent_bytes, wants_copies=1)
    newer = record(1)._replace(payload_bytes=newer_bytes)
    assert fate_of(older, newer, header_bytes=30) is fate


def on_a_slow_link() -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("a", "kit-1", "command", SLOW)
    bench.run(1)
    return bench


def test_of_bundles_that_come_faster_than_the_link_something_always_arrives() -> None:
    """One a second where the long ones take three: abandoning pays again and again, and is done every other time."""
    bench = on_a_slow_link()
    arrivals_s = []
    for number in range(60):
        bench.submit("kit-1", bytes(3000 if number % 3 == 0 else 1200), Precedence.PRIORITY, HEADER)
        before = len(bench.places["command"].delivered())
        bench.run(1)
        if len(bench.places["command"].delivered()) > before:
            arrivals_s.append(number)
    gaps = [late - early for early, late in pairwise(arrivals_s)]
    assert len(arrivals_s) >= 12, arrivals_s
    assert max(gaps) <= 8, "of two in a row only one is abandoned"
    drops = bench.places["kit-1"].drops()
    assert drops["abandoned"] >= 3, "the short one was complete earlier from scratch"
    assert bench.places["command"].running.arrivals.joining() <= 1


def test_giving_up_whatever_is_begun_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the newer one always wins, and nothing ever arrives."""
    monkeypatch.setattr(
        "edge_agent.core.custody.fate_of",
        lambda older, newer, header_bytes: Fate.ABANDONED if older.is_begun else Fate.REPLACED,
    )
    bench = on_a_slow_link()
    for number in range(20):
        bench.submit("kit-1", bytes(3000 if number % 3 == 0 else 1200), Precedence.PRIORITY, HEADER)
        bench.run(1)
    assert bench.places["command"].delivered() == []


def test_keys_take_turns_however_often_one_of_them_changes() -> None:
    """Ten keys on a link that carries a few a second; one of them changes at every chance."""
    bench = on_a_slow_link()
    for number in range(150):
        bench.submit("kit-1", bytes(200), Precedence.PRIORITY, replace(HEADER, key="busy"))
        if number % 5 == 0:
            key = f"unit-{number // 5 % 10}"
            bench.submit("kit-1", bytes(200), Precedence.PRIORITY, replace(HEADER, key=key))
        bench.run(0.2)
    served = [event.record.header.key for event in bench.places["command"].delivered()]
    assert {f"unit-{number}" for number in range(10)} <= set(served)
    assert served.count("busy") >= 10


def test_what_is_lost_as_a_whole_leaves_its_promise_to_the_newer_one() -> None:
    bench = on_a_slow_link()
    bench.submit("kit-1", bytes(3000), Precedence.PRIORITY, HEADER)
    bench.run(0.5)
    second = bench.submit("kit-1", bytes(100), Precedence.PRIORITY, HEADER)
    kit = bench.places["kit-1"]
    assert kit.running.custody.bundles[second].follows_abandoned
    closed = [event for event in kit.events if isinstance(event, BundleClosed)]
    assert [event.reason for event in closed] == [EraseReason.SUPERSEDED]
    kit.running.custody.bundles[second].peer = kit.running.contacts.peers["command"]
    third = bench.submit("kit-1", bytes(10), Precedence.PRIORITY, HEADER)
    assert second in kit.running.custody.bundles, "it was promised to be finished"
    assert third in kit.running.custody.bundles
