"""The digest of a file that grows: taken from memory while its bytes come in order, from the file where they did not.

Nothing of it outlives the process: after a start the file is read again in steps, beside what comes.
"""

import hashlib
import os
from dataclasses import dataclass, field

DIGEST_BYTES = 32


def new_digest() -> "hashlib.blake2b":
    """BLAKE2b as the store uses it for payload files."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


@dataclass(slots=True)
class RunningDigest:
    """BLAKE2b of the first ``done_bytes`` of one file."""

    done_bytes: int = 0
    _state: "hashlib.blake2b" = field(default_factory=new_digest)

    def take(self, offset: int, piece: bytes | memoryview) -> None:
        """``piece`` was written at ``offset``. Bytes taken before that are written again make it begin anew."""
        if offset == self.done_bytes:
            self._state.update(piece)
            self.done_bytes += len(piece)
        elif offset < self.done_bytes and piece:
            self.done_bytes, self._state = 0, new_digest()

    def read_on(self, descriptor: int, end: int, step_bytes: int) -> int:
        """Take up to ``step_bytes`` more of the file, not beyond ``end``; gives back how many. Raises OSError."""
        length = min(step_bytes, end - self.done_bytes)
        if length <= 0:
            return 0
        os.lseek(descriptor, self.done_bytes, os.SEEK_SET)
        piece = os.read(descriptor, length)
        self._state.update(piece)
        self.done_bytes += len(piece)
        return len(piece)

    def digest(self) -> bytes:
        """Of what was taken so far."""
        return self._state.digest()
