"""Real agents, killed with kill -9 again and again, with a recorder on the wire: no key and number come twice.

``LIFELINE_KILLS=100`` makes it a hundred kills. Whoever holds the deployment's secret can tell from the wire alone
under which key and number each frame was sealed; this does, and opens every frame to be sure.
"""

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.core.codec import put_control
from edge_agent.core.envelope import Envelope, FrameClass, put_hello, read_envelope, rebuild_number
from edge_agent.core.frame import Direction, FrameCipher, SessionSalts
from edge_agent.core.hello import Hello, read_hello
from edge_agent.security.link_keys import DeploymentKeys, load_secret
from tests.integration.agents import AgentProcess, free_port, running, udp_link, write_pair
from tests.integration.tap import Seen, Tap

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("LIFELINE_KILLS", "20"))
BUNDLES_BETWEEN = 4
SHOWN_MAX = 1500  # old frames shown after each start: the newest, and others by chance


@dataclass(slots=True, eq=False)
class _Key:
    """One traffic key as seen from the wire."""

    cipher: FrameCipher
    salts: tuple[bytes, bytes]
    highest: int = -1


@dataclass(slots=True, eq=False)
class WireReader:
    """Tells key and number of every frame; ``pairs`` maps them to the one frame sealed under them."""

    keys: DeploymentKeys
    pairs: dict[tuple[object, int], bytes] = field(default_factory=dict)
    doubled: list[tuple[object, int]] = field(default_factory=list)
    unread: int = 0
    sessions: set[tuple[bytes, bytes]] = field(default_factory=set)
    _by_id: dict[tuple[bool, int], list[_Key]] = field(default_factory=dict)
    _initiators: dict[int, bytes] = field(default_factory=dict)

    def read(self, seen: Seen) -> None:
        """Take one frame, in the order of the wire."""
        envelope = read_envelope(seen.frame)
        if envelope.frame_class is FrameClass.UNKNOWN:
            return
        if envelope.frame_class is FrameClass.HELLO:
            self._hello(envelope, seen)
        elif envelope.frame_class is FrameClass.HELLO_ACK:
            self._hello_ack(envelope, seen)
        else:
            self._data(envelope, seen)

    def _hello(self, envelope: Envelope, seen: Seen) -> None:
        early = self.keys.early(envelope.salt, envelope.suite, envelope.epoch)
        assert early is not None
        self._initiators[self._introduction(early, envelope, seen).receive_id] = envelope.salt
        self._note(("early", envelope.salt), envelope.number, seen)

    def _hello_ack(self, envelope: Envelope, seen: Seen) -> None:
        salts = SessionSalts(initiator=self._initiators[envelope.receive_id], responder=envelope.salt)
        ciphers = [self.keys.traffic(salts, each, envelope.suite, envelope.epoch) for each in Direction]
        assert ciphers[0] is not None
        assert ciphers[1] is not None
        both = (salts.initiator, salts.responder)
        hello = self._introduction(ciphers[Direction.RESPONDER], envelope, seen)
        if both not in self.sessions:
            self.sessions.add(both)
            self._by_id.setdefault((seen.is_up, envelope.receive_id), []).append(
                _Key(ciphers[Direction.RESPONDER], (*both,))
            )
            self._by_id.setdefault((not seen.is_up, hello.receive_id), []).append(
                _Key(ciphers[Direction.INITIATOR], (*both,))
            )
        self._note((Direction.RESPONDER, *both), envelope.number, seen)

    @staticmethod
    def _introduction(cipher: FrameCipher | None, envelope: Envelope, seen: Seen) -> Hello:
        assert cipher is not None
        body = cipher.open(envelope.number, seen.frame[: envelope.length], seen.frame[envelope.length :])
        assert body is not None, "a long header that does not open"
        hello = read_hello(body)
        assert hello is not None
        return hello

    def _data(self, envelope: Envelope, seen: Seen) -> None:
        for key in self._by_id.get((seen.is_up, envelope.receive_id), ()):
            number = rebuild_number(envelope.number, envelope.number_bytes, key.highest)
            body = key.cipher.open(number, seen.frame[: envelope.length], seen.frame[envelope.length :])
            if body is not None:
                key.highest = max(key.highest, number)
                direction = Direction.INITIATOR if seen.is_up else Direction.RESPONDER
                self._note((direction, *key.salts), number, seen)
                return
        self.unread += 1

    def _note(self, key: object, number: int, seen: Seen) -> None:
        if self.pairs.setdefault((key, number), seen.frame) is not seen.frame:
            self.doubled.append((key, number))


