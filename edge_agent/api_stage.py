"""The request of the local API that hands in a payload in pieces: ``stage``. The file itself is the program's.

Each piece is answered once it is on disk. A program that was interrupted, or lost its agent, names the payload again
and is told how far it came.
"""

import asyncio
from dataclasses import asdict

from edge_agent.api_door import ApiDoor
from edge_agent.api_listener import write_answer
from edge_agent.api_messages import ApiBrokenError, Message, read_message
from edge_agent.core.errors import RefusedError
from edge_agent.hand_in import HandIn
from edge_agent.sender import SendTerms, UnsendableError

NAME_MAX_BYTES = 64


async def serve_stage(
    door: ApiDoor, request: Message, terms: SendTerms, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take ``piece`` after ``piece``, then a ``digest``, answered with the bundle's state; ``known`` ends it."""
    name, payload_bytes = request.get("name"), request.get("payload_bytes")
    if not isinstance(name, str) or not 0 < len(name.encode()) <= NAME_MAX_BYTES:
        raise ApiBrokenError(f"name: allowed: a text of 1 to {NAME_MAX_BYTES} bytes")
    if type(payload_bytes) is not int or payload_bytes < 0:
        raise ApiBrokenError("payload_bytes: allowed: a number of bytes")
    try:
        hand_in = await door.hand_in(name, payload_bytes, terms)
    except RefusedError as error:
        await write_answer(writer, {"error": error.detail, "reason": error.reason.value})
        return
    except UnsendableError as error:
        await write_answer(writer, {"error": str(error), "reason": "malformed"})
        return
    try:
        await write_answer(writer, {"ok": {"offset": hand_in.offset}})
        if await _take(door, hand_in, reader, writer) and await read_message(reader) is not None:
            await hand_in.forget()
    except RefusedError as error:
        await write_answer(writer, {"error": error.detail, "reason": error.reason.value})
    finally:
        hand_in.close()


async def _take(door: ApiDoor, hand_in: HandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Take everything up to the digest; False when the program has gone. Raises RefusedError."""
    while (message := await read_message(reader)) is not None:
        piece, digest = message.get("piece"), message.get("digest")
        if isinstance(piece, bytes):
            await hand_in.put(piece)
            await write_answer(writer, {"ok": {"offset": hand_in.offset}})
        elif isinstance(digest, bytes):
            bundle = hand_in.bundle or await hand_in.finish(digest)
            await write_answer(writer, {"ok": asdict(await door.state(bundle))})
            return True
        else:
            raise ApiBrokenError("piece or digest: allowed: bytes")
    return False
