"""Slow lines use the suite with short tags: chosen by who answers, known by who asked, replaced when spent."""

from dataclasses import replace

import pytest

from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.hello import Hello
from edge_agent.core.session import Session
from edge_agent.security import link_keys
from edge_agent.security.link_keys import CCM_TAG_BYTES, GCM_TAG_BYTES, Suite
from tests.core.bench import DATAGRAM, STREAM, Bench, End

SLOW = replace(STREAM, rate_bps=9600.0)
FIELDS = Hello.fields


def pair(limits: object = SLOW, *, far_listens: bool = False) -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", limits, far_listens=far_listens)  # type: ignore[arg-type]  # LinkLimits
    bench.run(2)
    return bench


def sessions(bench: Bench) -> list[Session]:
    found = [contact.session for place in bench.places.values() for contact in place.running.contacts.contacts]
    assert None not in found
    return [each for each in found if each is not None]


def suites(bench: Bench) -> set[int]:
    return {each.suite for each in sessions(bench)}


def test_a_slow_line_has_short_tags_and_no_other_link_has() -> None:
    assert suites(pair()) == {Suite.AES_256_CCM_8}
    assert {each.seal.overhead_bytes for each in sessions(pair())} == {CCM_TAG_BYTES}
    assert suites(pair(STREAM)) == {Suite.AES_256_GCM}
    assert suites(pair(DATAGRAM, far_listens=True)) == {Suite.AES_256_GCM}


@pytest.mark.parametrize(("near_bps", "far_bps"), [(9600.0, 9600.0), (9600.0, None), (None, 9600.0)])
def test_a_datagram_link_stated_to_be_slow_at_either_end_has_short_tags(
    near_bps: float | None, far_bps: float | None
) -> None:
    """A listener serves links of all kinds, and states the rate of none."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.places["command"].ends["line"] = End("kit-1", replace(DATAGRAM, rate_bps=far_bps), is_listener=True)
    bench.join("line", "kit-1", "command", replace(DATAGRAM, rate_bps=near_bps))
    bench.submit("kit-1", b"few bytes")
    bench.run(3)
    assert suites(bench) == {Suite.AES_256_CCM_8}
    assert [event.payload for event in bench.places["command"].delivered()] == [b"few bytes"]


def test_bundles_cross_under_short_tags() -> None:
    bench = pair()
    for number in range(20):
        bench.submit("kit-1", bytes((number,)) * 40)
    bench.run(10)
    delivered = [event.payload for event in bench.places["command"].delivered()]
    assert delivered == [bytes((number,)) * 40 for number in range(20)]


def test_a_program_that_does_not_know_them_gets_long_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HELLO of an earlier version: seven fields."""
    monkeypatch.setattr(Hello, "fields", lambda self: FIELDS(self)[:7])
    bench = pair()
    assert suites(bench) == {Suite.AES_256_GCM}
    assert {each.seal.overhead_bytes for each in sessions(bench)} == {GCM_TAG_BYTES}


def test_a_changed_suite_in_the_answer_opens_nothing() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    changed: list[bytes] = []

    def passes(flight: object) -> bool:
        frame: bytes = flight.frame  # type: ignore[attr-defined]  # a Flight
        if read_envelope(frame).frame_class is FrameClass.HELLO_ACK and not changed:
            at = 2  # class, one-byte id, suite
            assert frame[at] == Suite.AES_256_CCM_8
            changed.append(frame[:at] + bytes((Suite.AES_256_GCM,)) + frame[at + 1 :])
            flight.frame = changed[0]  # type: ignore[attr-defined]
        return True

    bench.passes = passes
    bench.join("line", "kit-1", "command", SLOW, far_listens=False)
    bench.submit("kit-1", b"still")
    bench.run(5)
    assert changed
    assert sum(place.drops().get("frame_not_authentic", 0) for place in bench.places.values()) == 1
    assert [event.payload for event in bench.places["command"].delivered()] == [b"still"]


def test_a_key_that_saw_too_many_forgeries_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_keys, "FAILED_OPENS_MAX", 50)
    bench = pair()
    before = sessions(bench)
    command = bench.places["command"].running.contacts.contacts[0].session
    assert command is not None
    for number in range(60):
        forged = bytes((0, command.receive_id, number)) + bytes(20)
        bench.inject("command", "line", forged)
    bench.submit("kit-1", b"sos")
    bench.run(30)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"sos"]
    assert not {id(each) for each in sessions(bench)} & {id(each) for each in before}
