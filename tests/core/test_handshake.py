"""Sessions begin whatever is lost, crossed, repeated or replayed, and nothing recorded is ever taken for new."""

from collections import Counter
from dataclasses import replace
from itertools import count

import pytest

from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.contacts import BURST_REASON, Contacts
from edge_agent.core.effects import LinkState
from edge_agent.core.envelope import FrameClass, put_data, put_unknown, read_envelope
from edge_agent.core.hello import Hello
from edge_agent.core.limits import LinkShape
from tests.core.bench import STREAM, Bench, Flight

HELLO_ALONE_BYTES = 100


def pair(*, is_line: bool = False, **settings: int) -> Bench:
    """A kit and command; ``is_line``: a serial line, where both speak first."""
    bench = Bench(**settings)
    bench.add("command", role="command")
    bench.add("kit-1")
    if is_line:
        bench.join("line", "kit-1", "command", STREAM, far_listens=False)
    else:
        bench.join("line", "kit-1", "command")
    return bench


def kind(flight: Flight) -> FrameClass:
    return read_envelope(flight.frame).frame_class


def payloads(bench: Bench) -> list[bytes | None]:
    return [event.payload for event in bench.places["command"].delivered()]


def test_crossed_hellos_on_a_line_make_one_session() -> None:
    bench = pair(is_line=True)
    bench.run(1)
    bench.submit("kit-1", b"up")
    bench.run(1)
    assert payloads(bench) == [b"up"]
    classes = Counter((flight.sender, kind(flight)) for flight in bench.history)
    assert classes["kit-1", FrameClass.HELLO] >= 1
    assert classes["command", FrameClass.HELLO] == 1, "command has the lower id, so its HELLO holds"
    assert classes["command", FrameClass.HELLO_ACK] == 0


def test_if_both_insisted_nobody_would_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: each side thinks that it won."""
    monkeypatch.setattr(Contacts, "_wins_over", lambda self, contact, hello: not contact.link.is_listener)
    bench = pair(is_line=True)
    bench.run(1)
    bench.submit("kit-1", b"up")
    bench.run(1)
    assert payloads(bench) == []


@pytest.mark.parametrize("is_line", [False, True])
@pytest.mark.parametrize("lost", [{FrameClass.HELLO}, {FrameClass.HELLO_ACK}, {FrameClass.HELLO, FrameClass.HELLO_ACK}])
@pytest.mark.parametrize("times", [1, 2, 4])
def test_lost_hellos_and_answers_are_repeated(lost: set[FrameClass], times: int, *, is_line: bool) -> None:
    bench = Bench()
    left = count(times, -1)
    bench.passes = lambda flight: not (kind(flight) in lost and next(left) > 0)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", *((STREAM,) if is_line else ()), far_listens=not is_line)
    bench.submit("kit-1", b"early")
    bench.run(0.5 + 2.5 * times)
    assert payloads(bench) == [b"early"]


@pytest.mark.parametrize("is_line", [False, True])
@pytest.mark.parametrize("who", ["kit-1", "command"])
def test_a_restart_of_either_side_costs_less_than_four_seconds(who: str, *, is_line: bool) -> None:
    bench = pair(is_line=is_line)
    bench.run(1)
    bench.submit("kit-1", b"before")
    bench.run(1)
    bench.crash(who)
    bench.run(0.5)
    bench.start(who)
    bench.submit("kit-1", b"after")
    bench.run(4)
    assert payloads(bench) == [b"before", b"after"]


def test_a_node_that_forgot_a_session_says_so_and_the_other_starts_over() -> None:
    bench = pair()
    bench.run(1)
    bench.crash("command")
    bench.start("command")
    bench.submit("kit-1", b"to whom?")
    bench.run(0.2)
    assert [kind(flight) for flight in bench.history if flight.sender == "command"].count(FrameClass.UNKNOWN) == 1
    bench.run(0.5)
    assert payloads(bench) == [b"to whom?"]


def test_forged_hints_start_a_session_over_once_a_second_at_most() -> None:
    """A hint has no authority: whoever floods a kit with them costs it one HELLO a second and no bundle."""
    bench = pair()
    bench.run(1)
    began = len(bench.history)
    contact = bench.places["kit-1"].running.contacts.contacts[0]
    for number in range(300):
        assert contact.session is not None
        bench.inject("kit-1", "line", put_unknown(contact.session.peer_receive_id, True), None)
        if number % 30 == 0:
            bench.submit("kit-1", bytes((number // 30,)))
        bench.run(0.01)
    bench.run(2)
    hellos = {read_envelope(flight.frame).salt for flight in bench.history[began:] if kind(flight) is FrameClass.HELLO}
    assert 1 <= len(hellos) <= 4, "three seconds of hints"
    assert sorted(filter(None, payloads(bench))) == [bytes((each,)) for each in range(10)]


def over(number: int) -> bytes:
    """A frame in a session that is over, as somebody sends it who never heard of the new one."""
    return put_data(number + 1, True, number, 4) + bytes(40)


def patient(bench: Bench) -> Contact:
    """The kit's contact with a first round trip of 20 s, as a link that held everything leaves it."""
    bench.run(1)
    contact = bench.places["kit-1"].running.contacts.contacts[0]
    contact.rtt.smoothed_s, contact.rtt.deviation_s = 20.0, 10.0
    return contact


