"""Nets: schedules, watching, digests, and what a wrong one says."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate
from link_sim.virtual.changes import Change, Schedule, numbers, outage, rate, restore
from link_sim.virtual.endpoints.link_end import Datagram
from link_sim.virtual.endpoints.way import LinkEvent, WayEvent
from link_sim.virtual.loop import run_virtual
from link_sim.virtual.net import Net
from tests.link_sim.virtual.worlds import Heard, echo, two_nodes

ROOT = Path(__file__).parents[3]
LOSSY = LinkProfile(
    rate_bps=400_000,
    delay_s=0.05,
    jitter_s=0.02,
    reorders=True,
    loss_ratio=0.05,
    duplicate_ratio=0.02,
    queue_bytes=9000,
)


async def busy(net: Net) -> str:
    """Streams, datagrams and an outage at once; the digest in the end."""
    kit, command = net.node("kit"), net.node("command")
    await command.start_server(echo, 1)
    _, heard = await command.create_datagram_endpoint(lambda: Heard(net), local=2)
    transport, _ = await kit.create_datagram_endpoint(asyncio.DatagramProtocol, remote=(command, 2))

    async def talk(number: int) -> None:
        reader, writer = await kit.open_connection(command, 1)
        for _ in range(5):
            writer.write(bytes([number]) * 3000)
            await writer.drain()
            await reader.readexactly(3000)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(talk(number), name=f"talk {number}")
        for _ in range(50):
            transport.sendto(bytes(200))
            await asyncio.sleep(0.1)
    assert isinstance(heard, Heard)
    assert heard.came
    return net.digest()


def busy_digest(seed: int) -> str:
    """One run of ``busy`` in a net of its own."""
    net = two_nodes(LOSSY, seed=seed, at=[(2, outage(1, hold=True)), (4, rate(64_000)), (6, restore())])
    return net.run(busy(net))


def test_a_seed_gives_one_digest_and_another_seed_another() -> None:
    digests = {busy_digest(7) for _ in range(20)}
    assert len(digests) == 1
    assert digests != {busy_digest(8)}


@pytest.mark.slow
def test_the_digest_is_the_same_in_other_processes_whatever_their_hash_seed_and_load() -> None:
    """Four at a time on two cores; other interpreters that are at hand join in."""
    code = "from tests.link_sim.virtual.test_net import busy_digest; print(busy_digest(7))"

    def start(hash_seed: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    processes = [start(hash_seed) for hash_seed in ("0", "1", "4711", "random")]
    digests = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert digests == {busy_digest(7)}


def test_a_schedule_holds_slows_and_restores() -> None:
    schedule: Schedule = [
        (1, outage(2, hold=True)),
        (10, rate(8000)),
        (20, restore()),
        (30, numbers(loss_ratio=1.0, side="up")),
    ]
    net = two_nodes(LinkProfile(rate_bps=80_000, delay_s=0.1), at=schedule)

    async def main() -> list[float]:
        _, heard = await net.node("command").create_datagram_endpoint(lambda: Heard(net), local=1)
        transport, _ = await net.node("kit").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("command", 1))
        for at_s in (0, 1.5, 10, 20, 30):
            await asyncio.sleep(at_s - net.loop.time())
            transport.sendto(bytes(100))
        await asyncio.sleep(10)
        assert isinstance(heard, Heard)
        return [at_ns / 1e9 for at_ns, _, _ in heard.came]

    assert net.run(main()) == [0.11, 3.11, 10.2, 20.11]


def test_watches_hear_of_every_frame_and_change() -> None:
    net = two_nodes(LinkProfile(delay_s=0.1, lost_frames=(1,)), at=[(0.5, outage(1))])
    events: list[LinkEvent] = []
    net.on_event(events.append)

    async def main() -> None:
        transport, _ = await net.node("kit").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("command", 1))
        for _ in range(4):
            transport.sendto(b"four")
            await asyncio.sleep(0.3)
        await asyncio.sleep(2)

    net.run(main())
    told = [(each.t_ns // 10**6, each.direction, each.event.value, each.frame_bytes) for each in events]
    assert told == [
        (0, "up", "offered", 4), (100, "up", "delivered", 4), (300, "up", "offered", 4), (500, "up", "cut", 0),
        (500, "down", "cut", 0), (600, "up", "offered", 4), (900, "up", "offered", 4), (1500, "up", "mended", 0),
        (1500, "down", "mended", 0),
    ]  # fmt: skip
    fates = [each.verdict.fate for each in events if each.event is WayEvent.OFFERED and each.verdict is not None]
    assert fates == [Fate.DELIVERED, Fate.LOST, Fate.OUTAGE, Fate.OUTAGE]


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ([(-1, rate(1))], "at -1 s: allowed is 0 or more"),
        ([(1, outage(5)), (4, outage(5, hold=True))], "overlap; make them one, or start the second at 6 s or later"),
        ([(1, rate(0))], "rate_bps 0: allowed is 1 or more"),
        ([(1, numbers(speed=5))], "speed"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_fix(schedule: Sequence[tuple[float, Change]], text: str) -> None:
    with pytest.raises(ProfileError, match=text):
        two_nodes("clean", at=schedule)


def test_outages_of_two_directions_may_overlap() -> None:
    two_nodes("clean", at=[(1, outage(5, side="up")), (4, outage(5, side="down"))])


def test_wrong_names_are_refused() -> None:
    net = two_nodes("clean")
    for wrong in ("", "a@b", "localhost"):
        with pytest.raises(ProfileError, match="node"):
            net.node(wrong)
    with pytest.raises(ProfileError, match="itself"):
        net.link("kit", "kit")
    with pytest.raises(ProfileError, match="'link'"):
        net.link("kit", "command", name="link")
    with pytest.raises(ProfileError, match="allowed is"):
        net.link("kit", "command", "no-such-profile")
    with pytest.raises(ProfileError, match="side 'left'"):
        outage(1, side="left")
    with pytest.raises(ProfileError, match="above 0"):
        outage(0)


def test_a_net_made_inside_a_loop_takes_its_seed_and_runs_only_there() -> None:
    async def main() -> Net:
        net = Net()
        net.link("kit", "command", LOSSY, name="link")
        await busy(net)
        return net

    net = run_virtual(main(), seed=11)
    assert net.seed == 11
    with pytest.raises(RuntimeError, match="has run in another loop"):
        net.run(asyncio.sleep(0))


def test_frames_that_overtake_each_other_come_when_their_verdicts_say() -> None:
    net = two_nodes(LinkProfile(delay_s=0.1, jitter_s=0.1, reorders=True))
    promised: dict[bytes, int] = {}

    async def main() -> list[tuple[bytes, int]]:
        _, heard = await net.node("command").create_datagram_endpoint(lambda: Heard(net), local=1)
        transport, _ = await net.node("kit").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("command", 1))
        for number in range(200):
            transport.sendto(str(number).encode())
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert isinstance(heard, Heard)
        return [(data, at_ns) for at_ns, data, _ in heard.came]

    def watch(event: LinkEvent) -> None:
        if event.event is WayEvent.OFFERED and isinstance(event.frame, Datagram) and event.verdict is not None:
            assert event.verdict.deliver_at_ns is not None
            promised[event.frame.payload] = event.verdict.deliver_at_ns

    net.on_event(watch)
    came = net.run(main())
    assert dict(came) == promised
    assert [int(data) for data, _ in came] != list(range(200))
