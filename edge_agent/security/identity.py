"""A node's own keys: one seed in a file, two keys out of it."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.security.link_keys import derive
from edge_agent.security.noise import KeyPair
from edge_agent.security.secret_file import create_secret, load_secret

IDENTITY_FILE: Final = "identity.key"
_SIGN_INFO: Final = b"lifeline-edge node signing key 1\x00"
_AGREE_INFO: Final = b"lifeline-edge node agreement key 1\x00"


class Identity:
    """What a node signs with and what others agree on keys with; both from one seed of 32 bytes."""

    __slots__ = ("_sign", "agree", "sign_key")

    def __init__(self, seed: bytes) -> None:
        self._sign = Ed25519PrivateKey.from_private_bytes(derive(seed, salt=b"", info=_SIGN_INFO, length=32))
        self.sign_key = self._sign.public_key().public_bytes_raw()
        """The public half of the signing key."""
        self.agree = KeyPair(derive(seed, salt=b"", info=_AGREE_INFO, length=32))

    def sign(self, statement: bytes) -> bytes:
        """The 64-byte Ed25519 signature; ``statement`` begins with a context of its own."""
        return self._sign.sign(statement)


def load_identity(folder: Path) -> Identity:
    """The identity in ``folder``. Raises SecretFileError: missing, open to others, or damaged."""
    return Identity(load_secret(folder / IDENTITY_FILE))


def load_or_create_identity(folder: Path) -> Identity:
    """The identity in ``folder``, drawn and written (mode 0600) when there is none. Raises SecretFileError."""
    path = folder / IDENTITY_FILE
    return Identity(load_secret(path) if path.exists() else create_secret(path))