def test_word_in_a_session_that_is_over_makes_a_kit_ask_for_what_is_in_flight() -> None:
    bench = pair()
    patient(bench)
    bench.passes = lambda flight: False
    bench.submit("kit-1", b"lost on the way")
    bench.run(2)
    bench.passes = lambda flight: True
    bench.run(20)
    assert payloads(bench) == [], "nobody asks: it has 60 s to be acknowledged"
    bench.inject("kit-1", "line", over(1), None)
    bench.run(10)
    assert payloads(bench) == [b"lost on the way"]


def test_forged_frames_make_a_kit_ask_once_a_second_at_most_and_only_for_what_is_in_flight() -> None:
    bench = pair()
    patient(bench)
    bench.passes = lambda flight: False
    for is_waiting in (False, True):
        if is_waiting:
            bench.submit("kit-1", b"waits")
            bench.run(0.1)
        began = len(bench.history)
        for number in range(300):
            bench.inject("kit-1", "line", over(number), None)
            bench.run(0.01)
        asked = [flight for flight in bench.history[began:] if kind(flight) is FrameClass.DATA]
        assert (1 <= len(asked) <= 4) == is_waiting, "three seconds of forged frames"
        assert is_waiting or not asked


def test_a_node_that_hears_itself_does_not_talk_to_itself() -> None:
    """A modem that echoes, or a cable plugged into the wrong socket."""
    bench = Bench()
    bench.add("kit-1")
    bench.add("command", role="command")
    bench.join("line", "kit-1", "command", STREAM, far_listens=False)
    bench.passes = lambda flight: False
    bench.submit("kit-1", b"for command only")
    for _ in range(200):
        heard, bench.history = bench.history, []
        for flight in heard:
            if flight.sender == "kit-1":
                bench.inject("kit-1", "line", flight.frame)
        bench.run(0.1)
    kit = bench.places["kit-1"]
    assert kit.delivered() == []
    assert "kit-1" not in kit.running.contacts.peers
    assert kit.drops()["hello_from_self"] > 3
    assert set(kit.drops()) <= {"hello_from_self", "frame_replayed", "frame_id_unknown"}


def start_with_a_bundle(bench: Bench, payload: bytes, precedence: Precedence = Precedence.ROUTINE) -> None:
    """The kit's process starts and has a bundle before its link is there: the bundle goes with the HELLO."""
    place = bench.places["kit-1"]
    end = place.ends.pop("line")
    bench.start("kit-1")
    bench.submit("kit-1", payload, precedence)
    place.ends["line"] = end
    bench.plug("kit-1", "line")


def restarted_from_old_disk() -> tuple[Bench, list[Flight]]:
    """Command's disk is put back to before a kit's early data came: nothing durable tells of it. Nobody runs."""
    bench = pair()
    bench.crash("kit-1")
    old = bench.copy_disk("command")
    start_with_a_bundle(bench, b"recorded")
    bench.run(2)
    assert payloads(bench) == [b"recorded"]
    recorded = [flight for flight in bench.history if flight.sender == "kit-1"]
    assert any(kind(flight) is FrameClass.HELLO and carries_more(flight) for flight in recorded), "early data"
    bench.crash("command")
    bench.places["command"].disk = old
    bench.places["command"].events.clear()
    return bench, recorded


