"""What is asked of one bundle by name while it waits, in memory or as a row: cancel it, settle it, pull it forward."""

from dataclasses import replace

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, FlowOrder, Precedence
from edge_agent.core.effects import BundleClosed, EraseReason
from tests.core.bench import STREAM, Bench

WINDOW = 20
BACKLOG = 100


def kit_with_backlog(order: FlowOrder = FlowOrder.FIFO) -> tuple[Bench, list[BundleId]]:
    """A kit without links that holds ``WINDOW`` of ``BACKLOG`` bundles in memory."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1", window_entries=WINDOW)
    header = BundleHeader(destination=COMMAND, flow="f", order=order)
    bundles = [
        bench.submit("kit-1", number.to_bytes(4, "big"), Precedence.ROUTINE, header) for number in range(BACKLOG)
    ]
    return bench, bundles


def closed(bench: Bench) -> list[tuple[BundleId, EraseReason]]:
    return [(each.bundle, each.reason) for each in bench.places["kit-1"].events if isinstance(each, BundleClosed)]


def arrived_numbers(bench: Bench) -> list[int]:
    return [int.from_bytes(event.payload or b"", "big") for event in bench.places["command"].delivered()]


@pytest.mark.parametrize("at", [0, BACKLOG - 1], ids=["in memory", "row only"])
def test_a_cancelled_bundle_never_leaves(at: int) -> None:
    bench, bundles = kit_with_backlog()
    kit = bench.places["kit-1"]
    assert kit.running.cancel(bundles[at], bench.now_s)
    bench.pump(kit)
    assert closed(bench) == [(bundles[at], EraseReason.CANCELLED)]
    assert bundles[at] not in kit.disk
    (queue,) = kit.running.report(bench.now_s).queues
    assert (queue.bundles, queue.payload_bytes) == (BACKLOG - 1, 4 * (BACKLOG - 1))
    bench.join("a", "kit-1", "command")
    bench.run(5)
    assert arrived_numbers(bench) == [number for number in range(BACKLOG) if number != at]
    assert kit.running.report(bench.now_s).queues == ()


@pytest.mark.parametrize("at", [0, BACKLOG - 1], ids=["in memory", "row only"])
def test_a_receipt_settles_a_copy_that_still_waits(at: int) -> None:
    bench, bundles = kit_with_backlog()
    kit = bench.places["kit-1"]
    assert kit.running.settle(bundles[at], bench.now_s)
    bench.pump(kit)
    assert closed(bench) == [(bundles[at], EraseReason.SETTLED)]
    assert bundles[at] not in kit.disk
    kit.running.settle(bundles[at], bench.now_s)
    bench.pump(kit)
    assert len(closed(bench)) == 1, "it waits here no more"


def half_sent() -> tuple[Bench, BundleId]:
    """A slow link in the middle of a bundle."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("a", "kit-1", "command", replace(STREAM, rate_bps=20_000.0, mtu_bytes=256))
    bench.run(1)
    bundle = bench.submit("kit-1", bytes(20_000))
    bench.run(0.5)
    assert bench.places["command"].running.arrivals.joining() == 1
    return bench, bundle


@pytest.mark.parametrize("verb", ["cancel", "settle"])
def test_what_is_half_sent_ends_and_the_receiver_forgets_its_part(verb: str) -> None:
    bench, first = half_sent()
    kit, command = bench.places["kit-1"], bench.places["command"]
    assert getattr(kit.running, verb)(first, bench.now_s)
    bench.pump(kit)
    second = bench.submit("kit-1", b"second")
    bench.run(5)
    assert [event.record.id for event in command.delivered()] == [second]
    assert command.running.arrivals.joining() == 0
    assert command.running.arrivals.room.reserved_bytes == 0
    assert command.drops()["partial_abandoned"] == 1
    assert kit.running.contacts.peers["command"].opened_bytes == 0


def test_what_has_left_as_a_whole_is_not_cancelled_for_it_may_have_arrived() -> None:
    bench, bundle = half_sent()
    kit = bench.places["kit-1"]
    bench.passes = lambda flight: flight.sender == "kit-1"  # it arrives, and no word of it comes back
    bench.run(0.1)
    small = bench.submit("kit-1", b"small", Precedence.IMMEDIATE)
    bench.run(0.3)
    assert small in [event.record.id for event in bench.places["command"].delivered()]
    assert not kit.running.cancel(small, bench.now_s)
    bench.pump(kit)
    assert closed(bench) == []
    assert bundle in kit.disk


@pytest.mark.parametrize("order", [FlowOrder.FIFO, FlowOrder.NEWEST])
@pytest.mark.parametrize("at", [0, 10, BACKLOG - 1])
def test_a_bundle_pulled_forward_is_the_next_of_its_class(order: FlowOrder, at: int) -> None:
    bench, bundles = kit_with_backlog(order)
    kit = bench.places["kit-1"]
    for number in range(5):  # another flow, whose turn it would be
        header = BundleHeader(destination=COMMAND, flow="other")
        bench.submit("kit-1", (1000 + number).to_bytes(4, "big"), Precedence.ROUTINE, header)
    assert kit.running.promote(bundles[at], bench.now_s)
    bench.pump(kit)
    bench.join("a", "kit-1", "command")
    bench.run(8)
    numbers = arrived_numbers(bench)
    assert numbers[0] == at
    assert sorted(numbers) == [*range(BACKLOG), *range(1000, 1005)]


def test_a_name_that_is_not_here_is_answered_with_no() -> None:
    bench, bundles = kit_with_backlog()
    node = bench.places["kit-1"].running
    unknown = bundles[0]._replace(source="kit-9")
    for verb in (node.cancel, node.settle, node.promote):
        assert not verb(unknown, bench.now_s)
    assert node.settle(bundles[0]._replace(sequence=9999), bench.now_s), "it may be a row: the store is asked"
    bench.pump(bench.places["kit-1"])
    assert closed(bench) == []
