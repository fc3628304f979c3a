"""What becomes of bundles on the way: superseded, copied, refused, asked for again, resumed."""

from dataclasses import replace

import pytest

from edge_agent.core.arrivals import PARTIALS_MAX, RETRY_DROPPED_S, RETRY_FULL_S, Arrivals
from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, FlowOrder, Precedence
from edge_agent.core.custody import Custody
from edge_agent.core.effects import BundleClosed, BundleRefused, BundlesForwarded, Done, EraseReason, Persist
from edge_agent.core.errors import RefusalReason
from edge_agent.core.outgoing import Outgoing
from tests.core.bench import DATAGRAM, STREAM, Bench, Flight

POSITION = BundleHeader(destination=COMMAND, flow="position", order=FlowOrder.LATEST, key="unit-1")
SLOW = replace(STREAM, rate_bps=20_000.0, mtu_bytes=256)


def two_nodes(*links: str, **settings: int) -> Bench:
    bench = Bench()
    bench.add("command", role="command", **settings)
    bench.add("kit-1")
    for link in links or ("a",):
        bench.join(link, "kit-1", "command")
    bench.run(1)
    return bench


def arrived(bench: Bench) -> list[bytes | None]:
    return [event.payload for event in bench.places["command"].delivered()]


def closed(bench: Bench) -> list[BundleClosed]:
    return [event for event in bench.places["kit-1"].events if isinstance(event, BundleClosed)]


def cut(bench: Bench) -> None:
    """Nothing passes, and nobody is told."""
    bench.passes = lambda flight: False


def mend(bench: Bench) -> None:
    bench.passes = lambda flight: True


def test_only_the_newest_position_waits_out_an_outage() -> None:
    bench = two_nodes()
    bench.unplug("kit-1", "a")
    for number in range(50):
        bench.submit("kit-1", bytes((number,)), Precedence.PRIORITY, POSITION)
    bench.submit("kit-1", b"other", Precedence.PRIORITY, replace(POSITION, key="unit-2"))
    assert len(closed(bench)) == 49
    assert {event.reason for event in closed(bench)} == {EraseReason.SUPERSEDED}
    bench.plug("kit-1", "a")
    bench.run(3)
    assert sorted(filter(None, arrived(bench))) == [bytes((49,)), b"other"]


def test_a_position_that_has_left_is_not_superseded_until_it_is_lost() -> None:
    bench = two_nodes()
    cut(bench)
    first = bench.submit("kit-1", b"first", Precedence.PRIORITY, POSITION)
    bench.run(0.001)
    bench.submit("kit-1", b"second", Precedence.PRIORITY, POSITION)
    assert closed(bench) == [], "it may be arriving"
    bench.run(5)
    assert [event.bundle for event in closed(bench)] == [first], "it was lost as a whole, and a newer one is there"
    mend(bench)
    bench.run(5)
    assert arrived(bench) == [b"second"]


def test_superseding_what_has_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: begun or not, the older one goes."""
    monkeypatch.setattr(Outgoing, "is_begun", property(lambda self: False))
    bench = two_nodes()
    cut(bench)
    bench.submit("kit-1", b"first", Precedence.PRIORITY, POSITION)
    bench.run(0.001)
    bench.submit("kit-1", b"second", Precedence.PRIORITY, POSITION)
    assert closed(bench) != []


def test_flash_leaves_on_two_links_at_once_and_arrives_once() -> None:
    bench = two_nodes("a", "b", "c")
    began = len(bench.history)
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.submit("kit-1", b"not urgent", Precedence.PRIORITY)
    first = {flight.link for flight in bench.history[began:] if flight.t_s == bench.now_s}
    assert len(first) == 2
    bench.run(2)
    assert sorted(filter(None, arrived(bench))) == [b"not urgent", b"sos"]


def test_an_order_to_withdraw_leaves_on_all_links_at_once_and_arrives_once() -> None:
    bench = two_nodes("a", "b", "c", "d")
    began = len(bench.history)
    bench.submit("kit-1", b"withdraw", Precedence.FLASH, BundleHeader(destination=COMMAND, flow="withdraw"))
    bench.submit("kit-1", b"not urgent", Precedence.PRIORITY)
    first = {flight.link for flight in bench.history[began:] if flight.t_s == bench.now_s}
    assert first == {"a", "b", "c", "d"}
    bench.run(2)
    assert sorted(filter(None, arrived(bench))) == [b"not urgent", b"withdraw"]
    large = sum(len(flight.frame) > 60 for flight in bench.history[began:] if flight.sender == "kit-1")
    assert large <= 5, "one copy a link"


@pytest.mark.parametrize("dead", ["a", "b"])
def test_a_silent_death_of_either_link_does_not_delay_flash(dead: str) -> None:
    bench = two_nodes("a", "b")
    bench.passes = lambda flight: flight.link != dead
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(0.011)
    assert arrived(bench) == [b"sos"]


def test_one_copy_only_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: no second copy; on one of two links FLASH dies with it."""
    takes = Outgoing.take

    def once(self: Outgoing, link: str, start: int, end: int, *, wants_copies: int, fate: str = "") -> None:
        takes(self, link, start, end, wants_copies=1)

    monkeypatch.setattr(Outgoing, "take", once)
    late = []
    for dead in ("a", "b"):
        bench = two_nodes("a", "b")
        bench.passes = lambda flight, dead=dead: flight.link != dead  # type: ignore[misc]  # bound now
        bench.submit("kit-1", b"sos", Precedence.FLASH)
        bench.run(0.011)
        late.append(arrived(bench) == [])
    assert any(late)


