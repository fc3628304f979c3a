"""A new address is believed only after it echoed a token; until then it gets at most three times what it sent."""

from collections import Counter

import pytest

from edge_agent.core.blocks import PROBE, TOKEN_BYTES
from edge_agent.core.contact import Contact
from edge_agent.core.draft import Draft
from edge_agent.core.envelope import FrameClass, put_data, read_envelope
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.words import WordWriter
from tests.core.bench import DATAGRAM, Bench, Flight

OFTEN = LinkPolicy(metered=False, keepalive_s=1.0)
SELDOM = LinkPolicy(metered=False, keepalive_s=5.0)


def bench_of_two() -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", DATAGRAM, policy=OFTEN)
    bench.run(1)
    return bench


def address_of_kit(bench: Bench) -> object:
    return bench.places["command"].running.contacts.contacts[0].address


def test_a_kit_behind_a_new_address_is_followed_within_a_round_trip() -> None:
    bench = bench_of_two()

    def moved(flight: Flight) -> bool:
        flight.source = "new-address" if flight.sender == "kit-1" else None
        return flight.sender == "kit-1" or flight.to == "new-address"  # the old address is dead

    bench.passes = moved
    bench.submit("kit-1", b"from elsewhere")
    bench.run(0.035)
    assert address_of_kit(bench) == "new-address"
    assert [event.payload for event in bench.places["command"].delivered()] == [b"from elsewhere"]
    bench.run(2)
    assert bench.places["kit-1"].running.custody.bundles == {}, "and its answers come back there"


def redirect_one_frame() -> tuple[Bench, list[Flight]]:
    """Somebody on the way sends one frame of the kit on from a victim's address, and then two minutes pass."""
    bench = bench_of_two()
    bench.places["kit-1"].running.contacts.links["line"].set_policy(SELDOM)  # so that command is the one who asks
    redirected: list[Flight] = []

    def once(flight: Flight) -> bool:
        if flight.sender == "kit-1" and not redirected:
            flight.source = "victim"
            redirected.append(flight)
        return flight.to != "victim"  # the victim answers nothing

    bench.passes = once
    for number in range(60):
        bench.submit("kit-1", bytes(number * 10))
        bench.run(1 + number % 3)  # now and then long enough that command asks whether the kit is there
    return bench, redirected


def bytes_to(bench: Bench, address: str) -> int:
    return sum(len(flight.frame) for flight in bench.history if flight.to == address)


def frames_to(bench: Bench, address: str) -> int:
    return sum(flight.to == address for flight in bench.history)


def test_a_redirected_frame_never_moves_the_kit_and_is_not_amplified() -> None:
    bench, redirected = redirect_one_frame()
    assert address_of_kit(bench) == "kit-1"
    assert len(bench.places["command"].delivered()) == 60
    assert 0 < bytes_to(bench, "victim") <= 3 * len(redirected[0].frame)
    assert frames_to(bench, "victim") == 1, "the question, and nothing of what is meant for the kit"


def test_a_token_that_leaks_to_the_old_address_would_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a keepalive probe carries the token that the new address has to show."""

    puts = WordWriter.put_probe

    def leaks(self: WordWriter, contact: Contact, draft: Draft, now_s: float) -> None:
        began = len(draft.body)
        puts(self, contact, draft, now_s)
        probe = draft.body.find(bytes((PROBE, *bytes(TOKEN_BYTES))), began)
        if probe >= 0 and contact.probe_token:
            draft.body[probe + 1 : probe + 1 + TOKEN_BYTES] = contact.probe_token

    monkeypatch.setattr(WordWriter, "put_probe", leaks)
    bench, _ = redirect_one_frame()
    assert frames_to(bench, "victim") > 1, "until the kit's next frame moves it back"


def test_no_address_gets_more_than_three_times_what_came_from_it() -> None:
    """Every frame that a kit ever sent comes again from another spoofed address, twice, and then all time passes."""
    bench = bench_of_two()
    for number in range(20):
        bench.submit("kit-1", bytes(number * 30))
        if number % 5 == 0:
            bench.crash("kit-1")
            bench.start("kit-1")
        bench.run(0.3)
    sent = Counter[str]()
    recorded = [flight for flight in bench.history if flight.sender == "kit-1"]
    for _ in range(2):
        for number, flight in enumerate(recorded):
            victim = f"victim-{number % 7}"
            sent[victim] += len(flight.frame)
            bench.inject("command", "line", flight.frame, victim)
            bench.run(0.02)
    for number in range(300):
        victim = f"victim-{number % 7}"
        frame = put_data(number, True, number, 4)  # an id of nobody: answered by a hint that is no longer than it
        sent[victim] += len(frame)
        bench.inject("command", "line", frame, victim)
    bench.passes = lambda flight: not str(flight.to).startswith("victim")
    bench.run(30)
    kinds = Counter(read_envelope(flight.frame).frame_class for flight in bench.history if str(flight.to) in sent)
    assert kinds[FrameClass.HELLO_ACK] > 0, "replayed HELLOs are answered"
    assert kinds[FrameClass.UNKNOWN] > 0
    for victim, received in sent.items():
        assert bytes_to(bench, victim) <= 3 * received, victim
    bench.submit("kit-1", b"still here")
    bench.run(5)
    assert bench.places["command"].delivered()[-1].payload == b"still here"


def test_the_answer_to_a_hello_goes_where_the_last_one_came_from() -> None:
    """Whoever overtakes a HELLO with a copy from another address gets one answer and stops nobody."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")

    def overtaken(flight: Flight) -> bool:
        if flight.sender == "kit-1" and len([each for each in bench.history if each.sender == "kit-1"]) == 1:
            bench.inject("command", "line", flight.frame, "attacker")
        return flight.to != "attacker"

    bench.passes = overtaken
    bench.join("line", "kit-1", "command")
    bench.submit("kit-1", b"through")
    bench.run(3)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"through"]


def test_a_new_address_is_asked_again_when_the_token_was_lost() -> None:
    bench = bench_of_two()
    lost: list[Flight] = []

    def moved(flight: Flight) -> bool:
        flight.source = "new-address" if flight.sender == "kit-1" else None
        if flight.to == "new-address" and len(lost) < 2:
            lost.append(flight)
            return False
        return flight.sender == "kit-1" or flight.to == "new-address"

    bench.passes = moved
    for number in range(8):
        bench.submit("kit-1", b"from elsewhere")
        bench.run(1)
        assert number > 0 or address_of_kit(bench) != "new-address", "its only token was lost"
    assert len(lost) == 2
    assert address_of_kit(bench) == "new-address"
