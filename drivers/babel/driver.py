"""Babel driver: follows babeld's neighbours and hands what they are worth to the link that leaves through the mesh."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import ClassVar

from drivers.babel.neighbours import Neighbours
from edge_agent.ports import DriverPort, PluginLostError, Setting, Table

CONNECT_S = 5.0
ANSWER_S = 5.0
STALE_AFTER = 3
"""A hint outlives so many looks that brought nothing."""
_READ_MAX_BYTES = 65_536
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s/]+):([0-9]{1,5})")


def is_place(text: str) -> bool:
    """Whether ``text`` is an absolute path or HOST:PORT."""
    match = _ADDRESS.fullmatch(text)
    return text.startswith("/") or (match is not None and 0 < int(match[2]) < 65_536)


class BabelDriver:
    """Driver ``babel``: babeld's local configuration socket (its options ``-G`` or ``-g``), read only."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "socket": Setting(
                kind=str,
                allowed='the path of babeld\'s socket (babeld -G PATH), or "[::1]:PORT" (babeld -g PORT)',
                accepts=is_place,
            ),
            "link": Setting(
                kind=str, allowed="the name of the [[link]] that leaves through the mesh", accepts=bool, names_link=True
            ),
            "interface": Setting(kind=str, allowed="an interface of the mesh; absent: any", default=""),
            "neighbour": Setting(
                kind=str, allowed='the link-local address of one neighbour, "fe80::..."; absent: the best', default=""
            ),
            "interval_s": Setting(
                kind=float,
                allowed="1 to 60 s between two looks, beside what babeld tells by itself",
                default=5.0,
                accepts=lambda value: 1 <= value <= 60,
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._socket: str = table["socket"]
        self._link: str = table["link"]
        self._interface: str = table["interface"]
        self._neighbour: str = table["neighbour"]
        self._interval_s: float = table["interval_s"]

    async def run(self, port: DriverPort) -> None:
        """Hand over hints until cancelled. Raises PluginLostError when babeld is gone."""
        try:
            async with self._connect() as (reader, writer):
                await self._follow(reader, writer, port)
        except (OSError, PluginLostError) as error:
            reason = str(error) if isinstance(error, PluginLostError) else f"{self._socket}: {error.strerror or error}"
            port.unavailable(reason)
            raise PluginLostError(reason) from error

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            async with asyncio.timeout(CONNECT_S):
                if self._socket.startswith("/"):
                    reader, writer = await asyncio.open_unix_connection(self._socket)
                else:
                    host, _, number = self._socket.rpartition(":")
                    reader, writer = await asyncio.open_connection(host.strip("[]"), int(number))
        except TimeoutError as error:
            raise PluginLostError(f"babeld at {self._socket}: no answer within {CONNECT_S:g} s") from error
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: DriverPort) -> None:
        neighbours = Neighbours()
        await self._await_answer(reader, neighbours, port, wanted=1)
        if not neighbours.is_babel:
            raise PluginLostError(f"{self._socket}: this is not babeld's configuration socket")
        writer.write(b"monitor\n")
        await self._await_answer(reader, neighbours, port, wanted=2)
        port.available()
        while True:
            self._tell(neighbours, port)
            await self._listen(reader, neighbours, port)
            wanted = neighbours.answers + 1
            writer.write(b"dump\n")  # tells nothing new, and that babeld is not stuck
            await self._await_answer(reader, neighbours, port, wanted=wanted)

    async def _await_answer(
        self, reader: asyncio.StreamReader, neighbours: Neighbours, port: DriverPort, *, wanted: int
    ) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                while neighbours.answers < wanted:
                    await self._read(reader, neighbours, port)
                    if neighbours.refusals:
                        raise PluginLostError(f"babeld at {self._socket} does not take requests")
        except TimeoutError as error:
            raise PluginLostError(f"babeld at {self._socket}: no answer within {ANSWER_S:g} s") from error

    async def _listen(self, reader: asyncio.StreamReader, neighbours: Neighbours, port: DriverPort) -> None:
        """Hand over what changes, at once, until it is time to look."""
        try:
            async with asyncio.timeout(self._interval_s):
                while True:
                    if await self._read(reader, neighbours, port):
                        self._tell(neighbours, port)
        except TimeoutError:
            return

    async def _read(self, reader: asyncio.StreamReader, neighbours: Neighbours, port: DriverPort) -> bool:
        received = await reader.read(_READ_MAX_BYTES)
        if not received:
            raise PluginLostError(f"babeld at {self._socket} closed")
        has_told = neighbours.feed(received)
        for name, number in neighbours.drops.items():
            port.count(name, number)
        neighbours.drops.clear()
        return has_told

    def _tell(self, neighbours: Neighbours, port: DriverPort) -> None:
        good_for_s = STALE_AFTER * self._interval_s + ANSWER_S
        hint = neighbours.hint(interface=self._interface, neighbour=self._neighbour, good_for_s=good_for_s)
        port.hint_link(self._link, hint)
