"""The authority of a deployment: signs certificates, takes them back, and remembers both. Never on a network.

A folder holds it: ``authority.json`` (name and public key; for everybody), ``authority.key`` (the seed, sealed under a
passphrase) and ``ledger.jsonl`` (every certificate and revocation, each line synced before its certificate is given
out). Whoever has the recovery key makes the folder anew.
"""

import base64
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.certificate import NUMBER_MAX, Certificate, authority_id
from edge_agent.security.recovery_key import read_back, write_down

PASSPHRASE_LEAST: Final = 12
SCRYPT_N: Final = 1 << 17
"""128 MiB and a good part of a second for each guess (RFC 7914)."""
SERIALS_SINCE_S: Final = 1_767_225_600
"""2026-01-01. Serials are at least the seconds since: an authority made anew from its key gives none twice."""
_KEY_FILE, _PUBLIC_FILE, _LEDGER_FILE = "authority.key", "authority.json", "ledger.jsonl"
_SEAL_CONTEXT: Final = b"lifeline-edge authority seed 1\x00"


class AuthorityError(EdgeAgentError):
    """The folder holds no authority, the passphrase is wrong, or what is asked for is not given; says which."""


class Authority:
    """An authority whose key is open. Made by ``create``, ``unlock`` or ``recover``."""

    def __init__(self, folder: Path, name: str, key: Ed25519PrivateKey) -> None:
        self.folder = folder
        self.name = name
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def create(cls, folder: Path, name: str, passphrase: str) -> tuple[Self, str]:
        """A new authority in an empty or missing ``folder``, and its recovery key. Raises AuthorityError."""
        seed = secrets.token_bytes(32)
        return cls._write(folder, name, seed, passphrase), write_down(seed)

    @classmethod
    def recover(cls, folder: Path, name: str, passphrase: str, recovery_key: str) -> Self:
        """The authority of ``recovery_key``, made anew. Raises AuthorityError, RecoveryKeyError."""
        return cls._write(folder, name, read_back(recovery_key), passphrase)

    @classmethod
    def unlock(cls, folder: Path, passphrase: str) -> Self:
        """The authority in ``folder``. Raises AuthorityError."""
        public, sealed = _read_json(folder / _PUBLIC_FILE), _read_json(folder / _KEY_FILE)
        try:
            wrap = _wrapping_key(passphrase, base64.b64decode(sealed["salt"]), sealed["n"])
            seed = AESGCM(wrap).decrypt(
                base64.b64decode(sealed["nonce"]), base64.b64decode(sealed["seed"]), _SEAL_CONTEXT
            )
            name = public["name"]
        except InvalidTag as error:
            raise AuthorityError(f"{folder / _KEY_FILE}: wrong passphrase") from error
        except (KeyError, TypeError, ValueError) as error:
            raise AuthorityError(f"{folder / _KEY_FILE}: damaged ({error})") from error
        return cls(folder, name, Ed25519PrivateKey.from_private_bytes(seed))

    def issue(
        self, *, node_id: str, role: str, sign_key: bytes, agree_key: bytes, wish: int, now_s: int, valid_s: int
    ) -> Certificate:
        """A certificate, in the ledger before it is given out. Its number is the node's, or ``wish`` if free.

        Raises AuthorityError: no number is free, the keys belong to another node, or the ledger cannot be written.
        """
        with self._ledger() as ledger:
            number = ledger.number_for(node_id, sign_key, wish)
            unsigned = Certificate(
                authority=authority_id(self.public_key),
                serial=max(ledger.last_serial + 1, now_s - SERIALS_SINCE_S),
                node_id=node_id,
                number=number,
                role=role,
                sign_key=sign_key,
                agree_key=agree_key,
                not_before_s=now_s,
                not_after_s=now_s + valid_s,
            )
            signed = Certificate.parse(unsigned.body() + self._key.sign(unsigned.signed_bytes()))
            ledger.add({"certificate": _text(signed.to_bytes()), "at_s": now_s})
            return signed

    def sign(self, statement: bytes) -> bytes:
        """The authority's signature of ``statement``, which begins with a context of its own."""
        return self._key.sign(statement)

    def issued(self) -> list[Certificate]:
        """Every certificate given out, the oldest first. Raises AuthorityError."""
        with self._ledger() as ledger:
            return list(ledger.certificates)

    @classmethod
    def _write(cls, folder: Path, name: str, seed: bytes, passphrase: str) -> Self:
        if len(passphrase) < PASSPHRASE_LEAST:
            raise AuthorityError(f"passphrase: {len(passphrase)} characters; allowed are {PASSPHRASE_LEAST} and more")
        if not 0 < len(name) <= 64:
            raise AuthorityError(f"name: {len(name)} characters; allowed are 1 to 64")
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        sealed = AESGCM(_wrapping_key(passphrase, salt, SCRYPT_N)).encrypt(nonce, seed, _SEAL_CONTEXT)
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public = key.public_key().public_bytes_raw()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise AuthorityError(f"{folder} is not empty: an authority gets a folder of its own")
            secret = {"n": SCRYPT_N, "salt": _text(salt), "nonce": _text(nonce), "seed": _text(sealed)}
            _write_json(folder / _KEY_FILE, secret)
            _write_json(folder / _PUBLIC_FILE, {"name": name, "id": authority_id(public).hex(), "key": _text(public)})
        except OSError as error:
            raise AuthorityError(f"{error.filename}: {error.strerror}") from error
        return cls(folder, name, key)

    @contextmanager
    def _ledger(self) -> Iterator["_Ledger"]:
        path = self.folder / _LEDGER_FILE
        try:
            with path.open("a+b") as file:
                _lock(file.fileno())
                yield _Ledger(path, file)
        except OSError as error:
            raise AuthorityError(f"{path}: {error.strerror}") from error


