"""A 32-byte key as text that a person writes down and types in again: fourteen groups of four letters, with a check."""

import hashlib
from typing import Final

from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.letters import from_letters, in_groups, to_letters

KEY_BYTES: Final = 32
CHECK_BYTES: Final = 3


class RecoveryKeyError(EdgeAgentError):
    """What was typed is no recovery key; the message says where it goes wrong."""


def write_down(key: bytes) -> str:
    """The text of ``key``."""
    return in_groups(to_letters(key + _check(key)))


def read_back(text: str) -> bytes:
    """The key in ``text``; case, spaces and dashes do not matter. Raises RecoveryKeyError."""
    try:
        data = from_letters(text)
    except ValueError as error:
        raise RecoveryKeyError(str(error)) from error
    if len(data) != KEY_BYTES + CHECK_BYTES:
        raise RecoveryKeyError("too few or too many letters: a recovery key has fourteen groups of four")
    key = data[:KEY_BYTES]
    if data[KEY_BYTES:] != _check(key):
        raise RecoveryKeyError("a letter is wrong: the check at its end does not fit")
    return key


def _check(key: bytes) -> bytes:
    return hashlib.sha256(b"lifeline-edge recovery key 1\x00" + key).digest()[:CHECK_BYTES]
