"""Order after an outage: urgent first, then the newest, then history in the order it happened, and nobody starves."""

from dataclasses import replace

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, Origin, Precedence
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.queue import LIVE_S, Queue
from tests.core.bench import FREE, STREAM, Bench

POSITION = BundleHeader(destination=COMMAND, flow="position", order=FlowOrder.NEWEST)
READING = BundleHeader(destination=COMMAND, flow="reading")
OUTAGE_S = 400
SLOW = replace(STREAM, rate_bps=40_000.0, rate_is_ceiling=True, mtu_bytes=256)
URGENT_ONLY = LinkPolicy(metered=True, precedences=frozenset((Precedence.FLASH, Precedence.PRIORITY)))


def after_an_outage(
    policy: LinkPolicy = FREE, *, is_restarted: bool = False, position_bytes: int = 30, **settings: int
) -> Bench:
    """A kit that told its position every second while no link was there, beside readings; the link comes back now."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1", **settings)
    for number in range(OUTAGE_S):
        bench.submit("kit-1", number.to_bytes(4, "big") + bytes(position_bytes - 4), Precedence.PRIORITY, POSITION)
        bench.submit("kit-1", number.to_bytes(4, "big") + bytes(96), Precedence.ROUTINE, READING)
        bench.run(1)
    bench.submit("kit-1", bytes(50), Precedence.IMMEDIATE)
    bench.submit("kit-1", bytes(50), Precedence.FLASH)
    if is_restarted:
        bench.crash("kit-1")
        bench.start("kit-1")
    bench.join("a", "kit-1", "command", SLOW, policy=policy)
    return bench


def arrived(bench: Bench) -> list[tuple[Precedence, int]]:
    events = bench.places["command"].delivered()
    return [(event.record.id.precedence, int.from_bytes((event.payload or b"")[:4], "big")) for event in events]


def positions(bench: Bench) -> list[int]:
    return [number for precedence, number in arrived(bench) if precedence is Precedence.PRIORITY]


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("window", [4096, 50])
def test_positions_come_newest_first_and_the_track_as_it_happened(is_restarted: bool, window: int) -> None:
    bench = after_an_outage(is_restarted=is_restarted, window_entries=window)
    bench.run(60)
    order = [precedence for precedence, _ in arrived(bench)]
    assert order[0] is Precedence.FLASH
    assert Precedence.IMMEDIATE in order[:3]
    got = positions(bench)
    assert sorted(got) == list(range(OUTAGE_S))
    assert got[0] == OUTAGE_S - 1, "where the unit is"
    live = sum(number >= OUTAGE_S - LIVE_S + 2 for number in got[: int(LIVE_S)])
    assert live >= min(window, LIVE_S) * 0.6, "what is live goes first"
    history = [number for number in got if number < OUTAGE_S - LIVE_S - 2]
    assert history == sorted(history), "where it was, in the order it happened"


def test_history_waits_for_what_is_live_in_every_class_and_has_its_share() -> None:
    bench = after_an_outage(position_bytes=100)  # as long as a reading, so that none fills what a reading leaves free
    bench.run(60)
    order = arrived(bench)
    readings = [at for at, (precedence, _) in enumerate(order) if precedence is Precedence.ROUTINE]
    history = [
        at for at, (precedence, number) in enumerate(order) if precedence is Precedence.PRIORITY and number < 300
    ]
    assert history[0] < readings[-1], "a share of the link is its own"
    before_last_reading = sum(at < readings[-1] for at in history)
    assert before_last_reading < 0.5 * len(history), "and no more than that while readings wait"


def test_a_track_served_backwards_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the tests above: everything is live, as if no flow had a history."""
    monkeypatch.setattr(Queue, "with_past", Queue)
    bench = after_an_outage()
    bench.run(60)
    history = [number for number in positions(bench) if number < OUTAGE_S - LIVE_S - 2]
    assert history != sorted(history)


def test_history_goes_where_its_own_class_may_go() -> None:
    bench = after_an_outage(URGENT_ONLY)
    bench.run(60)
    assert sorted(positions(bench)) == list(range(OUTAGE_S))
    assert {precedence for precedence, _ in arrived(bench)} == {Precedence.FLASH, Precedence.PRIORITY}


@pytest.mark.parametrize(
    ("order", "origin", "precedence", "has_history"),
    [
        (FlowOrder.NEWEST, Origin.MACHINE, Precedence.PRIORITY, True),
        (FlowOrder.NEWEST, Origin.PERSON, Precedence.PRIORITY, False),
        (FlowOrder.NEWEST, Origin.MACHINE, Precedence.IMMEDIATE, False),
        (FlowOrder.FIFO, Origin.MACHINE, Precedence.PRIORITY, False),
        (FlowOrder.LATEST, Origin.MACHINE, Precedence.PRIORITY, False),
    ],
)
def test_only_what_machines_tell_newest_first_has_a_history(
    order: FlowOrder, origin: Origin, precedence: Precedence, has_history: bool
) -> None:
    bench = Bench()
    place = bench.add("kit-1")
    for _ in range(3):
        header = BundleHeader(destination=COMMAND, flow="f", order=order, origin=origin)
        bench.submit("kit-1", b"x", precedence, header)
    bench.run(LIVE_S + 5)
    queued = [each.is_past for each in place.running.custody.bundles.values()]
    assert any(queued) is has_history
