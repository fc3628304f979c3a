"""One consumer at the other end of a connection: deliveries out, acknowledgements in."""

import asyncio
from dataclasses import asdict

import structlog

from edge_agent.api_door import ApiDoor
from edge_agent.api_messages import ApiBrokenError, Message, pack_message, read_message
from edge_agent.disk.types import StoreError

UNACKNOWLEDGED = 64  # deliveries on their way to one listener
RETRY_S = 2.0  # a disk that fails is not asked more often by one listener

log = structlog.get_logger()


class Listener:
    """One consumer at the other end of a connection."""

    def __init__(self, door: ApiDoor, consumer: str, inline_bytes: int, writer: asyncio.StreamWriter) -> None:
        self._door = door
        self._consumer = consumer
        self._inline_bytes = inline_bytes
        self._writer = writer
        self._room = asyncio.Semaphore(UNACKNOWLEDGED)
        self._unsynced: int | None = None
        self._has_news = asyncio.Event()
        self._is_last = False

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Push deliveries and take acknowledgements until the listener has gone or had its last.

        Ends too when the store cannot be read: the program connects again and goes on where it was.
        """
        try:
            await self._serve(reader)
        except* StoreError as errors:
            reasons = [str(error) for error in errors.exceptions]
            log.warning("listener_lost", consumer=self._consumer, reasons=reasons, retry_s=RETRY_S)
            await asyncio.sleep(RETRY_S)

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            push = group.create_task(self._push(), name=f"listener:{self._consumer}:push")
            sync = group.create_task(self._sync(), name=f"listener:{self._consumer}:sync")
            while not self._is_last and (message := await _read_or_none(reader)) is not None:
                position = message.get("position")
                if message.get("op") != "ack" or type(position) is not int:
                    break  # not a listener of ours
                self._unsynced = position  # a later position covers earlier ones: one sync for many
                self._is_last = message.get("is_last") is True
                self._has_news.set()
                self._room.release()
            push.cancel()
            if self._is_last:
                await sync
            else:
                sync.cancel()

    async def _push(self) -> None:
        async for delivery in self._door.deliveries(self._consumer, self._inline_bytes):
            await self._room.acquire()
            try:
                await write_answer(self._writer, {"ok": asdict(delivery)})
            except ConnectionError:
                return  # the reading side ends the listener

    async def _sync(self) -> None:
        while self._unsynced is not None or not self._is_last:
            await self._has_news.wait()
            self._has_news.clear()
            position, self._unsynced = self._unsynced, None
            if position is not None:
                await self._door.acknowledge(self._consumer, position)


async def _read_or_none(reader: asyncio.StreamReader) -> Message | None:
    try:
        return await read_message(reader)
    except ApiBrokenError:
        return None  # not a listener of ours: as good as gone


async def write_answer(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(pack_message(message))
    await writer.drain()
