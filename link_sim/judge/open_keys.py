"""Keys that hide nothing and notice damage: an observer reads what frames carry, a node drops what was changed.

The null keys of the core would take a damaged frame for a good one. Here a body is followed by a CRC-32 that starts
from key and number and goes over header and body, so that a frame of another session is not authentic either.
"""

from zlib import crc32

from edge_agent.core.frame import Direction, FrameCipher, LinkKeys, SessionSalts

TAG_BYTES = 4


class OpenCipher:
    """Seals a body by a CRC behind it. Not a protection: whoever wants to can forge it."""

    __slots__ = ("_start",)

    def __init__(self, key: bytes) -> None:
        self._start = crc32(key)

    @property
    def overhead_bytes(self) -> int:
        return TAG_BYTES

    @property
    def is_spent(self) -> bool:
        return False

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        return body + crc32(body, crc32(header, self._start ^ number & 0xFFFFFFFF)).to_bytes(TAG_BYTES, "big")

    def open(self, number: int, header: bytes, sealed: bytes) -> bytes | None:
        body = sealed[:-TAG_BYTES]
        tag = crc32(body, crc32(header, self._start ^ number & 0xFFFFFFFF))
        return body if sealed[-TAG_BYTES:] == tag.to_bytes(TAG_BYTES, "big") else None


class OpenKeys(LinkKeys):
    """LinkKeys of judged worlds: one suite, one epoch, no secret."""

    @property
    def suite(self) -> int:
        return 0

    @property
    def short_suite(self) -> int:
        return 0

    @property
    def epoch(self) -> int:
        return 0

    def early(self, salt: bytes, suite: int, epoch: int) -> FrameCipher | None:
        return OpenCipher(salt) if suite == epoch == 0 else None

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        if suite or epoch:
            return None
        return OpenCipher(salts.initiator + salts.responder + bytes((direction,)))

    def burst(self, sender_number: int, incarnation: int, epoch: int) -> FrameCipher | None:
        key = sender_number.to_bytes(2, "big") + incarnation.to_bytes(8, "big")
        return OpenCipher(key) if epoch == 0 else None