def test_a_full_store_refuses_before_the_first_byte_and_takes_it_later() -> None:
    bench = two_nodes()
    command = bench.places["command"]
    command.running.set_free_bytes(0)
    bench.submit("kit-1", bytes(100_000))
    bench.run(2)
    refusals = [event for event in bench.places["kit-1"].events if isinstance(event, BundleRefused)]
    assert {(event.reason, event.peer) for event in refusals} == {(RefusalReason.STORE_FULL, "command")}
    assert arrived(bench) == []
    bench.run(RETRY_FULL_S / 2)
    assert sum(len(flight.frame) for flight in bench.history if flight.sender == "kit-1") < 5_000, "the word stops it"
    command.running.set_free_bytes(1 << 40)
    bench.run(3)
    assert arrived(bench) == [None], "a large one is read from the store, and the word of room ends the waiting"


def test_a_small_store_is_not_kept_free_for_calls_that_may_come() -> None:
    """Of the smallest store that a configuration allows, its quota of 10 MB, ROUTINE gets what ROUTINE may have."""
    bench = two_nodes(store_quota_bytes=10_000_000)
    bench.places["command"].running.set_free_bytes(9_000_000 - 2_000_000)
    for _ in range(20):
        bench.submit("kit-1", bytes(90_000))
    bench.run(10)
    assert len(arrived(bench)) == 20
    assert not any(isinstance(event, BundleRefused) for event in bench.places["kit-1"].events)


def test_a_refused_bundle_does_not_keep_the_window_from_others() -> None:
    """The store has room for small ones only, and the window says so; the large one that was refused waits alone."""
    bench = two_nodes(receive_window_bytes=300_000)
    bench.places["command"].running.set_free_bytes((8 << 20) + 100_000)
    bench.submit("kit-1", bytes(290_000))
    bench.run(2)
    for number in range(20):
        bench.submit("kit-1", bytes((number,)) * 1000)
    bench.run(5)
    assert len(arrived(bench)) == 20


def test_a_bundle_longer_than_the_window_goes_alone() -> None:
    """The window bounds what is open at once; it is not the longest bundle."""
    bench = two_nodes(receive_window_bytes=100_000)
    bench.submit("kit-1", bytes(250_000))
    bench.run(10)
    assert arrived(bench) == [None]


def test_a_large_bundle_under_way_leaves_the_window_to_others() -> None:
    """It takes of the window what of it can be in the memory of its peer; else nothing would go beside it for long."""
    bench = Bench()
    bench.add("command", role="command", receive_window_bytes=300_000)
    bench.add("kit-1")
    bench.join("a", "kit-1", "command", limits=replace(STREAM, rate_bps=1e6, rate_is_ceiling=True))
    bench.run(1)
    bench.submit("kit-1", bytes(2_000_000))
    bench.run(3)
    assert arrived(bench) == []
    for number in range(20):
        bench.submit("kit-1", bytes((number,)) * 100, Precedence.PRIORITY)
    bench.run(2)
    assert len(arrived(bench)) == 20
    room = bench.places["command"].running.arrivals.room
    assert room.reserved_bytes == 0, "what the store has booked was booked twice"
    bench.run(20)
    assert len(arrived(bench)) == 21


def test_the_window_bounds_what_is_open_at_once() -> None:
    bench = two_nodes(receive_window_bytes=100_000)
    command = bench.places["command"].running
    most = 0
    for _ in range(40):
        bench.submit("kit-1", bytes(9000))
    for _ in range(200):
        bench.run(0.05)
        most = max(most, command.arrivals.room.reserved_bytes)
    assert len(arrived(bench)) == 40
    assert 9000 <= most <= 100_000


