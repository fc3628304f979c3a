"""A payload that is a file: handed to the agent, or taken from it, in pieces and never in memory as a whole."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edge_agent.api_messages import Message
from edge_agent.client_connection import AgentRefusedError, Connection
from edge_agent.core.errors import EdgeAgentError
from edge_agent.disk.file_system import MACHINE

PIECE_BYTES = 1 << 20
SYNC_BYTES = 16 << 20  # of a file that is saved: what a kill of the program costs at most
DIGEST_BYTES = 32


class FileDamagedError(EdgeAgentError):
    """What was read is not what the agent stored."""


@dataclass(slots=True)
class SourceFile:
    """A file that is read once from its beginning, with the digest of what was read. Calls wait for the disk."""

    file: BinaryIO
    payload_bytes: int
    read_bytes: int = 0
    _digest: "hashlib.blake2b" = field(default_factory=lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))

    def go_to(self, offset: int) -> None:
        """The next piece is the one at ``offset``; what lies before it is read for the digest."""
        if self.read_bytes > offset:
            self.read_bytes, self._digest = 0, hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.file.seek(self.read_bytes)
        while self.read_bytes < offset:
            if not self.read_on(offset - self.read_bytes):
                return

    def read_on(self, most_bytes: int = PIECE_BYTES) -> bytes:
        """The next piece; empty at the end."""
        piece = self.file.read(min(PIECE_BYTES, most_bytes, self.payload_bytes - self.read_bytes))
        self.take(piece)
        return piece

    def take(self, piece: bytes) -> None:
        """``piece`` stands at the end of what was read."""
        self._digest.update(piece)
        self.read_bytes += len(piece)

    def digest(self) -> bytes:
        """Of all that was read. Raises AgentRefusedError when that is less than there was."""
        if self.read_bytes < self.payload_bytes:
            what = f"the file became shorter while it was read: {self.read_bytes} of {self.payload_bytes} bytes"
            raise AgentRefusedError("malformed", what)
        return self._digest.digest()


def name_of(path: Path, status: os.stat_result, terms: Message) -> str:
    """The same for the same content on the same terms, so that another start of a program goes on where one stopped."""
    told = [str(path.resolve()), status.st_size, status.st_mtime_ns, *sorted(terms.items())]
    return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


async def hand_in(connection: Connection, source: SourceFile, request: Message) -> Message:
    """The state of the accepted bundle. Raises AgentRefusedError, AgentAbsentError, OSError."""
    await connection.send(request)
    await asyncio.to_thread(source.go_to, int((await connection.receive())["offset"]))
    is_ahead = False  # one piece is read and sent while the one before it is made durable
    while piece := await asyncio.to_thread(source.read_on):
        await connection.send({"op": "piece", "piece": piece})
        if is_ahead:
            await connection.receive()
        is_ahead = True
    if is_ahead:
        await connection.receive()
    await connection.send({"op": "finish", "digest": source.digest()})
    state = await connection.receive()
    await connection.send({"op": "known"})
    await connection.closed()  # a bundle that the agent still remembers would be given to the next one of this name
    return state


async def save(path: Path, payload_bytes: int, digest: str, read: Callable[[int, int], Awaitable[bytes]]) -> None:
    """Write a payload to ``path`` by way of ``path.part``, durably, going on with what a killed program left of it.

    ``read`` gives bytes by offset and length. Raises OSError, FileDamagedError: then nothing is left of it.
    """
    part = path.with_name(f"{path.name}.part")
    if not await _fill(part, payload_bytes, digest, read):
        part.unlink()  # what was left of it may have been torn by a power cut
        if not await _fill(part, payload_bytes, digest, read):
            part.unlink()
            raise FileDamagedError(f"{path.name}: what was read is not what the agent stored")
    part.replace(path)
    MACHINE.sync_folder(path.parent)


async def _fill(part: Path, payload_bytes: int, digest: str, read: Callable[[int, int], Awaitable[bytes]]) -> bool:
    """Write the rest of ``part``; whether it is what the agent stored."""
    with part.open("a+b") as file:
        source = SourceFile(file, payload_bytes)
        await asyncio.to_thread(source.go_to, payload_bytes)
        synced_bytes = source.read_bytes
        while source.read_bytes < payload_bytes:
            piece = await read(source.read_bytes, min(PIECE_BYTES, payload_bytes - source.read_bytes))
            await asyncio.to_thread(_append, source, piece)
            if source.read_bytes - synced_bytes >= SYNC_BYTES:
                synced_bytes = source.read_bytes
                await asyncio.to_thread(os.fsync, file.fileno())
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest in ("", source.digest().hex())


def _append(source: SourceFile, piece: bytes) -> None:
    source.file.write(piece)
    source.take(piece)
