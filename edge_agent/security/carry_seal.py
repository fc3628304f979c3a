"""Seals a file that people carry: chunks of a stream under a key of its own, so that a lost stick tells nobody a thing.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizar, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", 2015): each chunk's nonce holds its number, and what is authenticated with it
says whether it is the last. So chunks cannot be changed, moved, left out or cut off unseen. The key comes from the
deployment's secret and a salt drawn anew for each file.
"""

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.link_keys import KEY_BYTES, NONCE_BYTES, derive

SALT_BYTES = 16
CHUNK_BYTES = 1 << 16
"""Plain bytes of one chunk at most."""
OVERHEAD_BYTES = 16
_INFO = b"lifeline-edge carry key 1\x00"


class CarrySealError(EdgeAgentError):
    """A chunk is not of this deployment, or was changed, moved or cut off."""


@dataclass(slots=True)
class CarryCipher:
    """Seals or opens the chunks of one file, in order. ``salt`` is public and stands at its beginning."""

    secret: bytes = field(repr=False)
    salt: bytes = field(default_factory=lambda: os.urandom(SALT_BYTES))
    _aead: AESGCM = field(init=False, repr=False)
    _iv: int = field(init=False, repr=False)
    _number: int = 0

    def __post_init__(self) -> None:
        material = derive(self.secret, salt=self.salt, info=_INFO, length=KEY_BYTES + NONCE_BYTES)
        self._aead = AESGCM(material[:KEY_BYTES])
        self._iv = int.from_bytes(material[KEY_BYTES:], "big")

    def seal(self, plain: bytes, *, is_last: bool) -> bytes:
        """The next chunk."""
        return self._aead.encrypt(self._nonce(), plain, bytes((is_last,)))

    def open(self, sealed: bytes, *, is_last: bool) -> bytes:
        """What the next chunk holds. Raises CarrySealError."""
        try:
            return self._aead.decrypt(self._nonce(), sealed, bytes((is_last,)))
        except InvalidTag as error:
            raise CarrySealError("is not of this deployment, or was changed") from error

    def _nonce(self) -> bytes:
        number, self._number = self._number, self._number + 1
        return (self._iv ^ number).to_bytes(NONCE_BYTES, "big")