def carries_more(flight: Flight) -> bool:
    """Longer than a HELLO without fragments."""
    return len(flight.frame) > HELLO_ALONE_BYTES


def replay(bench: Bench, recorded: list[Flight]) -> None:
    for flight in recorded:
        bench.inject("command", "line", flight.frame, "attacker")


def test_early_data_of_a_replayed_hello_is_held_and_never_acted_upon() -> None:
    bench, recorded = restarted_from_old_disk()
    bench.crash("kit-1")
    bench.start("command")
    replay(bench, recorded)
    bench.run(30)
    command = bench.places["command"]
    assert command.events == []
    assert command.running.contacts.peers["kit-1"].process_number == 0, "not even its name is believed"
    assert command.drops().get("bundle_duplicate", 0) == 0


def replayed_after_a_proof(bench: Bench, recorded: list[Flight]) -> list[bytes | None]:
    """The kit proves to be alive to the restarted command, and only then its older HELLOs come again."""
    bench.start("command")
    bench.submit("kit-1", b"news")
    bench.run(5)
    assert bench.places["command"].running.contacts.peers["kit-1"].process_number > 0
    replay(bench, recorded)
    bench.run(5)
    return payloads(bench)


def test_a_hello_older_than_the_receiver_is_held_even_when_its_sender_is_known_by_now() -> None:
    assert replayed_after_a_proof(*restarted_from_old_disk()) == [b"news"]


def test_trusting_every_unseen_salt_would_take_the_recording_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: an unknown session of a known start counts as new."""

    def trusts_unseen_salts(self: Contacts, hello: Hello, salt: bytes) -> bool:
        memory = self._memories.get(hello.node_id)
        return memory is not None and hello.process_number >= memory.process_number and salt not in memory.salts

    bench, recorded = restarted_from_old_disk()
    monkeypatch.setattr(Contacts, "is_early_trusted", trusts_unseen_salts)
    assert replayed_after_a_proof(bench, recorded) == [b"news", b"recorded"]


def test_a_new_start_of_a_kit_that_is_known_costs_no_round_trip() -> None:
    bench = pair()
    bench.run(1)
    bench.crash("kit-1")
    bench.passes = lambda flight: flight.sender == "kit-1"  # nothing comes back
    start_with_a_bundle(bench, b"sos", Precedence.FLASH)
    bench.run(0.011)
    assert payloads(bench) == [b"sos"]


def test_a_burst_link_of_a_node_without_number_is_down_with_that_reason() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("sms", "kit-1", "command", replace(STREAM, shape=LinkShape.BURST, mtu_bytes=140), far_listens=False)
    bench.submit("kit-1", b"sos", Precedence.FLASH)
    bench.run(60)
    assert bench.history == []
    (report,) = bench.places["kit-1"].running.report(bench.now_s).links
    assert (report.state, report.reason) == (LinkState.DOWN, BURST_REASON)


def test_old_frames_of_a_session_are_replays() -> None:
    bench = pair()
    bench.run(1)
    for number in range(20):
        bench.submit("kit-1", bytes((number,)))
    bench.run(1)
    before = len(bench.places["command"].events)
    replay(bench, [flight for flight in bench.history if flight.sender == "kit-1"])
    drops = bench.places["command"].drops()
    assert len(bench.places["command"].events) == before
    assert drops["frame_replayed"] >= 5
    assert "bundle_duplicate" not in drops


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    def frames(seed: int) -> list[tuple[float, bytes]]:
        bench = pair(seed=seed)
        bench.run(1)
        for number in range(30):
            bench.submit("kit-1", bytes(number * 40), Precedence(number % 5))
            bench.run(0.05)
        bench.run(2)
        return [(flight.t_s, flight.frame) for flight in bench.history]

    assert frames(1) == frames(1) != frames(2)
