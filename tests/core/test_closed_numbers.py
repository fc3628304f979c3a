"""Closed numbers: bounded in memory, and what is forgotten there is still given out once."""

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core import closed_numbers, words
from edge_agent.core.blocks import Control, Fragment
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.closed_numbers import ASK_RANGES, QUESTION_KIND, RANGES_MAX, ClosedNumbers
from edge_agent.core.closing import ANSWER_BYTES_MAX, CLOSED_KIND, answer, read_answer
from edge_agent.core.codec import put_control
from edge_agent.core.effects import OpenNumbers, Restored
from edge_agent.core.intervals import IntervalSet
from tests.core.bench import Bench
from tests.core.test_burst import arrived, numbers, satellite

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
    assert len(command.running.arrivals.closed) == RANGES_MAX
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


def kit_with_two_destinations() -> Bench:
    """Every second number of kit-1 is for command, the others wait for kit-2, which is away."""
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("kit-1")
    bench.join("a", "kit-1", "command")
    bench.run(1)
    return bench


def submit_by_turns(bench: Bench, count: int, header: BundleHeader) -> None:
    for _ in range(count):
        bench.submit("kit-1", b"abc")
        bench.submit("kit-1", b"abc", header=header)
        bench.run(0.1)


def ranges_at_command(bench: Bench) -> int:
    return len(bench.places["command"].running.arrivals.closed)


def count_words(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each question and answer that is put into a frame from now on."""
    sent: list[int] = []

    def counted(out: bytearray, fields: list[Any]) -> None:  # Any: as put_control has it
        before = len(out)
        put_control(out, fields)
        if fields[0] in (QUESTION_KIND, CLOSED_KIND):
            sent.append(len(out) - before)

    monkeypatch.setattr(words, "put_control", counted)
    return sent


def test_holes_that_stay_holes_are_closed_by_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = count_words(monkeypatch)
    bench = kit_with_two_destinations()
    gone = BundleHeader(destination="kit-2", flow="g", lifetime_s=1.0)
    submit_by_turns(bench, 100, gone)
    assert ranges_at_command(bench) == 100
    assert sent == [], "so few holes are worth no word"
    submit_by_turns(bench, 900, gone)
    assert ranges_at_command(bench) <= 2 * ASK_RANGES
    assert len(bench.places["command"].delivered()) == 1000
    assert sum(sent) < 1000, "less than a byte a bundle"
    assert all(size <= ANSWER_BYTES_MAX for size in sent)


def test_holes_that_may_be_filled_are_asked_for_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = count_words(monkeypatch)
    bench = kit_with_two_destinations()
    submit_by_turns(bench, 500, BundleHeader(destination="kit-2", flow="g"))
    assert ranges_at_command(bench) == 500, "each of them still waits for kit-2"
    assert len(sent) < 40


def test_numbers_wasted_by_kills_cost_nothing_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_numbers, "ASK_RANGES", 8)
    monkeypatch.setattr(closed_numbers, "ASK_WAIT_S", 0.5)
    bench = kit_with_two_destinations()
    for _ in range(40):
        bench.submit("kit-1", b"abc")
        bench.run(1)
        bench.crash("kit-1")
        bench.start("kit-1")
    bench.run(5)
    assert len(bench.places["command"].delivered()) == 40
    assert ranges_at_command(bench) <= 9


def test_nothing_is_asked_on_a_burst_link(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = count_words(monkeypatch)
    monkeypatch.setattr(closed_numbers, "ASK_RANGES", 1)
    bench = satellite()
    for _ in range(3):
        bench.submit("kit-1", b"sos", Precedence.FLASH)
        bench.submit("kit-1", b"sos", Precedence.FLASH, BundleHeader(destination="kit-2", flow="g"))
        bench.run(60)
    assert len(arrived(bench)) == 3
    assert len(numbers(bench, "command")) == 3, "one word of custody each"
    assert sent == []
    (peer,) = bench.places["command"].running.contacts.peers.values()
    assert not peer.replies


def test_an_older_program_is_asked_ever_more_rarely() -> None:
    closed = ClosedNumbers(())
    key = ("kit-1", 7, Precedence.ROUTINE)
    for number in range(0, 4 * ASK_RANGES, 2):
        closed.close(key, number, number + 1)
    asked = [now_s for now_s in range(100_000) if closed.question(key, float(now_s)) is not None]
    assert asked[:5] == [0, 10, 30, 70, 150]
    assert asked[-1] - asked[-2] == 3600


def test_a_part_of_what_never_will_be_whole_goes() -> None:
    bench = kit_with_two_destinations()
    command = bench.places["command"]
    (peer,) = command.running.contacts.peers.values()
    header = BundleHeader(destination=COMMAND, flow="f").pack()
    arrivals = command.running.arrivals
    arrivals.take(Fragment(None, Precedence.ROUTINE, 5, 0, 300, header, 0, 0, bytes(100)), peer, "a", bench.now_s)
    assert arrivals.joining() == 1
    fields = [CLOSED_KIND, peer.incarnation, int(Precedence.ROUTINE), 0, 9]
    command.running.intake.closing.take_closed(peer, Control(fields))
    bench.pump(command)
    assert arrivals.joining() == 0
    assert arrivals.room.reserved_bytes == 0
    assert arrivals.is_seen(BundleId("kit-1", peer.incarnation, Precedence.ROUTINE, 5))


SPANS = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=40)


@given(start=st.integers(0, 1 << 41), steps=SPANS)
def test_what_an_answer_leaves_out_is_not_closed(start: int, steps: list[int]) -> None:
    """Closed and open ones by turns; what does not fit is not spoken of."""
    ends = list(accumulate(steps, initial=start))
    spans = IntervalSet(zip(ends[1::2], ends[2::2], strict=False))
    found = OpenNumbers(ends[-1], tuple(spans))
    block = answer((1 << 64) - 1, Precedence.DEFERRED, start, found)
    written = bytearray()
    put_control(written, block.fields)
    assert len(written) <= ANSWER_BYTES_MAX + 4
    incarnation, precedence, told, stop, closed = read_answer(block.fields)
    assert (incarnation, precedence, told) == ((1 << 64) - 1, Precedence.DEFERRED, start)
    assert start < stop <= ends[-1] or not closed
    expected = IntervalSet([(start, stop)])
    for left, right in spans:
        expected.remove(left, right)
    assert closed == expected
