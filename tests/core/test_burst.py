"""Burst links: last resort, silent, priced; no number under a key twice, no frame taken twice, whatever crashes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import BundleHeader, Precedence
from edge_agent.core.burst_numbers import LEASE_NUMBERS, WINDOW_NUMBERS, BurstWindows
from edge_agent.core.burst_sender import RESEND_S
from edge_agent.core.effects import BundlesForwarded, LeaseNumbers, LinkState, SyncWindow
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from tests.core.bench import Bench
from tests.properties.recording_keys import Recorder

BURST = LinkLimits(shape=LinkShape.BURST, mtu_bytes=140, overhead_bytes=0, rate_bps=400.0)
PRICED = LinkPolicy(metered=True)


def satellite(bench: Bench | None = None, *, policy: LinkPolicy = PRICED) -> Bench:
    """A kit whose only way is a burst link."""
    bench = bench or Bench()
    bench.add("command", role="command", number=1)
    bench.add("kit-1", number=7)
    bench.join("beidou", "kit-1", "command", BURST, policy=policy)
    bench.run(1)
    return bench


def numbers(bench: Bench, sender: str = "kit-1") -> list[int]:
    """Numbers of the burst frames a node has sent."""
    envelopes = [read_envelope(each.frame) for each in bench.history if each.sender == sender]
    return [each.number for each in envelopes if each.frame_class is FrameClass.BURST]


def arrived(bench: Bench) -> list[bytes | None]:
    return [event.payload for event in bench.places["command"].delivered()]


def forwarded(bench: Bench) -> list[BundlesForwarded]:
    return [event for event in bench.places["kit-1"].events if isinstance(event, BundlesForwarded)]


def test_a_call_for_help_arrives_once_and_custody_comes_back_the_same_way() -> None:
    bench = satellite()
    sos = bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    assert arrived(bench) == [b"sos"]
    assert [(each.bundles, each.via) for each in forwarded(bench)] == [((sos,), ("beidou",))]
    assert len(numbers(bench)) == 1
    assert len(numbers(bench, "command")) == 1


def test_what_does_not_fit_one_frame_goes_in_several_and_joins() -> None:
    bench = satellite()
    bench.submit("kit-1", bytes(range(200)), Precedence.FLASH)
    bench.run(60)
    assert arrived(bench) == [bytes(range(200))]
    assert 3 <= len(numbers(bench)) <= 6
    assert all(len(each.frame) <= BURST.mtu_bytes for each in bench.history)


def test_an_order_reaches_a_kit_that_was_heard_on_the_burst_link() -> None:
    bench = satellite()
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    order = BundleHeader(destination="kit-1", flow="order")
    bench.submit("command", b"stay", Precedence.IMMEDIATE, order)
    bench.run(60)
    assert [event.payload for event in bench.places["kit-1"].delivered()] == [b"stay"]


def test_an_idle_burst_link_is_silent_and_up() -> None:
    bench = satellite()
    bench.run(24 * 3600)
    assert bench.history == []
    (report,) = bench.places["kit-1"].running.report(bench.now_s).links
    assert (report.state, report.reason) == (LinkState.UP, "not watched")


def test_its_policy_holds_and_one_nobody_described_carries_no_routine() -> None:
    bench = satellite(policy=LinkPolicy())
    bench.submit("kit-1", b"reading")
    bench.submit("kit-1", b"position", Precedence.PRIORITY)
    bench.run(600)
    assert arrived(bench) == [b"position"]


def test_a_working_link_takes_all_but_the_second_copy_of_flash() -> None:
    bench = satellite()
    bench.join("4g", "kit-1", "command")
    bench.run(2)
    bench.submit("kit-1", b"position", Precedence.PRIORITY)
    bench.run(5)
    assert numbers(bench) == []
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(5)
    assert arrived(bench) == [b"position", b"sos"]
    assert len(numbers(bench)) <= 1


def test_what_left_in_vain_goes_by_the_link_that_comes_back() -> None:
    bench = satellite()
    bench.passes = lambda flight: flight.link != "beidou"
    bench.submit("kit-1", b"report", Precedence.PRIORITY)
    bench.run(30)
    assert len(numbers(bench)) == 1
    bench.join("4g", "kit-1", "command")
    bench.run(10)
    assert arrived(bench) == [b"report"]
    assert len(forwarded(bench)) == 1


def test_only_urgent_bytes_are_paid_for_again_and_ever_more_rarely() -> None:
    bench = satellite()
    bench.passes = lambda flight: False
    bench.submit("kit-1", b"report", Precedence.PRIORITY)
    bench.run(10 * RESEND_S)
    assert len(numbers(bench)) == 1
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(10)
    sent = [len(numbers(bench))]
    for _ in range(4):
        bench.run(2 * RESEND_S)
        sent.append(len(numbers(bench)))
    assert sent == [2, 3, 4, 4, 5]
    bench.passes = lambda flight: True
    bench.run(16 * RESEND_S)
    assert arrived(bench) == [b"sos"]


def test_a_recorded_frame_is_taken_once_also_by_the_next_process() -> None:
    bench = satellite()
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    (recorded,) = [each.frame for each in bench.history if each.sender == "kit-1"]
    bench.inject("command", "beidou", recorded, "kit-1")
    assert bench.places["command"].drops()["frame_replayed"] == 1
    bench.crash("command")
    bench.start("command")
    bench.inject("command", "beidou", recorded, "kit-1")
    assert bench.places["command"].drops()["frame_replayed"] == 1
    assert arrived(bench) == [b"sos"]


def test_nothing_is_acted_on_before_the_window_is_on_disk() -> None:
    bench = satellite()
    bench.disk_works = lambda place, effect: (
        not (place.settings.node_id == "command" and isinstance(effect, SyncWindow))
    )
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    assert arrived(bench) == []
    bench.crash("command")
    bench.disk_works = lambda place, effect: True
    bench.start("command")
    bench.run(2 * RESEND_S)
    assert arrived(bench) == [b"sos"]


def test_nothing_is_sent_before_its_number_is_leased_on_disk() -> None:
    bench = Bench()
    bench.disk_works = lambda place, effect: not isinstance(effect, LeaseNumbers)
    satellite(bench)
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    assert bench.history == []


STARTS = 90


@pytest.mark.parametrize("mtu_bytes", [140, 340])
def test_no_number_comes_twice_under_a_key_over_crashes_of_both(
    mtu_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    bench = Bench(make_keys=recorder.make_keys)
    bench.add("command", role="command", number=1)
    bench.add("kit-1", number=7)
    bench.join("sms", "kit-1", "command", replace(BURST, mtu_bytes=mtu_bytes, rate_bps=1e5), policy=PRICED)
    for start in range(STARTS):
        for number in range(start % 7):
            bench.submit("kit-1", bytes((start, number)) * 20, Precedence.IMMEDIATE)
            bench.run(0.003 * (number % 3))
        victim = ("kit-1", "command")[start % 2]
        bench.crash(victim)
        bench.start(victim)
    bench.run(4 * RESEND_S)
    assert recorder.doubled == []
    assert len(recorder.sealed) > 200
    payloads = arrived(bench)
    assert len(payloads) == len(set(payloads))
    assert len(payloads) == sum(start % 7 for start in range(STARTS))


def test_a_copied_store_uses_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk gives a copy a new incarnation (tests/disk); the key is born of it."""
    recorder = Recorder(monkeypatch)
    keys = recorder.make_keys()
    header = b"header"
    for incarnation in (1, 2):
        cipher = keys.burst(7, incarnation, 0)
        assert cipher is not None
        cipher.seal(5, header, b"body")
    assert recorder.doubled == []
    assert recorder.keys == 2


