"""A log of what people did, in which nothing can be changed, left out or put in between without being seen.

Each line is a JSON object and ends with ``chain``: SHA-256 over the chain of the line before and the line without its
own. The first line's predecessor is the hash of the node's id. Lines cut off the end are seen only by who remembers a
later head: so a node's head is told to others, and ``verify`` takes it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from edge_agent.core.errors import EdgeAgentError

LINE_MAX_BYTES: Final = 4096
_FIRST: Final = b"lifeline-edge audit 1\x00"


class AuditError(EdgeAgentError):
    """The log is not what was written, or cannot be read or written; names the file and the line."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends: how many lines it has and the chain of the last one."""

    lines: int
    chain: bytes

    def __str__(self) -> str:
        return f"{self.lines}:{self.chain.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """What ``str`` made. Raises ValueError."""
        lines, _, chain = text.partition(":")
        head = cls(int(lines), bytes.fromhex(chain))
        if head.lines < 0 or len(head.chain) != hashlib.sha256().digest_size:
            raise ValueError(f"{text}: allowed is LINES:CHAIN, as `edge-agent audit verify` prints it")
        return head


class AuditLog:
    """The log of one node, open for writing. Not for several tasks at once."""

    def __init__(self, path: Path, node_id: str) -> None:
        """Raises AuditError: the file cannot be opened, or its last lines do not hold."""
        self._path = path
        try:
            self._file: BinaryIO = path.open("a+b")
            os.chmod(path, 0o600)
            self._file.seek(0)
            whole, newline, cut = self._file.read().rpartition(b"\n")
            if cut:  # the power went while it was written: who did it was never told that it is done
                self._file.truncate(len(whole) + len(newline))
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}") from error
        self.head = _walk(path, node_id, whole.splitlines())

    def write(self, at_ms: int, entry: Mapping[str, Any]) -> Head:  # Any: JSON
        """One more line, synced before this returns. Raises AuditError; the log is as before then."""
        lines = self.head.lines + 1
        plain = _plain({"line": lines, "at_ms": at_ms, **entry})
        if len(plain) > LINE_MAX_BYTES:
            raise AuditError(f"{self._path}: an entry of {len(plain)} bytes; allowed are {LINE_MAX_BYTES}")
        chain = _next(self.head.chain, plain)
        begun = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(_chained(plain, chain) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut_back(begun)
            raise AuditError(f"{self._path}: {error.strerror}") from error
        self.head = Head(lines, chain)
        return self.head

    def close(self) -> None:
        """Every line is synced already."""
        self._file.close()

    def _cut_back(self, length: int) -> None:
        with suppress(OSError):  # a half line at the end is cut off at the next start
            self._file.truncate(length)


def verify(path: Path, node_id: str, *, known: Head | None = None) -> Head:
    """Where the log ends, if it is whole and ``known`` is one of its lines. Raises AuditError with the first fault."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from error
    lines = content.splitlines()
    if content and not content.endswith(b"\n"):
        lines.pop()  # being written, or cut off by the power
    return _walk(path, node_id, lines, known)


def entries(path: Path) -> Iterator[dict[str, Any]]:  # Any: JSON
    """The lines of a log that ``verify`` took."""
    for line in path.read_bytes().splitlines():
        yield json.loads(line)


def _walk(path: Path, node_id: str, lines: list[bytes], known: Head | None = None) -> Head:
    chain = hashlib.sha256(_FIRST + node_id.encode()).digest()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            del entry["chain"]
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(f"{path}: line {number} is no line of an audit log") from error
        plain = _plain(entry)
        chain = _next(chain, plain)
        if entry.get("line") != number or line != _chained(plain, chain):
            raise AuditError(
                f"{path}: line {number} does not follow from the line before it: changed, or one is missing"
            )
        if known is not None and known.lines == number and known.chain != chain:
            raise AuditError(f"{path}: line {number} is another one than was known: written anew from there or before")
    if known is not None and known.lines > len(lines):
        raise AuditError(f"{path}: ends with line {len(lines)}, but line {known.lines} was known: its end is missing")
    return Head(len(lines), chain)


def _plain(entry: Mapping[str, Any]) -> bytes:  # Any: JSON
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()


def _chained(plain: bytes, chain: bytes) -> bytes:
    return plain[:-1] + b',"chain":"' + chain.hex().encode() + b'"}'


def _next(chain: bytes, plain: bytes) -> bytes:
    return hashlib.sha256(chain + plain).digest()
