"""GNSS driver: positions from a serial receiver or gpsd, one payload for each instant the receiver had a fix."""

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import serial

from drivers.gnss.fix import Fix, FixParser, is_trusted
from drivers.gnss.gpsd import WATCH_COMMAND, GpsdParser
from drivers.gnss.nmea import NmeaParser
from edge_agent.core.errors import RefusedError
from edge_agent.ports import DriverPort, PluginLostError, Setting, Table

NARROW_BELOW = 10
"""Positions are sent in 14 bytes where the links carry less than so many whole ones (130 bytes each) an interval."""
BARE_BELOW_BYTES = 60
"""Below it (300 bit/s, or no link at all) speed and track stay on the kit, too: command sees them in the track."""
_QUIET_S = 0.3
"""No byte for so long ends a receiver's burst. At 4800 baud bytes of one burst follow each other within 2 ms, USB
adapters deliver in lumps of 16 ms; a receiver at 2 Hz pauses longer than this between bursts or says a new time."""
_CONNECT_S = 10.0
_READ_MAX_BYTES = 16_384
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s]+):([0-9]{1,5})")


def is_address(text: str) -> bool:
    """Whether ``text`` is HOST:PORT, with brackets around an IPv6 address."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and 0 < int(match[2]) < 65_536


@dataclass(slots=True)
class _Watch:
    """Says once what is wrong with the receiver, and once that it works again. Times are the loop's, in seconds."""

    port: DriverPort
    silent_after_s: float
    now_s: float
    _said: str | None = None
    _byte_s: float = field(init=False)
    _sentence_s: float = field(init=False)
    _fix_s: float = field(init=False)
    _sentences: int = 0

    def __post_init__(self) -> None:
        self._byte_s = self._sentence_s = self._fix_s = self.now_s

    def heard(self, now_s: float, sentences: int) -> None:
        """Bytes came, and ``sentences`` valid ones in all."""
        self._byte_s = now_s
        if sentences > self._sentences:
            self._sentence_s, self._sentences = now_s, sentences

    def fixed(self, now_s: float) -> None:
        """The receiver told a new instant, with or without a position."""
        self._fix_s = now_s

    def silence(self, now_s: float, *, source: str, hint: str, complaint: str) -> str:
        """Why nothing new has come for too long, or empty while it has."""
        for since_s, reason in (
            (self._byte_s, f"no bytes from {source}"),
            (self._sentence_s, f"{source} sends bytes but nothing valid{hint}"),
            (self._fix_s, f"{source} tells no new position time"),
        ):
            if now_s - since_s >= self.silent_after_s:
                return complaint or f"{reason} for {self.silent_after_s:g} s"
        return ""

    def say(self, reason: str) -> None:
        """Tell the port ("" = works) unless it was told so last."""
        if reason == self._said:
            return
        self._said = reason
        if reason:
            self.port.unavailable(reason)
        else:
            self.port.available()


