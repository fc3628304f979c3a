"""Nothing lower starts on a link while FLASH waits for it, and no frame escapes the budget of a day."""

from dataclasses import replace

import pytest

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.codec import Fragment, read_blocks
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkPolicy
from tests.core.bench import STREAM, Bench, Flight

NARROW = replace(STREAM, rate_bps=20_000.0, mtu_bytes=128)


def fragments(flights: list[Flight]) -> list[Fragment]:
    """The pieces of bundles that left, in their order."""
    found = []
    for flight in flights:
        envelope = read_envelope(flight.frame)
        if envelope.frame_class is FrameClass.DATA:
            found += [each for each in read_blocks(flight.frame[envelope.length :]) if isinstance(each, Fragment)]
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


def test_hints_count_against_the_budget_of_a_day() -> None:
    """They go to whoever sends a frame of a forgotten session, so a peer could spend the budget with them."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("sat", "kit-1", "command", policy=LinkPolicy(metered=True, bytes_per_day=100_000))
    bench.run(3)
    link = bench.places["command"].running.contacts.links["sat"]
    before_bytes, began = link.day_bytes, len(bench.history)
    bench.inject("command", "sat", bytes((4, 9, 9, 9, 9, 0)) + bytes(40), source="stranger")
    sent = [flight for flight in bench.history[began:] if flight.sender == "command"]
    assert len(sent) == 1
    assert link.day_bytes - before_bytes == len(sent[0].frame) + 28
