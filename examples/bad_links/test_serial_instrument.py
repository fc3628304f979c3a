"""A serial instrument at the end of a bad cable: pyserial asks a Modbus meter, and the line spoils bytes.

A spoiled answer fails its checksum, and one to a spoiled question never comes. The client asks again, at most three
times more; what it takes for a reading is one.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import serial

from link_sim.devices.modbus import ModbusSlave, RegisterMap, crc16
from link_sim.devices.pty_bench import PtyBench
from link_sim.profiles import serial_profile
from link_sim.real_time.live_links import LiveLinks

ROUNDS = 100
TRIES = 4
WORDS = list(range(100, 110))
NOISE_RATIO = 0.002  # of the bytes: one exchange of 33 bytes in sixteen goes wrong
ANSWER_BYTES = 5 + 2 * len(WORDS)

pytestmark = [pytest.mark.slow, pytest.mark.device]


class NoReadingError(Exception):
    """The meter gave no right answer."""


@asynccontextmanager
async def joined(one: Path, other: Path) -> AsyncIterator[None]:
    """A plug between two ports: what comes out of one goes into the other."""
    loop = asyncio.get_running_loop()
    fds = [os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) for path in (one, other)]

    def carry(source: int, sink: int) -> None:
        os.write(sink, os.read(source, 4096))

    loop.add_reader(fds[0], carry, fds[0], fds[1])
    loop.add_reader(fds[1], carry, fds[1], fds[0])
    try:
        yield
    finally:
        for fd in fds:
            loop.remove_reader(fd)
            os.close(fd)


def ask(port: serial.Serial) -> list[int]:
    """Read the holding registers of unit 1. Raises NoReadingError when no try gets a right answer."""
    question = bytes.fromhex("01 03 0000") + len(WORDS).to_bytes(2, "big")
    for _ in range(TRIES):
        port.reset_input_buffer()
        port.write(question + crc16(question).to_bytes(2, "little"))
        answer = port.read(ANSWER_BYTES)
        if len(answer) == ANSWER_BYTES and crc16(answer[:-2]).to_bytes(2, "little") == answer[-2:]:
            return [int.from_bytes(answer[at : at + 2], "big") for at in range(3, len(answer) - 2, 2)]
    raise NoReadingError(f"no right answer in {TRIES} tries")


def read_meter(path: Path) -> list[list[int]]:
    """What the meter said in each round."""
    with serial.Serial(str(path), 9600, timeout=0.25) as port:
        return [ask(port) for _ in range(ROUNDS)]


@pytest.mark.parametrize(
    "times",
    [1, pytest.param(10, marks=pytest.mark.xfail(raises=NoReadingError, strict=True, reason="ten times worse"))],
)
async def test_every_reading_is_right_on_a_noisy_line(link: LiveLinks, tmp_path: Path, times: int) -> None:
    meter = ModbusSlave({1: RegisterMap(holding=dict(enumerate(WORDS)))}, baud_rate=None)
    cable = replace(serial_profile(9600), noise_ratio=times * NOISE_RATIO)
    async with (
        PtyBench({"meter": meter}) as bench,
        link.pty(cable) as line,
        joined(line.b_path, bench.path("meter")),
    ):
        readings = await asyncio.to_thread(read_meter, line.a_path)
    assert readings == [WORDS] * ROUNDS
    assert meter.counts["request"] + meter.counts["wrong_crc"] > ROUNDS, "the noise spoiled nothing"