class GnssDriver:
    """Driver ``gnss``: NMEA 0183 on ``port``, or gpsd's JSON at ``gpsd``.

    Serial ports need an event loop that reads character devices (Linux, macOS); elsewhere use gpsd.
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "port": Setting(kind=str, allowed='a serial device such as "/dev/ttyUSB0"', default=""),
            "baud_rate": Setting(
                kind=int, allowed="300 to 921600", default=9600, accepts=lambda rate: 300 <= rate <= 921_600
            ),
            "gpsd": Setting(
                kind=str,
                allowed='"HOST:PORT", usually "127.0.0.1:2947"',
                default="",
                accepts=lambda text: text == "" or is_address(text),
            ),
            "interval_s": Setting(
                kind=float,
                allowed="0.05 to 86400 s between positions",
                default=1.0,
                accepts=lambda value: 0.05 <= value <= 86_400,
            ),
            "silent_after_s": Setting(
                kind=float,
                allowed="0.5 to 3600 s without news before the receiver counts as silent",
                default=10.0,
                accepts=lambda value: 0.5 <= value <= 3600,
            ),
            "time_source": Setting(
                kind=str,
                allowed='"receiver", or "node" for recordings and simulators',
                default="receiver",
                accepts=lambda text: text in ("receiver", "node"),
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._device: str = table["port"]
        self._gpsd: str = table["gpsd"]
        if bool(self._device) == bool(self._gpsd):
            given = "both" if self._device else "neither"
            raise ValueError(f'port, gpsd: {given} given; exactly one of port = "/dev/..." and gpsd = "HOST:PORT"')
        self._baud_rate: int = table["baud_rate"]
        self._interval_s: float = table["interval_s"]
        self._silent_after_s: float = table["silent_after_s"]
        self._is_node_time: bool = table["time_source"] == "node"
        self._next_s = float("-inf")

    async def run(self, port: DriverPort) -> None:
        """Publish positions until cancelled. Raises PluginLostError when the receiver is lost."""
        try:
            async with self._open() as reader:
                parser: FixParser = GpsdParser() if self._gpsd else NmeaParser()
                await self._follow(reader, parser, port)
        except PluginLostError as error:
            port.unavailable(str(error))
            raise

    async def _follow(self, reader: asyncio.StreamReader, parser: FixParser, port: DriverPort) -> None:
        loop = asyncio.get_running_loop()
        watch = _Watch(port, self._silent_after_s, loop.time())
        source = f"gpsd at {self._gpsd}" if self._gpsd else self._device
        hint = "" if self._gpsd else f" (NMEA 0183 at baud_rate = {self._baud_rate}?)"
        while True:
            fixes: list[Fix] = []
            try:
                async with asyncio.timeout(_QUIET_S if parser.is_open else self._silent_after_s):
                    received = await reader.read(_READ_MAX_BYTES)
                if not received:
                    raise PluginLostError(f"{source} closed")
                fixes = parser.feed(received, port.now_ms())
                watch.heard(loop.time(), parser.sentences)
            except TimeoutError:
                fix = parser.flush()
                fixes = [] if fix is None else [fix]
            except OSError as error:
                raise PluginLostError(f"{source}: {error.strerror or error}") from error
            for name, number in parser.drops.items():
                port.count(name, number)
            parser.drops.clear()
            if fixes:
                watch.fixed(loop.time())
                await self._publish(fixes[-1], port, watch)  # the newest: earlier ones of one lump are history already
            complaint = parser.complaint if isinstance(parser, GpsdParser) else ""
            silence = watch.silence(loop.time(), source=source, hint=hint, complaint=complaint)
            if silence:
                watch.say(silence)

    async def _publish(self, fix: Fix, port: DriverPort, watch: _Watch) -> None:
        position = fix.position_at(self._captured_at_ms(fix, port))
        if position is None:
            watch.say(fix.reason)
            return
        now_s = asyncio.get_running_loop().time()
        jitter_s = 0.2 * self._interval_s  # else a receiver at just this rate would lose every instant that comes early
        if now_s < self._next_s - jitter_s:
            watch.say("")
            return
        self._next_s = max(self._next_s, now_s - jitter_s) + self._interval_s
        try:
            packed = position.pack()
            granted_bytes = port.granted_bytes(self._interval_s)
            if granted_bytes < NARROW_BELOW * len(packed):
                packed = position.pack_narrow(is_bare=granted_bytes < BARE_BELOW_BYTES)
            await port.submit(packed, captured_at_ms=position.captured_at_ms)
        except RefusedError as error:  # the next position comes by itself, newer than this one
            watch.say(f"position not accepted: {error}")
        else:
            watch.say("")

    def _captured_at_ms(self, fix: Fix, port: DriverPort) -> int:
        now_ms = port.now_ms()
        if self._is_node_time or fix.receiver_ms is None:
            return now_ms
        if not is_trusted(fix.receiver_ms, now_ms):
            port.count("gnss_date_distrusted")
            return now_ms
        return fix.receiver_ms

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[asyncio.StreamReader]:
        """The receiver's bytes. Raises PluginLostError that names the device or address."""
        if self._gpsd:
            async with _open_gpsd(self._gpsd) as reader:
                yield reader
        else:
            async with _open_serial(self._device, self._baud_rate) as reader:
                yield reader


@asynccontextmanager
async def _open_gpsd(address: str) -> AsyncIterator[asyncio.StreamReader]:
    host, _, port_number = address.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port_number))
    except TimeoutError as error:
        raise PluginLostError(f"gpsd at {address}: no answer within {_CONNECT_S:g} s") from error
    except OSError as error:
        raise PluginLostError(f"gpsd at {address}: {error.strerror or error}") from error
    try:
        writer.write(WATCH_COMMAND)
        yield reader
    finally:
        writer.close()


@asynccontextmanager
async def _open_serial(device: str, baud_rate: int) -> AsyncIterator[asyncio.StreamReader]:
    try:
        opened = serial.Serial(device, baud_rate, timeout=0, exclusive=True)
    except ValueError as error:  # a rate that this port cannot have
        raise PluginLostError(f"{device}: baud_rate = {baud_rate}: {error}") from error
    except OSError as error:
        is_taken = error.errno in (errno.EAGAIN, errno.EBUSY)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PluginLostError(f"{device}: {'in use by another program' if is_taken else reason}") from error
    with contextlib.closing(opened):
        opened.reset_input_buffer()  # what a tty kept while nobody read is old, and looks new
        reader = asyncio.StreamReader(limit=_READ_MAX_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, opened)
        try:
            yield reader
        finally:
            transport.close()
