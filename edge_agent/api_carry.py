"""The two requests of the local API that move a file: ``export`` and ``import``. The file itself is the program's.

The agent never opens a path that a program names: it gives pieces, and takes pieces.
"""

import asyncio
from contextlib import aclosing

from edge_agent.api_door import ApiDoor
from edge_agent.api_listener import write_answer
from edge_agent.api_messages import ApiBrokenError, Message, read_message
from edge_agent.carry import CarryFileError
from edge_agent.core.errors import EdgeAgentError


async def serve_export(door: ApiDoor, request: Message, writer: asyncio.StreamWriter) -> None:
    """Answer with ``piece`` after ``piece``, then with the counts."""
    to = request.get("to", "")
    if not isinstance(to, str):
        raise ApiBrokenError("to is a text")
    try:
        export = await door.open_export(to)
        async with aclosing(export.pieces()) as pieces:
            async for piece in pieces:
                await write_answer(writer, {"ok": {"piece": piece}})
    except EdgeAgentError as error:  # the secret or the store: said on purpose
        await write_answer(writer, {"error": str(error), "reason": "not_done"})
        return
    await write_answer(writer, {"ok": {"bundles": export.bundles, "left_out": export.left_out}})


async def serve_import(door: ApiDoor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take ``piece`` after ``piece``, each answered once it is on disk; one without bytes ends the file."""
    try:
        taken = await door.open_import()
        await write_answer(writer, {"ok": {}})
        while (message := await read_message(reader)) is not None:
            piece = message.get("piece")
            if not isinstance(piece, bytes):
                raise ApiBrokenError("piece is bytes")
            if not piece:
                await write_answer(writer, {"ok": await taken.finish()})
                return
            await taken.feed(piece)
            await write_answer(writer, {"ok": {}})
    except CarryFileError as error:
        await write_answer(writer, {"error": str(error), "reason": "malformed"})
    except ApiBrokenError:
        raise
    except EdgeAgentError as error:  # as above
        await write_answer(writer, {"error": str(error), "reason": "not_done"})
