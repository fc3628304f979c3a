"""The deployment secret as a file: 32 bytes in base64 or hexadecimal, readable by its owner alone."""

import base64
import binascii
import os
import secrets
import stat
import sys
from pathlib import Path

from edge_agent.core.errors import EdgeAgentError

SECRET_BYTES = 32
_LONGEST_BYTES = 256  # 32 bytes are 44 characters of base64 or 64 of hex; anything longer is another file


class SecretFileError(EdgeAgentError):
    """A secret file cannot be used or made; the message names the path and what is allowed, never the content."""


def load_secret(path: Path) -> bytes:
    """The 32 bytes of the secret. Raises SecretFileError for a missing, readable-by-others or malformed file."""
    try:
        with path.open("rb") as file:
            if sys.platform != "win32":  # Windows has no such bits; there the folder's own rights protect the file
                _check_mode(path, os.fstat(file.fileno()))
            text = file.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise SecretFileError(f"secret file {path}: {error.strerror}") from error
    secret = _decode(text.strip())
    if secret is None:
        raise SecretFileError(
            f"secret file {path}: its {len(text)} bytes are not {SECRET_BYTES} bytes in base64 or hexadecimal"
        )
    return secret


def create_secret(path: Path) -> bytes:
    """Write a fresh random secret with mode 0600 and give it back. Raises SecretFileError when the file exists."""
    secret = secrets.token_bytes(SECRET_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secret) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise SecretFileError(f"secret file {path} exists and is not overwritten: other nodes may hold it") from error
    except OSError as error:
        raise SecretFileError(f"secret file {path}: {error.strerror}") from error
    return secret


def _check_mode(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"secret file {path} is not a regular file")
    if mode & 0o177:
        raise SecretFileError(f"secret file {path} has mode {mode:04o}: allowed is 0600 or 0400 (chmod 600 {path})")


def _decode(text: bytes) -> bytes | None:
    try:
        decoded = (
            bytes.fromhex(text.decode()) if len(text) == 2 * SECRET_BYTES else base64.b64decode(text, validate=True)
        )
    except (ValueError, UnicodeDecodeError, binascii.Error):
        return None
    return decoded if len(decoded) == SECRET_BYTES else None
