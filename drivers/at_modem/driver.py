"""AT modem driver: asks a modem for signal and registration, and hands what it says to the link it stands for."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import serial

from drivers.at_modem.dialogue import Answer, Dialogue
from drivers.at_modem.radio import CALL_NAME, EXTENDED_NAME, OPERATOR_NAME, PACKET_NAMES, SIGNAL_NAME, Radio
from edge_agent.core.link_hint import GOOD_FOR_MOST_S
from edge_agent.ports import DriverPort, PluginLostError, Setting, Table

ANSWER_S = 3.0
"""Status queries are answered within 0.3 s (TS 27.007 sets no time); a modem that searches for a cell takes longer."""
SILENT_AFTER = 3
"""Commands without an answer after which the port counts as silent."""
STALE_AFTER = 3
"""A hint outlives so many questions without an answer."""
_GREETING = "ATE0V1"
"""No echo, and results as words; a profile that another program left may be otherwise."""
QUESTIONS = (
    (f"AT{SIGNAL_NAME}", SIGNAL_NAME),
    (f"AT{EXTENDED_NAME}", EXTENDED_NAME),
    *((f"AT{name}?", name) for name in (*PACKET_NAMES, CALL_NAME)),
    (f"AT{OPERATOR_NAME}?", OPERATOR_NAME),
)
_READ_MAX_BYTES = 4096


class SilentError(PluginLostError):
    """A command got no answer in time."""


@dataclass(slots=True)
class _Line:
    """The serial port, one command at a time."""

    port: DriverPort
    opened: serial.Serial
    reader: asyncio.StreamReader
    device: str
    dialogue: Dialogue = field(default_factory=Dialogue)

    async def ask(self, command: str) -> Answer:
        """What the modem says to ``command``. Raises SilentError, and PluginLostError when the port is gone."""
        self.dialogue.begin()
        if self.reader.at_eof():
            raise PluginLostError(f"{self.device} closed")
        try:
            self.opened.write(command.encode("ascii") + b"\r")
            async with asyncio.timeout(ANSWER_S):
                while True:
                    received = await self.reader.read(_READ_MAX_BYTES)
                    if not received:
                        raise PluginLostError(f"{self.device} closed")
                    answer = self.dialogue.feed(received)
                    if answer is not None:
                        return answer
        except TimeoutError as error:
            self.port.count("at_timeout")
            raise SilentError(f"no answer from {self.device} to {command}") from error
        except OSError as error:
            raise PluginLostError(f"{self.device}: {error.strerror or error}") from error
        finally:
            for name, number in self.dialogue.drops.items():
                self.port.count(name, number)
            self.dialogue.drops.clear()

    async def rest(self, span_s: float) -> None:
        """Let time pass; what the modem says unasked is dropped. Raises PluginLostError when the port is gone."""
        try:
            async with asyncio.timeout(span_s):
                while await self.reader.read(_READ_MAX_BYTES):
                    pass
        except TimeoutError:
            return
        except OSError as error:
            raise PluginLostError(f"{self.device}: {error.strerror or error}") from error
        raise PluginLostError(f"{self.device} closed")


class AtModemDriver:
    """Driver ``at_modem``: signal, registration and network of a modem with an AT ``port`` that nothing else uses.

    Serial ports need an event loop that reads character devices (Linux, macOS).
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "port": Setting(
                kind=str, allowed='the modem\'s second serial device, such as "/dev/ttyUSB2"', accepts=bool
            ),
            "link": Setting(
                kind=str, allowed="the name of the [[link]] that leaves by this modem", accepts=bool, names_link=True
            ),
            "baud_rate": Setting(
                kind=int, allowed="300 to 921600", default=115_200, accepts=lambda rate: 300 <= rate <= 921_600
            ),
            "interval_s": Setting(
                kind=float,
                allowed="1 to 120 s between two looks",
                default=5.0,
                accepts=lambda value: 1 <= value <= 120,
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._device: str = table["port"]
        self._link: str = table["link"]
        self._baud_rate: int = table["baud_rate"]
        self._interval_s: float = table["interval_s"]
        self._good_for_s = min(GOOD_FOR_MOST_S, STALE_AFTER * self._interval_s + ANSWER_S)

    async def run(self, port: DriverPort) -> None:
        """Hand over hints until cancelled. Raises PluginLostError when the modem is gone."""
        try:
            async with _open_serial(self._device, self._baud_rate) as (opened, reader):
                await self._watch(_Line(port, opened, reader, self._device), port)
        except PluginLostError as error:
            port.unavailable(str(error))
            raise

    async def _watch(self, line: _Line, port: DriverPort) -> None:
        is_greeted, silent = False, 0
        while True:
            try:
                if not is_greeted:
                    await line.ask(_GREETING)
                    is_greeted = True
                radio = await _look(line, port)
            except SilentError as error:
                silent += 1
                is_greeted = False  # it may have been switched off, and have forgotten
                if silent >= SILENT_AFTER:
                    port.unavailable(f"{error} (an AT port at baud_rate = {self._baud_rate}?)")
                continue
            silent = 0
            hint = radio.hint(self._good_for_s)
            if hint is None:
                port.unavailable("the modem tells neither signal nor registration")
            else:
                port.available()
                port.hint_link(self._link, hint)
            await line.rest(self._interval_s)


async def _look(line: _Line, port: DriverPort) -> Radio:
    """What the modem knows now. Commands that it does not know, or not yet, leave gaps."""
    radio = Radio()
    for command, name in QUESTIONS:
        answer = await line.ask(command)
        if answer.is_good:
            try:
                radio.take(name, answer.values(name))
            except ValueError:
                port.count("at_value")
    return radio


@asynccontextmanager
async def _open_serial(device: str, baud_rate: int) -> AsyncIterator[tuple[serial.Serial, asyncio.StreamReader]]:
    try:
        opened = serial.Serial(device, baud_rate, timeout=0, write_timeout=0, exclusive=True)
    except ValueError as error:  # a rate that this port cannot have
        raise PluginLostError(f"{device}: baud_rate = {baud_rate}: {error}") from error
    except OSError as error:
        is_taken = error.errno in (errno.EAGAIN, errno.EBUSY)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PluginLostError(f"{device}: {'in use by another program' if is_taken else reason}") from error
    with contextlib.closing(opened):
        opened.reset_input_buffer()
        reader = asyncio.StreamReader(limit=_READ_MAX_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, opened)
        try:
            yield opened, reader
        finally:
            transport.close()
