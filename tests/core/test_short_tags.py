"""Slow links use the suite with short tags: chosen by who answers, known by who asked, replaced when spent."""

from dataclasses import replace

import pytest

from edge_agent.core.envelope import FrameClass, put_data, read_envelope
from edge_agent.core.hello import Hello
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.session import Session
from edge_agent.security import link_keys
from edge_agent.security.link_keys import CCM_TAG_BYTES, GCM_TAG_BYTES, Suite
from tests.core.bench import DATAGRAM, STREAM, Bench, End, Flight

SLOW = replace(STREAM, rate_bps=9600.0)
SLOW_UDP = replace(DATAGRAM, rate_bps=9600.0)
UNKNOWN_UDP = replace(DATAGRAM, rate_bps=None)
FIELDS = Hello.fields


def pair(limits: object = SLOW, *, far_listens: bool = False) -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", limits, far_listens=far_listens)  # type: ignore[arg-type]  # LinkLimits
    bench.run(2)
    return bench


def pair_over_udp(near: LinkLimits, far: LinkLimits) -> Bench:
    """A kit that describes its link as ``near``, and a command post that describes its listener as ``far``."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.places["command"].ends["udp"] = End("kit-1", far, is_listener=True)
    bench.join("udp", "kit-1", "command", near)
    bench.run(2)
    return bench


def forge(bench: Bench, count: int) -> None:
    """Frames under the id of the kit's session, as a stranger makes them who saw one."""
    command = bench.places["command"].running.contacts.contacts[0].session
    assert command is not None
    for number in range(count):
        body = bytes((number,)) * 24
        bench.inject("command", "udp", put_data(command.receive_id, True, number, 1) + body, "stranger")


def sessions(bench: Bench) -> list[Session]:
    found = [contact.session for place in bench.places.values() for contact in place.running.contacts.contacts]
    assert None not in found
    return [each for each in found if each is not None]


def suites(bench: Bench) -> set[int]:
    return {each.suite for each in sessions(bench)}


def test_a_slow_line_has_short_tags_and_a_fast_link_has_not() -> None:
    assert suites(pair()) == {Suite.AES_256_CCM_8}
    assert {each.seal.overhead_bytes for each in sessions(pair())} == {CCM_TAG_BYTES}
    assert suites(pair(STREAM)) == {Suite.AES_256_GCM}
    assert suites(pair(DATAGRAM, far_listens=True)) == {Suite.AES_256_GCM}
    tunnelled = replace(DATAGRAM, shape=LinkShape.TUNNELLED, rate_bps=9600.0)
    assert suites(pair(tunnelled, far_listens=True)) == {Suite.AES_256_GCM}


@pytest.mark.parametrize("near", [SLOW_UDP, DATAGRAM, UNKNOWN_UDP])
@pytest.mark.parametrize("far", [SLOW_UDP, DATAGRAM, UNKNOWN_UDP])
def test_both_ends_of_udp_agree_though_one_alone_describes_it_as_slow(near: LinkLimits, far: LinkLimits) -> None:
    bench = pair_over_udp(near, far)
    is_slow = SLOW_UDP in (near, far)
    assert suites(bench) == {Suite.AES_256_CCM_8 if is_slow else Suite.AES_256_GCM}
    bench.submit("kit-1", bytes(3000))
    bench.run(10)
    assert [event.payload for event in bench.places["command"].delivered()] == [bytes(3000)]


def test_one_listener_has_short_tags_with_the_slow_kit_alone() -> None:
    bench = pair_over_udp(SLOW_UDP, UNKNOWN_UDP)
    bench.add("kit-2")
    bench.join("udp", "kit-2", "command", DATAGRAM)
    bench.run(2)
    by_peer = {
        contact.peer.node_id: contact.session.suite
        for contact in bench.places["command"].running.contacts.contacts
        if contact.peer is not None and contact.session is not None
    }
    assert by_peer == {"kit-1": Suite.AES_256_CCM_8, "kit-2": Suite.AES_256_GCM}