def test_a_start_goes_on_above_its_lease() -> None:
    bench = satellite()
    bench.submit("kit-1", b"one", Precedence.FLASH)
    bench.run(30)
    bench.crash("kit-1")
    bench.start("kit-1")
    bench.submit("kit-1", b"two", Precedence.FLASH)
    bench.run(30)
    assert numbers(bench) == [0, LEASE_NUMBERS]
    assert arrived(bench) == [b"one", b"two"]


def test_a_stranger_and_a_frame_on_another_kind_of_link_are_counted() -> None:
    bench = satellite()
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    frame = next(each.frame for each in bench.history if each.sender == "kit-1")
    forged = bytearray(frame)
    forged[-1] ^= 1
    forged[14] += 1  # another number, else it would be a replay
    bench.inject("command", "beidou", bytes(forged), "stranger")
    assert bench.places["command"].drops()["frame_not_authentic"] == 1
    bench.inject("kit-1", "beidou", frame)
    assert bench.places["kit-1"].drops()["burst_from_self"] == 1
    bench.join("4g", "kit-1", "command")
    bench.inject("command", "4g", frame, "kit-1")
    assert bench.places["command"].drops()["burst_unwanted"] == 1


@given(st.lists(st.integers(0, 200), max_size=80))
def test_a_window_takes_each_number_once_and_nothing_too_old(taken: list[int]) -> None:
    windows, seen, highest = BurstWindows(()), set[int](), -1
    for number in taken:
        is_new = number not in seen and number > highest - WINDOW_NUMBERS
        assert windows.is_replay(7, 1, number) is not is_new
        if is_new:
            window = windows.take(7, 1, number)
            seen.add(number)
            highest = max(highest, number)
            assert window.highest == highest
            windows = BurstWindows((window,))  # what is synced says it all
