"""Nothing lower starts on a link while FLASH waits for it, and no frame escapes the budget of a day."""

from dataclasses import replace

import pytest

from edge_agent.core.blocks import Brief, Control, Fragment
from edge_agent.core.brief import PROFILE_KIND, ProfileReader
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.codec import read_blocks
from edge_agent.core.effects import Failed, Fetch
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.errors import RefusalReason
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.payload_cache import PayloadCache
from tests.core.bench import STREAM, Bench, Flight

NARROW = replace(STREAM, rate_bps=20_000.0, mtu_bytes=128)


def fragments(flights: list[Flight]) -> list[Fragment]:
    """The pieces of bundles that left, in their order."""
    found: list[Fragment] = []
    profiles = ProfileReader()
    for number, flight in enumerate(flights):
        envelope = read_envelope(flight.frame)
        if envelope.frame_class not in (FrameClass.HELLO, FrameClass.DATA):
            continue
        for each in read_blocks(flight.frame[envelope.length :]):
            if isinstance(each, Control) and each.fields[0] == PROFILE_KIND:
                profiles.learn(each.fields, number)
            block = profiles.rebuild(each, number) if isinstance(each, Brief) else each
            if isinstance(block, Fragment):
                found.append(block)
    return found


@pytest.mark.parametrize("words", range(6))
def test_a_short_bundle_does_not_take_the_room_that_words_left_too_small_for_flash(words: int) -> None:
    bench = Bench(make_keys=NullKeys)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", NARROW)
    bench.run(3)
    node = bench.places["kit-1"].running
    node.set_busy("line", bench.now_s, is_busy=True)
    bench.submit("kit-1", bytes(500), Precedence.FLASH)
    bench.submit("kit-1", bytes(20), Precedence.ROUTINE)
    (peer,) = node.contacts.peers.values()
    for sequence in range(words):
        peer.owe_custody(BundleId("command", peer.incarnation, Precedence.DEFERRED, 7 * sequence), bench.now_s)
        peer.owe_custody(BundleId("stranger", 1, Precedence.DEFERRED, 7 * sequence), bench.now_s)
    began = len(bench.history)
    node.set_busy("line", bench.now_s, is_busy=False)
    bench.run(3)
    left = [each.precedence for each in fragments(bench.history[began:])]
    assert left[0] is Precedence.FLASH
    assert left[-1] is Precedence.ROUTINE
    assert left == sorted(left)


def restarted_with_flash(bundles: int) -> Bench:
    """A kit with FLASH in its store only, whose link comes up with it, and a bundle that comes right then."""
    bench = Bench(make_keys=NullKeys)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", NARROW)
    bench.run(3)
    bench.unplug("kit-1", "line")
    for number in range(bundles):
        bench.submit("kit-1", bytes(300), Precedence.FLASH, BundleHeader(destination=COMMAND, flow=f"sos-{number}"))
    bench.crash("kit-1")
    bench.history.clear()
    bench.start("kit-1")
    bench.submit("kit-1", bytes(20), Precedence.ROUTINE)
    return bench


@pytest.mark.parametrize("bundles", [1, 4, 6])
def test_flash_that_is_being_read_from_the_store_is_waited_for(bundles: int) -> None:
    bench = restarted_with_flash(bundles)
    bench.run(10)
    left = [each.precedence for each in fragments(bench.history)]
    assert left == sorted(left)
    assert left[-1] is Precedence.ROUTINE


def test_what_is_in_memory_goes_before_lower_classes_however_much_of_its_class_is_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, holds, is_slow = PayloadCache.read, PayloadCache.holds, [True]

    def unread(outgoing: Outgoing) -> bool:
        return is_slow[0] and outgoing.record.payload_bytes == 300

    monkeypatch.setattr(
        PayloadCache, "read", lambda self, each, start, end: None if unread(each) else reads(self, each, start, end)
    )
    monkeypatch.setattr(PayloadCache, "holds", lambda self, each, start: not unread(each) and holds(self, each, start))
    bench = Bench(make_keys=NullKeys)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", NARROW)
    bench.run(3)
    for _ in range(6):
        bench.submit("kit-1", bytes(300), Precedence.ROUTINE)
    bench.submit("kit-1", bytes(20), Precedence.ROUTINE)
    bench.submit("kit-1", bytes(20), Precedence.DEFERRED)
    bench.run(3)
    assert [each.precedence for each in fragments(bench.history)] == [Precedence.ROUTINE, Precedence.DEFERRED]
    is_slow[0] = False
    bench.submit("kit-1", bytes(20), Precedence.ROUTINE)
    bench.run(10)
    assert len(bench.places["command"].delivered()) == 9


def test_flash_that_cannot_be_read_holds_up_nobody() -> None:
    bench = restarted_with_flash(1)
    disk = bench.places["kit-1"].disk
    disk.execute = lambda effect: (  # type: ignore[method-assign]  # a sector that cannot be read
        Failed(RefusalReason.STORE_FAILED, "bad sector")
        if isinstance(effect, Fetch)
        else type(disk).execute(disk, effect)
    )
    bench.run(10)
    assert Precedence.ROUTINE in [each.precedence for each in fragments(bench.history)]


def test_hints_count_against_the_budget_of_a_day() -> None:
    """They go to whoever sends a frame of a forgotten session, so a peer could spend the budget with them."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("sat", "kit-1", "command", policy=LinkPolicy(metered=True, bytes_per_day=100_000))
    bench.run(3)
    link = bench.places["command"].running.contacts.links["sat"]
    before_bytes, began = link.meter.day_bytes, len(bench.history)
    bench.inject("command", "sat", bytes((4, 9, 9, 9, 9, 0)) + bytes(40), source="stranger")
    sent = [flight for flight in bench.history[began:] if flight.sender == "command"]
    assert len(sent) == 1
    assert link.meter.day_bytes - before_bytes == len(sent[0].frame) + 28
