"""Frames that are cut, changed, repeated, too long or a stranger's, under real keys: each is counted by its name."""

import random
from collections.abc import Callable

import pytest

from edge_agent.core.envelope import FrameClass, put_burst, put_unknown, read_envelope
from edge_agent.security.link_keys import DeploymentKeys
from tests.core.bench import Bench, Flight


def talk() -> tuple[Bench, list[Flight]]:
    """A kit that has sent twenty bundles, and its frames."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command")
    for number in range(20):
        bench.submit("kit-1", bytes(number * 20))
        bench.run(0.1)
    return bench, [flight for flight in bench.history if flight.sender == "kit-1"]


def stranger() -> Flight:
    """A HELLO of a node with another secret."""
    bench = Bench(make_keys=lambda: DeploymentKeys({0: bytes(32)}))
    bench.add("command", role="command")
    bench.add("kit-7")
    bench.join("line", "kit-7", "command")
    return bench.history[0]


def cut(rng: random.Random, frame: bytes) -> bytes:
    return frame[: rng.randrange(len(frame))]


def changed(rng: random.Random, frame: bytes) -> bytes:
    at = rng.randrange(len(frame))
    return frame[:at] + bytes((frame[at] ^ 1 << rng.randrange(8),)) + frame[at + 1 :]


def longer(rng: random.Random, frame: bytes) -> bytes:
    return frame + rng.randbytes(rng.choice([1, 70_000]))


def same(rng: random.Random, frame: bytes) -> bytes:
    return frame


def noise(rng: random.Random, frame: bytes) -> bytes:
    return rng.randbytes(rng.randrange(200))


ANY = {
    "frame_malformed",
    "frame_id_unknown",
    "frame_replayed",
    "frame_not_authentic",
    "hello_unknown_suite",
    "hello_ack_unwanted",
    "hint_unknown",
    "frame_cookie_unused",
    "burst_unwanted",
    "frame_before_key",
}


@pytest.mark.parametrize(
    ("spoil", "surely"),
    [
        (cut, "frame_malformed"),
        (changed, "frame_not_authentic"),
        (longer, "frame_replayed"),
        (same, "frame_replayed"),
        (noise, "frame_malformed"),
    ],
)
def test_each_spoiled_frame_is_one_drop_with_a_name(
    spoil: Callable[[random.Random, bytes], bytes], surely: str
) -> None:
    bench, frames = talk()
    rng = random.Random(1)
    command = bench.places["command"]
    events, before = len(command.events), sum(command.drops().values())
    shown = [spoil(rng, flight.frame) for flight in frames * 20]
    for frame in shown:
        bench.inject("command", "line", frame, "kit-1")
    drops = command.drops()
    assert len(command.events) == events
    assert sum(drops.values()) - before == len(shown), "one name for one frame"
    assert set(drops) <= ANY
    assert drops[surely] > 0
    bench.submit("kit-1", b"still here")
    bench.run(2)
    assert command.delivered()[-1].payload == b"still here"


@pytest.mark.parametrize("spoil", [cut, changed, longer])
def test_a_spoiled_frame_never_passes_for_one_that_is_still_to_come(
    spoil: Callable[[random.Random, bytes], bytes],
) -> None:
    bench, _ = talk()
    bench.passes = lambda flight: flight.sender == "command"
    bench.submit("kit-1", b"held up")
    (held_up,) = [flight.frame for flight in bench.history[-1:]]
    rng = random.Random(1)
    for _ in range(300):
        bench.inject("command", "line", spoil(rng, held_up), "kit-1")
    assert sum(bench.places["command"].drops().values()) == 300
    assert len(bench.places["command"].delivered()) == 20
    bench.inject("command", "line", held_up, "kit-1")
    assert bench.places["command"].delivered()[-1].payload == b"held up"


def test_a_stranger_costs_one_failed_check_and_no_memory() -> None:
    bench, _ = talk()
    hello = stranger()
    assert read_envelope(hello.frame).frame_class is FrameClass.HELLO
    command = bench.places["command"]
    for number in range(500):
        bench.inject("command", "line", hello.frame, f"stranger-{number}")
    assert command.drops() == {"frame_not_authentic": 500}
    contacts = command.running.contacts
    assert (len(contacts.contacts), len(contacts.peers), len(contacts._by_salt)) == (1, 1, 1)


def test_classes_without_use_are_counted() -> None:
    bench, _ = talk()
    for frame in (
        put_burst(1, 0, 2, 1) + bytes(30),
        bytes((FrameClass.COOKIE << 5, 1)),
        put_unknown(12345, True),
        b"",
        b"\xff",
    ):
        bench.inject("command", "line", frame, "kit-1")
    wanted = {"burst_unwanted": 1, "frame_cookie_unused": 1, "hint_unknown": 1, "frame_malformed": 2}
    assert bench.places["command"].drops() == wanted


def test_frames_of_a_link_that_is_not_there_are_counted() -> None:
    bench, frames = talk()
    bench.inject("command", "no-such-link", frames[0].frame, "kit-1")
    bench.unplug("command", "line")
    bench.inject("command", "line", frames[0].frame, "kit-1")
    assert bench.places["command"].drops() == {"frame_link_unknown": 2}
