"""The store gave up waiting bundles for room: the core stops sending them, tells it, and counts them."""

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.effects import BundleClosed, EraseReason, Evicted, QueueKey
from link_sim.nodes.disk import MemoryDisk
from tests.core.bench import Bench, Place

FLOW = "text"
PAYLOAD_BYTES = 200


def kit_alone(**settings: int) -> tuple[Bench, Place]:
    """A kit with its link down and a command post behind it."""
    bench = Bench()
    bench.add("command", role=COMMAND)
    kit = bench.add("kit-1", **settings)
    return bench, kit


def given_up(bundle: BundleId) -> Evicted:
    return Evicted(bundle, QueueKey(COMMAND, bundle.precedence, bundle.source, FLOW), PAYLOAD_BYTES)


def lose_row(disk: MemoryDisk, bundle: BundleId) -> None:
    """What the store did before it told so."""
    row = disk._rows.pop(bundle)
    disk._queues[given_up(bundle).queue].erase(row)


def evict(bench: Bench, place: Place, *bundles: BundleId) -> None:
    for bundle in bundles:
        lose_row(place.disk, bundle)
    place.running.evict([given_up(bundle) for bundle in bundles], bench.now_s)
    bench.pump(place)


def waiting(bench: Bench, place: Place) -> list[tuple[int, int]]:
    """Bundles and bytes of each queue."""
    return [(queue.bundles, queue.payload_bytes) for queue in place.running.report(bench.now_s).queues]


def test_evicted_bundles_are_told_counted_and_never_sent() -> None:
    bench, kit = kit_alone()
    header = BundleHeader(destination=COMMAND, flow=FLOW)
    bundles = [bench.submit("kit-1", bytes((n,)) * PAYLOAD_BYTES, Precedence.ROUTINE, header) for n in range(5)]
    effects = len(kit.effects)
    evict(bench, kit, bundles[1], bundles[3])
    closed = [event for event in kit.events if isinstance(event, BundleClosed)]
    assert closed == [BundleClosed(bundles[1], EraseReason.EVICTED), BundleClosed(bundles[3], EraseReason.EVICTED)]
    assert waiting(bench, kit) == [(3, 3 * PAYLOAD_BYTES)]
    assert len(kit.effects) == effects, "the rows are gone already: nothing to erase"
    assert kit.drops()["evicted"] == 2
    bench.join("a", "kit-1", "command")
    bench.run(5)
    arrived = [event.record.id for event in bench.places["command"].delivered()]
    assert arrived == [bundles[0], bundles[2], bundles[4]]


def test_an_evicted_bundle_that_is_only_a_row_leaves_the_counts() -> None:
    bench, kit = kit_alone(window_entries=8)
    header = BundleHeader(destination=COMMAND, flow=FLOW)
    bundles = [bench.submit("kit-1", bytes(PAYLOAD_BYTES), Precedence.ROUTINE, header) for _ in range(12)]
    assert bundles[11] not in kit.running.custody.bundles
    evict(bench, kit, bundles[11])
    assert waiting(bench, kit) == [(11, 11 * PAYLOAD_BYTES)]
    bench.join("a", "kit-1", "command")
    bench.run(10)
    assert [event.record.id for event in bench.places["command"].delivered()] == bundles[:11]
    assert waiting(bench, kit) == []


def test_an_eviction_that_crosses_an_end_of_custody_counts_once() -> None:
    """The core ended a bundle, and the store's word of having evicted it was on its way."""
    bench, kit = kit_alone()
    header = BundleHeader(destination=COMMAND, flow=FLOW)
    bundles = [bench.submit("kit-1", bytes(PAYLOAD_BYTES), Precedence.ROUTINE, header) for _ in range(2)]
    bench.disk_works = lambda place, effect: False
    kit.running.cancel(bundles[0], bench.now_s)
    bench.pump(kit)
    kit.running.evict([given_up(bundles[0])], bench.now_s)
    bench.pump(kit)
    closed = [event for event in kit.events if isinstance(event, BundleClosed)]
    assert closed == [BundleClosed(bundles[0], EraseReason.CANCELLED)]
    assert waiting(bench, kit) == [(1, PAYLOAD_BYTES)]