def fragments(number: int, precedence: Precedence) -> Fragment:
    header = BundleHeader(destination=COMMAND, flow="f").pack()
    return Fragment(None, precedence, number, 0, 60_000, header, 0, 0, bytes(10))


def test_partials_are_bounded_and_the_lowest_and_oldest_goes_first() -> None:
    bench = two_nodes()
    command = bench.places["command"]
    (peer,) = command.running.contacts.peers.values()
    arrivals: Arrivals = command.running.arrivals
    arrivals.take(fragments(0, Precedence.FLASH), peer, "a", bench.now_s)
    for number in range(PARTIALS_MAX + 5):
        arrivals.take(fragments(number, Precedence.ROUTINE), peer, "a", bench.now_s + number)
    assert len(arrivals._partials) == PARTIALS_MAX
    left = {(bundle.precedence, bundle.sequence) for bundle in arrivals._partials}
    assert (Precedence.FLASH, 0) in left
    assert left.isdisjoint({(Precedence.ROUTINE, number) for number in range(6)})
    assert command.drops()["refused_partial_dropped"] == 6
    assert arrivals.room.reserved_bytes == 60_000 * PARTIALS_MAX


@pytest.mark.slow
def test_bundles_interleaved_beyond_every_bound_arrive_nevertheless() -> None:
    """A hundred bundles whose fragments come in turns: what is dropped is refused, and goes again when it may."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    # Of a link that brings two megabytes before a word of refusal is back nothing is gained by refusing.
    bench.join("a", "kit-1", "command", replace(DATAGRAM, rate_is_ceiling=True))
    for number in range(100):
        header = BundleHeader(destination=COMMAND, flow=f"flow-{number}")  # flows share by bytes, so all are open
        bench.submit("kit-1", bytes((number,)) * 20_000, Precedence.ROUTINE, header)
    bench.run(60 + 5 * RETRY_DROPPED_S)
    command = bench.places["command"]
    payloads = [command.disk.payload(event.record.id) for event in command.delivered()]  # some waited in a file
    assert sorted(payload[0] for payload in payloads if payload) == list(range(100))


def test_a_lost_word_of_custody_is_asked_for_and_the_bundle_not_sent_again() -> None:
    bench = two_nodes()
    arrives = len(bench.history)

    def loses_the_word(flight: Flight) -> bool:
        if flight.sender == "command" and not lost and len(flight.frame) > 35:
            lost.append(flight)
            return False
        return True

    lost: list[Flight] = []
    bench.passes = loses_the_word
    bundle = bench.submit("kit-1", bytes(3000))
    bench.run(20)
    kit = bench.places["kit-1"]
    assert lost, "the word was on its way"
    assert [event.bundles for event in kit.events if isinstance(event, BundlesForwarded)] == [(bundle,)]
    sent = sum(len(flight.frame) for flight in bench.history[arrives:] if flight.sender == "kit-1")
    assert sent < 4500, "three thousand bytes once, and small questions"
    assert len(arrived(bench)) == 1


def test_custody_ends_even_if_the_receiver_forgot_to_say_so() -> None:
    """A word of custody that never was: the sender asks with one byte of what it knows stored, or with all."""
    bench = two_nodes()
    told = bench.places["command"].running.contacts.peers["kit-1"]
    bench.submit("kit-1", bytes(3000))
    bench.run(0.0101)
    told.custody.clear()
    bench.run(20)
    assert bench.places["kit-1"].running.custody.bundles == {}
    assert len(arrived(bench)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("who", ["command", "kit-1"])
def test_a_large_bundle_goes_on_where_it_was_after_a_crash(who: str) -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("a", "kit-1", "command", replace(DATAGRAM, rate_is_ceiling=True))
    payload = bytes(range(256)) * 4000
    bench.submit("kit-1", payload)
    bench.run(4)
    parts = bench.places["command"].disk.start(bench.now_s).parts
    stored = sum(end - start for start, end in parts[0].ranges)
    assert 300_000 < stored < 800_000
    bench.crash(who)
    bench.start(who)
    before = sum(len(flight.frame) for flight in bench.history)
    bench.run(20)
    (delivered,) = bench.places["command"].delivered()
    assert bench.places["command"].disk.payload(delivered.record.id) == payload
    again = sum(len(flight.frame) for flight in bench.history) - before
    assert again < (len(payload) - stored) * 1.2 + 100_000, "what was synced is not sent again"


def accepted_numbers(bench: Bench) -> list[int]:
    return [int.from_bytes(payload[:4], "big") for payload in arrived(bench) if payload is not None]


BACKLOG = 1500


def with_backlog(order: FlowOrder, window: int) -> Bench:
    """A kit with far more waiting than it may hold in memory, started anew from its disk."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1", window_entries=window)
    header = BundleHeader(destination=COMMAND, flow="f", order=order)
    for number in range(BACKLOG):
        bench.submit("kit-1", number.to_bytes(4, "big") * 5, Precedence.ROUTINE, header)
    bench.crash("kit-1")
    bench.start("kit-1")
    return bench


