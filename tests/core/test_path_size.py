"""A path that swallows long frames without a word: shorter ones are found, and longer ones again once they pass."""

from random import Random

import pytest

from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.path_size import EPISODES, STEPS_BYTES, TRIAL_FIRST_S
from tests.core.bench import Bench, Flight

MTU_BYTES = 1400
LIMITS = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=MTU_BYTES, overhead_bytes=28, rate_bps=2e6)


def joined(limits: LinkLimits = LIMITS) -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("a", "kit-1", "command", limits)
    bench.run(1)
    return bench


def swallow(bench: Bench, longest_bytes: int) -> None:
    bench.passes = lambda flight: len(flight.frame) <= longest_bytes


def longest_sent(bench: Bench, since: int) -> int:
    return max(len(flight.frame) for flight in bench.history[since:] if flight.sender == "kit-1")


def limit_of(bench: Bench) -> int:
    [contact] = bench.places["kit-1"].running.contacts.contacts
    return contact.mtu_bytes


@pytest.mark.parametrize(("carried_bytes", "found_bytes"), [(1350, 1200), (1200, 1200), (1150, 548), (548, 548)])
@pytest.mark.parametrize("payload_bytes", [3_000, 60_000])
def test_bulk_passes_within_seconds_in_frames_the_path_carries(
    carried_bytes: int, found_bytes: int, payload_bytes: int
) -> None:
    bench = joined()
    swallow(bench, carried_bytes)
    bench.submit("kit-1", bytes(payload_bytes))
    bench.run(30)
    assert len(bench.places["command"].delivered()) == 1
    assert limit_of(bench) == found_bytes
    assert bench.places["kit-1"].drops()["frame_size_lowered"] == STEPS_BYTES.index(found_bytes) + 1


def test_an_sos_is_not_held_up_by_frames_that_are_swallowed() -> None:
    bench = joined()
    swallow(bench, 1250)
    bench.submit("kit-1", bytes(60_000))
    bench.run(0.2)
    began_s = bench.now_s
    bench.submit("kit-1", bytes(150), Precedence.FLASH)
    while not any(each.record.id.precedence is Precedence.FLASH for each in bench.places["command"].delivered()):
        bench.run(0.05)
        assert bench.now_s < began_s + 3.0


def test_longer_frames_are_tried_one_at_a_time_and_taken_when_they_pass() -> None:
    bench = joined()
    swallow(bench, 1250)
    bench.submit("kit-1", bytes(60_000))
    bench.run(10)
    assert limit_of(bench) == 1200
    began = len(bench.history)
    for _ in range(60):
        bench.submit("kit-1", bytes(20_000))
        bench.run(2)
    tried = [each for each in bench.history[began:] if each.sender == "kit-1" and len(each.frame) > 1200]
    assert 1 <= len(tried) <= 3
    assert limit_of(bench) == 1200
    bench.passes = lambda flight: True
    for _ in range(200):
        bench.submit("kit-1", bytes(20_000))
        bench.run(2)
    assert limit_of(bench) == MTU_BYTES
    began = len(bench.history)
    bench.submit("kit-1", bytes(20_000))
    bench.run(TRIAL_FIRST_S)
    assert longest_sent(bench, began) > 1350
    assert len(bench.places["command"].delivered()) == 262


def test_losses_and_holes_of_a_link_shorten_nothing() -> None:
    bench, rng = joined(), Random(1)

    def passes(flight: Flight) -> bool:
        return int(bench.now_s) % 10 != 7 and rng.random() > 0.15

    bench.passes = passes
    for _ in range(30):
        bench.submit("kit-1", bytes(60_000))
        bench.run(2)
    assert limit_of(bench) == MTU_BYTES
    assert EPISODES > 1


@pytest.mark.parametrize("shape", [LinkShape.STREAM, LinkShape.TUNNELLED])
def test_other_shapes_carry_what_they_say(shape: LinkShape) -> None:
    bench = joined(LinkLimits(shape=shape, mtu_bytes=MTU_BYTES, rate_bps=2e6))
    swallow(bench, 1250)
    bench.submit("kit-1", bytes(60_000))
    bench.run(30)
    assert limit_of(bench) == MTU_BYTES