def test_a_link_described_anew_has_other_tags_from_the_next_session_on() -> None:
    bench = pair_over_udp(SLOW_UDP, UNKNOWN_UDP)
    bench.places["kit-1"].ends["udp"].limits = DATAGRAM
    bench.crash("kit-1")
    bench.start("kit-1")
    bench.run(5)
    assert suites(bench) == {Suite.AES_256_GCM}


def test_frames_forged_from_elsewhere_are_counted_and_move_nothing() -> None:
    bench = pair_over_udp(SLOW_UDP, UNKNOWN_UDP)
    command = bench.places["command"]
    address = command.running.contacts.contacts[0].address
    sent_before = len(bench.history)
    forge(bench, 40)
    assert command.drops()["frame_not_authentic"] + command.drops().get("frame_replayed", 0) == 40
    assert command.drops()["frame_not_authentic"] >= 30
    assert command.running.contacts.contacts[0].address == address
    assert [flight for flight in bench.history[sent_before:] if flight.to == "stranger"] == []
    assert command.delivered() == []


def test_a_kit_under_short_tags_is_followed_to_a_new_address() -> None:
    bench = pair_over_udp(SLOW_UDP, UNKNOWN_UDP)
    before = sessions(bench)

    def moved(flight: Flight) -> bool:
        flight.source = "new-address" if flight.sender == "kit-1" else None
        return flight.sender == "kit-1" or flight.to == "new-address"  # the old address is dead

    bench.passes = moved
    bench.submit("kit-1", b"from elsewhere")
    bench.run(5)
    assert bench.places["command"].running.contacts.contacts[0].address == "new-address"
    assert [event.payload for event in bench.places["command"].delivered()] == [b"from elsewhere"]
    assert {id(each) for each in sessions(bench)} == {id(each) for each in before}, "no new handshake"


def test_a_stranger_changes_neither_what_a_hello_asks_for_nor_what_the_answer_chose() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    changed: set[FrameClass] = set()

    def passes(flight: Flight) -> bool:
        envelope = read_envelope(flight.frame)
        kind = envelope.frame_class
        if kind in (FrameClass.HELLO, FrameClass.HELLO_ACK) and kind not in changed:
            changed.add(kind)
            at = envelope.length + 5 if kind is FrameClass.HELLO else 5  # inside what is sealed; the suite's byte
            flight.frame = flight.frame[:at] + bytes((flight.frame[at] ^ 3,)) + flight.frame[at + 1 :]
        return True

    bench.passes = passes
    bench.join("udp", "kit-1", "command", SLOW_UDP)
    bench.submit("kit-1", b"still")
    bench.run(10)
    assert changed == {FrameClass.HELLO, FrameClass.HELLO_ACK}
    assert sum(place.drops().get("frame_not_authentic", 0) for place in bench.places.values()) == 2
    assert suites(bench) == {Suite.AES_256_CCM_8}
    assert [event.payload for event in bench.places["command"].delivered()] == [b"still"]


def test_bundles_cross_under_short_tags() -> None:
    bench = pair()
    for number in range(20):
        bench.submit("kit-1", bytes((number,)) * 40)
    bench.run(10)
    delivered = [event.payload for event in bench.places["command"].delivered()]
    assert delivered == [bytes((number,)) * 40 for number in range(20)]


@pytest.mark.parametrize("limits", [SLOW, SLOW_UDP])
def test_a_program_that_does_not_know_them_gets_long_tags(limits: LinkLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HELLO of an earlier version: seven fields."""
    monkeypatch.setattr(Hello, "fields", lambda self: FIELDS(self)[:7])
    bench = pair(limits, far_listens=limits is SLOW_UDP)
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


def test_a_key_of_udp_that_saw_too_many_forgeries_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_keys, "FAILED_OPENS_MAX", 50)
    bench = pair_over_udp(SLOW_UDP, UNKNOWN_UDP)
    before = sessions(bench)
    forge(bench, 80)
    bench.submit("kit-1", b"sos")
    bench.run(30)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"sos"]
    assert not {id(each) for each in sessions(bench)} & {id(each) for each in before}