@pytest.mark.parametrize("order", [FlowOrder.FIFO, FlowOrder.NEWEST])
def test_a_backlog_is_served_in_its_order_through_a_window(order: FlowOrder) -> None:
    window = 200
    bench = with_backlog(order, window)
    custody: Custody = bench.places["kit-1"].running.custody
    assert len(custody.bundles) <= 2 * window + 512, "what is in memory does not grow with what waits"
    bench.join("a", "kit-1", "command")
    most = 0
    for _ in range(60):
        bench.run(0.1)
        most = max(most, len(custody.bundles))
    assert most <= 2 * window + 512
    numbers = accepted_numbers(bench)
    assert numbers == sorted(numbers, reverse=order is FlowOrder.NEWEST)
    assert len(numbers) == BACKLOG


def test_a_new_bundle_of_a_fifo_flow_waits_behind_rows_not_yet_loaded() -> None:
    bench = with_backlog(FlowOrder.FIFO, 100)
    bench.submit("kit-1", (99_999).to_bytes(4, "big"), Precedence.ROUTINE, BundleHeader(destination=COMMAND, flow="f"))
    bench.join("a", "kit-1", "command")
    bench.run(8)
    assert accepted_numbers(bench) == [*range(BACKLOG), 99_999]


def test_memory_does_not_grow_with_what_waits() -> None:
    """Bundles handed in while no link is there: beyond the window only counters know of them."""
    bench = Bench()
    bench.add("kit-1", window_entries=100)
    for number in range(1000):
        bench.submit("kit-1", number.to_bytes(4, "big"))
    node = bench.places["kit-1"].running
    assert len(node.custody.bundles) == 100
    (queue,) = node.report(bench.now_s).queues
    assert (queue.bundles, queue.payload_bytes) == (1000, 4000)


def test_accepted_follows_the_disk_only() -> None:
    bench = two_nodes()
    bench.disk_works = lambda place, effect: not isinstance(effect, Persist)
    bundle: BundleId = bench.submit("kit-1", b"not on disk")
    bench.run(2)
    assert bench.places["kit-1"].events[-1:] != [bundle]
    assert arrived(bench) == []
    assert bench.places["kit-1"].running.custody.bundles == {}


def test_an_arrival_that_the_disk_refuses_is_refused_to_the_sender() -> None:
    bench = two_nodes()
    bench.places["command"].disk.failing = RefusalReason.STORE_FAILED
    bench.submit("kit-1", b"text")
    bench.run(2)
    refusals = [event.reason for event in bench.places["kit-1"].events if isinstance(event, BundleRefused)]
    assert refusals == [RefusalReason.STORE_FAILED]
    assert arrived(bench) == []
    bench.places["command"].disk.failing = None
    bench.run(RETRY_FULL_S)
    assert arrived(bench) == [b"text"]


def test_a_bundle_on_its_way_to_disk_gives_no_link_work() -> None:
    """A busy node is called often: a call that gives no link anything must not cost a look at all of them."""
    bench = two_nodes()
    node, looks = bench.places["kit-1"].running, 0
    find_wakeup = node._find_wakeup

    def counted() -> float | None:
        nonlocal looks
        looks += 1
        return find_wakeup()

    node._find_wakeup = counted  # type: ignore[method-assign]  # counts, and answers as before
    assert node.next_wakeup() is not None
    seen = looks
    bundle = node.submit(replace(POSITION, order=FlowOrder.FIFO), Precedence.ROUTINE, b"here", bench.now_s)
    effect = node.poll_effect()
    assert isinstance(effect, Persist)
    assert effect.bundle == bundle
    assert (node.poll_transmit(bench.now_s), node.next_wakeup() is not None, looks) == (None, True, seen)
    node.complete(effect.effect_id, Done(), bench.now_s)
    assert node.poll_transmit(bench.now_s) is not None
