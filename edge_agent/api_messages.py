"""Messages of the local API: a 4-byte big-endian length, then that many bytes of msgpack, always a map.

A request carries ``op``; an answer carries ``ok`` or ``error``. The first bytes of an HTTP request read as a length far
above the limit, so a hostile web page that reaches a loopback port gets a closed connection.
"""

import asyncio
import struct
from typing import Any

import msgpack

from edge_agent.core.errors import EdgeAgentError

MESSAGE_MAX_BYTES = 96 << 20  # the largest payload and room for its description; below any four ASCII letters

Message = dict[str, Any]  # Any: msgpack's own types, checked where they are used


class ApiBrokenError(EdgeAgentError):
    """The other side of a local connection does not speak this API."""


def pack_message(message: Message) -> bytes:
    """The bytes of one message. Raises ApiBrokenError when it is too large to be sent."""
    packed: bytes = msgpack.packb(message)
    if len(packed) > MESSAGE_MAX_BYTES:
        raise ApiBrokenError(f"message of {len(packed)} bytes exceeds {MESSAGE_MAX_BYTES}")
    return struct.pack(">I", len(packed)) + packed


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when the other side has closed. Raises ApiBrokenError."""
    try:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if length > MESSAGE_MAX_BYTES:
            raise ApiBrokenError(f"announces a message of {length} bytes; at most {MESSAGE_MAX_BYTES} are taken")
        message = msgpack.unpackb(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (ValueError, msgpack.UnpackException) as error:
        raise ApiBrokenError("sent something that is not msgpack") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise ApiBrokenError("sent something that is not a map with text keys")
    return message
