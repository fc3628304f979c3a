"""The MQTT sensors driver with real brokers: mosquitto and nats-server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from drivers.mqtt_sensors import MqttSensorsDriver
from edge_agent.ports import PluginLostError
from tests.drivers.recording_port import WAIT_S, RecordingPort, full_table, stopped

pytestmark = pytest.mark.device

MAP = [
    {"topic": "gas/+/state", "device": "{1}", "fields": [{"path": "ch4", "series": "ch4", "unit": "%LEL"}]},
    {"topic": "level", "series": "level", "unit": "m"},
]
MOSQUITTO = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
NATS = """server_name: test
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{folder}" }}
mqtt {{ host: "127.0.0.1", port: {port} }}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


@asynccontextmanager
async def broker(program: Path, folder: Path, port: int) -> AsyncIterator[str]:
    """A real broker on loopback that answers; gives its address."""
    config = folder / f"{program.name}.conf"
    config.write_text((MOSQUITTO if program.name == "mosquitto" else NATS).format(port=port, folder=folder))
    process = await asyncio.create_subprocess_exec(
        program, "-c", config, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    async with aiomqtt.Client("127.0.0.1", port):
                        break
                except aiomqtt.MqttError:
                    await asyncio.sleep(0.05)  # a broker tells by nothing else that it listens
        yield f"127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def say(address: str, topic: str, payload: object, *, retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", int(address.rpartition(":")[2])) as client:
        packed = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await client.publish(topic, packed, qos=1, retain=retain)


@pytest.mark.parametrize("name", ["mosquitto", "nats-server"])
async def test_readings_come_through_a_broker(name: str, require: Callable[[str], Path], tmp_path: Path) -> None:
    port = RecordingPort()
    async with broker(require(name), tmp_path, free_port()) as address:
        await say(address, "level", 1.25, retain=True)
        driver = MqttSensorsDriver(full_table(MqttSensorsDriver.SETTINGS, broker=address, map=MAP))
        run = asyncio.create_task(driver.run(port), name="mqtt")
        await port.until(lambda: "available" in port.states and bool(port.readings))
        await say(address, "gas/a7/state", {"ch4": 12})
        await say(address, "gas/a7/state", {"ch4": None})
        await say(address, "gas/a7/state", b"{")
        await say(address, "other", 5)
        await port.until(lambda: len(port.readings) == 3 and bool(port.counts))
        await stopped(run)
    assert [(each.series, each.value, each.quality) for each in port.readings] == [
        ("level", 1.25, "retained"),
        ("a7/ch4", 12.0, "good"),
        ("a7/ch4", None, "missing"),
    ]
    assert port.counts == {"payload_not_json": 1}


async def test_lost_broker_loses_the_driver_and_a_new_one_serves_it(
    require: Callable[[str], Path], tmp_path: Path
) -> None:
    port, number, program = RecordingPort(), free_port(), require("mosquitto")
    driver = MqttSensorsDriver(full_table(MqttSensorsDriver.SETTINGS, broker=f"127.0.0.1:{number}", map=MAP))
    async with broker(program, tmp_path, number):
        run = asyncio.create_task(driver.run(port), name="mqtt")
        await port.until(lambda: port.states == ["available"])
    with pytest.raises(PluginLostError, match=f"broker 127.0.0.1:{number}"):
        async with asyncio.timeout(WAIT_S):
            await run
    with pytest.raises(PluginLostError, match=f"broker 127.0.0.1:{number}"):
        await driver.run(port)
    assert all(str(number) in reason for reason in port.states[1:])
    async with broker(program, tmp_path, number) as address:
        run = asyncio.create_task(driver.run(port), name="mqtt")
        await port.until(lambda: port.states[-1] == "available")
        await say(address, "level", 2)
        await port.until(lambda: bool(port.readings))
        await stopped(run)


async def test_flood_beyond_the_queue_keeps_the_newest_and_counts(
    require: Callable[[str], Path], tmp_path: Path
) -> None:
    """A store that takes nothing for a while: the queue stays bounded, what came last is what is read first after."""

    class SlowPort(RecordingPort):
        gate = asyncio.Event()

        async def publish(self, readings: object) -> None:
            await self.gate.wait()
            await super().publish(readings)

    port = SlowPort()
    async with broker(require("mosquitto"), tmp_path, free_port()) as address:
        driver = MqttSensorsDriver(full_table(MqttSensorsDriver.SETTINGS, broker=address, map=MAP))
        run = asyncio.create_task(driver.run(port), name="mqtt")
        await port.until(lambda: port.states == ["available"])
        async with aiomqtt.Client("127.0.0.1", int(address.rpartition(":")[2])) as client:
            for number in range(1500):
                await client.publish("level", str(number), qos=1)
        await port.until(lambda: port.counts["mqtt_overrun"] >= 400)
        port.gate.set()
        await port.until(lambda: bool(port.readings) and port.readings[-1].value == 1499)
        await stopped(run)
    assert len(port.readings) + port.counts["mqtt_overrun"] == 1500


async def test_wrong_password_is_said(require: Callable[[str], Path], tmp_path: Path) -> None:
    mosquitto, number = require("mosquitto"), free_port()
    secrets = tmp_path / "users"
    secrets.write_text("kit:right\n")
    secrets.chmod(0o644)
    made = await asyncio.create_subprocess_exec("mosquitto_passwd", "-U", secrets)
    assert await made.wait() == 0
    config = tmp_path / "locked.conf"
    config.write_text(f"listener {number} 127.0.0.1\nallow_anonymous false\npassword_file {secrets}\nuser root\n")
    process = await asyncio.create_subprocess_exec(mosquitto, "-c", config, stderr=asyncio.subprocess.DEVNULL)
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "right").write_text("right\n")
    port = RecordingPort()

    def driver(password_file: str) -> MqttSensorsDriver:
        given = {"username": "kit", "password_file": str(tmp_path / password_file)}
        table = full_table(MqttSensorsDriver.SETTINGS, broker=f"127.0.0.1:{number}", map=MAP, **given)
        return MqttSensorsDriver(table)

    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                with pytest.raises(PluginLostError) as caught:
                    await driver("wrong").run(port)
                if "refused" not in str(caught.value).lower():
                    break
                await asyncio.sleep(0.05)  # a broker tells by nothing else that it listens
        run = asyncio.create_task(driver("right").run(port), name="mqtt")
        await port.until(lambda: port.states[-1] == "available")
        await stopped(run)
    finally:
        process.kill()
        await process.wait()
    assert any("uthori" in reason for reason in port.states)
