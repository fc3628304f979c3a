"""An MQTT client behind a car's 4G: aiomqtt, and mosquitto on the other side; a tunnel of two seconds in between.

Quality of service 1 promises "at least once". What the tunnel held must come late, and not twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from examples.bad_links.worse import worse
from link_sim.assertions import assert_delivered_within, assert_no_duplicates
from link_sim.link.model import Outage
from link_sim.real_time.live_links import LiveLinks

READINGS = 20
EVERY_S = 0.2
TUNNEL = range(5, 15)  # readings sent while the car is in it
CAR = "4g-congested"  # 25 ms and a long tail each way, 1 % loss

pytestmark = [pytest.mark.slow, pytest.mark.device]


@asynccontextmanager
async def broker(program: Path, port: int, folder: Path) -> AsyncIterator[None]:
    """mosquitto, ready at that port."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = await asyncio.create_subprocess_exec(program, "-c", config, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(10):
            while b" running" not in await process.stderr.readline():
                assert not process.stderr.at_eof(), "mosquitto ended"
        yield
    finally:
        process.kill()
        await process.communicate()


async def listen(client: aiomqtt.Client, arrived: list[tuple[int, float]]) -> None:
    """Note every reading and when it came, until the last one."""
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        arrived.append((int(message.payload), time.monotonic()))
        if arrived[-1][0] == READINGS - 1:
            return


async def send(client: aiomqtt.Client, number: int, sent_s: dict[int, float]) -> None:
    """Publish one reading and wait for the broker's word."""
    sent_s[number] = time.monotonic()
    await client.publish("kit/reading", str(number), qos=1)


@pytest.mark.parametrize(
    "times",
    [1, pytest.param(10, marks=pytest.mark.xfail(raises=AssertionError, strict=True, reason="ten times worse"))],
)
async def test_readings_of_a_tunnel_come_late_and_once(
    link: LiveLinks, require: Callable[[str], Path], free_port: int, tmp_path: Path, times: int
) -> None:
    sent_s: dict[int, float] = {}
    arrived: list[tuple[int, float]] = []
    async with (
        broker(require("mosquitto"), free_port, tmp_path),
        link.tcp(worse(CAR, times), to=("127.0.0.1", free_port)) as proxy,
        aiomqtt.Client("127.0.0.1", free_port) as command,
        aiomqtt.Client(proxy.address.host, proxy.address.port, timeout=30) as car,
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
    ):
        await command.subscribe("kit/reading", qos=1)
        tasks.create_task(listen(command, arrived), name="listen")
        for number in range(READINGS):
            if number == TUNNEL.start:
                proxy.link.cut(Outage.HOLD)
            if number == TUNNEL.stop:
                proxy.link.mend()
            tasks.create_task(send(car, number, sent_s), name=f"reading {number}")
            await asyncio.sleep(EVERY_S)
    assert_no_duplicates(number for number, _ in arrived)
    held_s = len(TUNNEL) * EVERY_S
    assert_delivered_within(sent_s, dict(arrived), held_s + 1.0)
    assert_delivered_within(sent_s, dict(arrived), 0.5, ratio=0.4)