@dataclass(slots=True, eq=False)
class Storm:
    """Two agents, the tap between them, and everything that was sent and arrived."""

    kit: AgentProcess
    command: AgentProcess
    tap: Tap
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    sent: dict[str, bytes] = field(default_factory=dict)
    arrived: list[tuple[str, bytes, bool]] = field(default_factory=list)
    shown: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def speak(self) -> None:
        """A few bundles from the kit."""
        async with Client(load_api_address(self.kit.config)) as client:
            for _ in range(BUNDLES_BETWEEN):
                payload = self.rng.randbytes(self.rng.choice([5, 200, 4000]))
                precedence = self.rng.choice(["flash", "immediate", "priority", "routine", "deferred"])
                state = await client.send(payload, flow="text", precedence=precedence)
                self.sent[state.bundle] = payload

    async def listen(self) -> None:
        """What command's consumer gets, over all restarts."""
        async with Client(load_api_address(self.command.config)) as client:
            async for delivery in client.listen("text", since="all", consumer="outlet"):
                self.arrived.append((delivery.bundle, delivery.payload, delivery.redelivered))
                self.news.set()

    async def kill(self) -> int:
        """One side or both end in the middle of it and start again; how many that were."""
        victims = self.rng.choice([[self.kit], [self.command], [self.kit, self.command]])
        await asyncio.sleep(self.rng.uniform(0, 0.05))  # any moment is right: no test waits for this
        for victim in victims:
            victim.kill()
        past = len(self.tap.seen)
        for victim in victims:
            await asyncio.to_thread(victim.start)
        await self.show(past, {self.kit in victims, self.command in victims})
        return len(victims)

    async def show(self, past: int, restarted: object) -> None:
        """Old frames once more, to the new processes and to the ones that had them already."""
        old = self.tap.seen[:past]
        chosen = old[-SHOWN_MAX // 2 :] + self.rng.sample(old, min(len(old), SHOWN_MAX // 2))
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as elsewhere:
            for number, seen in enumerate(chosen):
                self.tap.show(seen, elsewhere=elsewhere if number % 2 and seen.is_up else None)
                if number % 64 == 63:
                    await asyncio.sleep(0.002)  # a socket buffer holds so many
        self.shown += len(chosen)

    async def settle(self, timeout_s: float) -> None:
        """Until everything accepted has arrived."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.missing():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(await self.told()) from None

    def missing(self) -> set[str]:
        """Accepted and not arrived."""
        return set(self.sent) - {bundle for bundle, _, _ in self.arrived}

    async def told(self) -> str:
        """What each side says of itself when something is missing."""
        lines = [f"missing: {sorted(self.missing())}"]
        for agent in (self.kit, self.command):
            async with Client(load_api_address(agent.config)) as client:
                status = await client.status()
                lines.append(f"{status['node']}: {status['links']}, {status['backlog']}, {status['dropped']}")
        return "\n".join(lines)


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    port = free_port()
    tap = Tap(("127.0.0.1", port))
    kit, command = write_pair(
        tmp_path,
        kit_links=udp_link("a", "remote", f"127.0.0.1:{tap.address[1]}"),
        command_links=udp_link("b", "listen", f"127.0.0.1:{port}"),
    )
    made = Storm(AgentProcess(kit), AgentProcess(command), tap)
    with closing(tap), running(made.command, made.kit):
        yield made


def test_a_pair_that_comes_twice_on_the_wire_is_found() -> None:
    """The planted fault: one process after another seals different bodies under the same salt and number."""
    keys = DeploymentKeys({0: bytes(32)})
    hello = Hello(node_id="kit-1", number=1, role="kit", incarnation=1, process_number=1, receive_id=7)
    reader = WireReader(keys)
    for process in (1, 2):
        body = bytearray()
        put_control(body, replace(hello, process_number=process).fields())
        early = keys.early(bytes(16), keys.suite, keys.epoch)
        assert early is not None
        header = put_hello(keys.suite, keys.epoch, bytes(16), 0)
        reader.read(Seen(True, header + early.seal(0, header, bytes(body))))
    assert reader.doubled == [(("early", bytes(16)), 0)]


@pytest.mark.timeout(120 + 8 * KILLS)
async def test_kills_lose_and_double_nothing_and_no_key_and_number_come_twice(storm: Storm, tmp_path: Path) -> None:
    kills = 0
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(storm.listen(), name="listener")
        while kills < KILLS:
            await storm.speak()
            kills += await storm.kill()
        await storm.speak()
        await storm.settle(60)
        listener.cancel()
    arrived = {bundle: payload for bundle, payload, _ in storm.arrived}
    assert arrived == storm.sent
    fresh = [bundle for bundle, _, is_again in storm.arrived if not is_again]
    assert len(fresh) == len(set(fresh)), "twice, and not said to be a second time"
    reader = WireReader(DeploymentKeys({0: load_secret(tmp_path / "made" / "secret.key")}))
    for seen in storm.tap.seen:
        reader.read(seen)
    assert reader.doubled == []
    assert len(reader.sessions) > KILLS / 2
    assert len(reader.pairs) > 5 * KILLS
    assert reader.unread <= len(storm.tap.seen) / 50, "frames that the reader of the wire could not place"
    assert storm.shown > 10 * KILLS
