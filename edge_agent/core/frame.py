"""Protection of frames as the core sees it: protocols, and the null ones. The real ones are in ``edge_agent.security``.

A frame's bytes on the wire are ``header + cipher.seal(number, header, body)``; the header is authenticated, the body
is hidden. A (key, number) pair is used once: numbers count up from 0 in each key, and keys are born of fresh salts.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

SALT_BYTES = 16


class FrameCipher(Protocol):
    """One traffic key for one direction of one session."""

    @property
    def overhead_bytes(self) -> int:
        """How much longer the sealed body is than the open one (the tag)."""

    @property
    def is_spent(self) -> bool:
        """Whether this key opens nothing any more: it has seen too many forgeries for its tag."""

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        """The sealed body. ``number`` is never given twice to one cipher."""

    def open(self, number: int, header: bytes, sealed: bytes) -> bytes | None:
        """The body, or None when it is not authentic."""


class Direction(IntEnum):
    """Who sends under a key: the side that opened the session with HELLO, or the one that answered."""

    INITIATOR = 0
    RESPONDER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSalts:
    """The two salts of a session, 16 bytes each, drawn anew for each session."""

    initiator: bytes
    responder: bytes


class LinkKeys(Protocol):
    """Makes ciphers from one deployment secret by HKDF; ``suite`` and ``epoch`` travel in every long header."""

    @property
    def suite(self) -> int: ...

    @property
    def short_suite(self) -> int:
        """The suite with the shortest tag, for slow lines; ``suite`` where there is no other."""

    @property
    def epoch(self) -> int: ...

    def early(self, salt: bytes, suite: int, epoch: int) -> FrameCipher | None:
        """The cipher of HELLO frames, from the sender's salt alone; None for an unknown suite or epoch."""

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        """The cipher of one direction of a session, from both salts; None for an unknown suite or epoch."""

    def burst(self, sender_number: int, incarnation: int, epoch: int) -> FrameCipher | None:
        """The cipher of one incarnation of a sender on burst links, whose numbers are leased; None: unknown epoch."""


class NullCipher:
    """Protects nothing and adds nothing; for the simulator. Counts what it did."""

    __slots__ = ("opened", "sealed")

    def __init__(self) -> None:
        self.sealed = 0
        self.opened = 0

    @property
    def overhead_bytes(self) -> int:
        return 0

    @property
    def is_spent(self) -> bool:
        return False

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        self.sealed += 1
        return body

    def open(self, number: int, header: bytes, sealed: bytes) -> bytes | None:
        self.opened += 1
        return sealed


class NullKeys:
    """LinkKeys of the simulator: every cipher is the same counting null cipher."""

    def __init__(self) -> None:
        self.cipher = NullCipher()

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
        return self.cipher

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        return self.cipher

    def burst(self, sender_number: int, incarnation: int, epoch: int) -> FrameCipher | None:
        return self.cipher
