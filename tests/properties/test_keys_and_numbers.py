"""No (key, number) pair is sealed twice and no old frame is taken, over crashes, link re-adds and a copied disk."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edge_agent.core.arrivals import Arrivals
from edge_agent.core.bundle import Precedence
from edge_agent.core.contacts import Contacts
from edge_agent.core.hello import Hello
from edge_agent.core.intake import Intake
from edge_agent.core.limits import SLOW_LINK_BPS
from edge_agent.security.link_keys import CCM_TAG_BYTES
from tests.core.bench import DATAGRAM, STREAM, Bench, Flight
from tests.properties.recording_keys import Recorder

NODES = ("kit-1", "command")
STREAM_FAST = replace(STREAM, mtu_bytes=1400)
OLD_FRAMES_MAX = 400  # replayed after each start: the newest, and as many of the others by chance


class Storm:
    """Two nodes over a datagram link and a serial line that crash, lose their links, and are shown their past."""

    def __init__(self, seed: int, recorder: Recorder, *, line_bps: float = 1e6) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench(seed=seed, make_keys=recorder.make_keys)
        self.bench.add("command", role="command")
        self.bench.add("kit-1")
        self.bench.join("udp", "kit-1", "command", DATAGRAM)
        line = replace(STREAM_FAST, rate_bps=line_bps)
        self.bench.join("line", "kit-1", "command", line, far_listens=False)
        self.sent: list[bytes] = []
        self.crashes = 0
        self.replayed = 0

    def speak(self) -> None:
        """A bundle from the kit, if it runs."""
        if self.bench.places["kit-1"].node is not None:
            payload = len(self.sent).to_bytes(4, "big") * self.rng.choice([1, 5, 200, 2000])
            self.sent.append(payload)
            self.bench.submit("kit-1", payload, self.rng.choice(list(Precedence)))

    def crash(self) -> None:
        """One side or both end at any moment and start again, sometimes at once, and sometimes with data waiting."""
        rng, bench = self.rng, self.bench
        for node_id in rng.choice([("kit-1",), ("command",), NODES]):
            self.crashes += 1
            bench.crash(node_id)
        bench.run(rng.choice([0.0, 0.01, 1.0]))
        for node_id in NODES:
            if bench.places[node_id].node is None:
                bench.start(node_id)

    def replug(self) -> None:
        """A link is taken away at one side and comes back."""
        node_id, link = self.rng.choice(NODES), self.rng.choice(["udp", "line"])
        self.bench.unplug(node_id, link)
        self.bench.run(self.rng.choice([0.0, 0.05]))
        self.bench.plug(node_id, link)

    def old(self) -> list[Flight]:
        """Frames that this process of their receiver got already, or that were meant for an earlier one."""
        places = self.bench.places
        return [
            flight
            for flight in self.bench.history
            if flight.is_received or flight.receiver_start != places[flight.receiver].starts
        ]

    def replay(self) -> None:
        """Old frames come again, from where they came and from elsewhere; nothing in them may be taken."""
        rng, old = self.rng, self.old()
        shown = old[-OLD_FRAMES_MAX:] + rng.sample(old, min(len(old), OLD_FRAMES_MAX))
        with nothing_is_taken():
            for flight in shown:
                source = flight.source if rng.random() < 0.5 or flight.source is None else "elsewhere"
                self.bench.inject(flight.receiver, flight.link, flight.frame, source)
        self.replayed += len(shown)

    def run(self, crashes: int) -> None:
        """So many crashes, with talk, re-plugging and replays between them; then all must have arrived once."""
        rng, bench = self.rng, self.bench
        while self.crashes < crashes:
            rng.choice([self.crash, self.crash, self.replug])()
            if rng.random() < 0.5:
                self.speak()
            self.replay()
            for _ in range(rng.randrange(6)):
                self.speak()
                bench.run(rng.choice([0.0, 0.004, 0.03, 0.3]))
        bench.run(60)
        arrived = [event.record.id for event in bench.places["command"].delivered()]
        assert len(arrived) == len(set(arrived)), "twice"
        assert sorted(filter(None, (event.payload for event in bench.places["command"].delivered()))) == sorted(
            self.sent
        )


@contextmanager
def nothing_is_taken() -> Iterator[None]:
    """Fails when a fragment or any block under a traffic key is acted upon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Arrivals, "take", _taken)
        patch.setattr(Intake, "_take_body", _taken)
        patch.setattr(Intake, "_greet", _taken)
        yield


def _taken(*arguments: object, **named: object) -> None:
    raise AssertionError("an old frame was acted upon")


def start_from_copies(storm: Storm, recorder: Recorder) -> None:
    """Both data directories are copied and started elsewhere, while the originals go on; then the past is shown."""
    twins = Bench(seed=storm.bench.seed + 1000, make_keys=recorder.make_keys)
    for node_id in ("command", "kit-1"):
        twins.add(node_id, role="command" if node_id == "command" else "kit")
        twins.crash(node_id)
        twins.places[node_id].disk = storm.bench.copy_disk(node_id)
        twins.start(node_id)
    twins.join("udp", "kit-1", "command", DATAGRAM)
    old = [flight for flight in storm.bench.history if flight.link == "udp"][-2000:]
    with nothing_is_taken():
        for flight in old:
            twins.inject(flight.receiver, "udp", flight.frame, flight.source)
    before = len(twins.places["command"].delivered())
    twins.submit("kit-1", b"from the copy")
    twins.run(10)
    assert [event.payload for event in twins.places["command"].delivered()[before:]] == [b"from the copy"]
    storm.speak()
    storm.bench.run(5)


@pytest.mark.parametrize("line_bps", [1e6, 60_000.0])
def test_no_pair_is_sealed_twice_and_nothing_old_is_taken(line_bps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow line's frames have short tags, under keys of their own."""
    recorder = Recorder(monkeypatch)
    storm = Storm(1, recorder, line_bps=line_bps)
    storm.run(crashes=10)
    assert recorder.doubled == []
    assert (CCM_TAG_BYTES in recorder.tags) is (line_bps < SLOW_LINK_BPS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_the_same_over_a_hundred_crashes_and_a_copied_disk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    storm = Storm(seed, recorder)
    storm.run(crashes=100)
    start_from_copies(storm, recorder)
    assert recorder.doubled == []
    assert recorder.keys > 200
    assert len(recorder.sealed) > 1000
    assert storm.replayed > 10_000


def test_salts_that_come_again_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: each process draws the same salts."""
    make = random.Random
    monkeypatch.setattr("tests.core.bench.random.Random", lambda seed: make(7))
    recorder = Recorder(monkeypatch)
    bench = Bench(make_keys=recorder.make_keys)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("udp", "kit-1", "command", DATAGRAM)
    bench.run(1)
    bench.crash("kit-1")
    bench.start("kit-1")
    bench.run(1)
    assert recorder.doubled


def test_a_node_that_trusts_every_new_salt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: early data of a session that this process does not know counts as new."""

    def trusts(self: Contacts, hello: Hello, salt: bytes) -> bool:
        return True

    monkeypatch.setattr(Contacts, "is_early_trusted", trusts)
    storm = Storm(4, Recorder(monkeypatch))
    with pytest.raises(AssertionError, match="acted upon"):
        storm.run(crashes=40)
