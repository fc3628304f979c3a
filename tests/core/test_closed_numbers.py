"""Closed numbers: bounded in memory, and what is forgotten there is still given out once."""

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.closed_numbers import RANGES_MAX, ClosedNumbers
from edge_agent.core.effects import Restored
from edge_agent.core.intervals import IntervalSet
from tests.core.bench import Bench

NUMBERS = 3 * RANGES_MAX


def every_other(bench: Bench, numbers: range) -> None:
    """Bundles of kit-1 with these numbers reach command past the link."""
    command = bench.places["command"]
    (peer,) = command.running.contacts.peers.values()
    header = BundleHeader(destination=COMMAND, flow="f").pack()
    for number in numbers:
        piece = Fragment(None, Precedence.ROUTINE, number, 0, 3, header, 0, 0, b"abc")
        command.running.arrivals.take(piece, peer, "a", bench.now_s)
        bench.pump(command)


def test_a_source_full_of_holes_is_remembered_in_bounds_and_nothing_comes_twice() -> None:
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("kit-1")
    bench.join("a", "kit-1", "command")
    bench.run(1)
    command = bench.places["command"]
    numbers = range(0, 2 * NUMBERS, 2)
    every_other(bench, numbers)
    assert len(command.running.arrivals._closed) == RANGES_MAX
    every_other(bench, numbers)
    assert [event.record.id.sequence for event in command.delivered()] == list(numbers)
    assert command.running.arrivals.room.reserved_bytes == 0


def test_what_the_store_gives_at_a_start_is_cut_to_the_newest() -> None:
    seen = IntervalSet((number, number + 1) for number in range(0, 2 * NUMBERS, 2))
    restored = Restored(incarnation=1, session_number=1, seen=((("kit-1", 7, Precedence.ROUTINE), seen),))
    closed = ClosedNumbers(restored.seen)
    assert len(closed) == RANGES_MAX
    assert len(seen) == NUMBERS, "the store's own set is left alone"
    assert BundleId("kit-1", 7, Precedence.ROUTINE, 2 * NUMBERS - 2) in closed
    assert BundleId("kit-1", 7, Precedence.ROUTINE, 0) not in closed