class _Ledger:
    """The ledger while it is open and locked."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._file = file
        self.certificates: list[Certificate] = []
        file.seek(0)
        whole, newline, cut = file.read().rpartition(b"\n")
        if cut:  # the power went while it was written: its certificate was never given out
            file.truncate(len(whole) + len(newline))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                self.certificates.append(Certificate.parse(base64.b64decode(entry["certificate"])))
            except (ValueError, KeyError, TypeError, EdgeAgentError) as error:
                raise AuthorityError(f"{path}: line {number} is damaged ({error})") from error
        self.last_serial = max((each.serial for each in self.certificates), default=-1)

    def number_for(self, node_id: str, sign_key: bytes, wish: int) -> int:
        """The number of this node, now and later. Raises AuthorityError."""
        taken: dict[int, str] = {}
        for each in self.certificates:
            if each.sign_key == sign_key and each.node_id != node_id:
                raise AuthorityError(f"{node_id}: these keys are those of {each.node_id}")
            taken[each.number] = each.node_id
        own = next((number for number, name in taken.items() if name == node_id), None)
        if own is not None:
            return own
        if wish not in taken:
            return wish
        free = next((number for number in range(1, NUMBER_MAX + 1) if number not in taken), None)
        if free is None:
            raise AuthorityError(f"{node_id}: all {NUMBER_MAX + 1} numbers are given")
        return free

    def add(self, entry: dict[str, Any]) -> None:  # Any: JSON
        """One more line, synced. Raises OSError."""
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _wrapping_key(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=8, p=1).derive(passphrase.encode())


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _read_json(path: Path) -> dict[str, Any]:  # Any: JSON
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise AuthorityError(f"{path}: damaged ({error})") from error
    if not isinstance(found, dict):
        raise AuthorityError(f"{path}: damaged (no object)")
    return found


def _write_json(path: Path, content: dict[str, Any]) -> None:  # Any: JSON
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _lock(descriptor: int) -> None:
    """Nobody else writes the ledger meanwhile; where the system has no such locks, people see to it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
