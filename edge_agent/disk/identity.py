"""Whose store this is: the incarnation, the count of its starts, and whether its folder was copied or restored.

A copy that went on numbering under the same incarnation would give two bundles one name. So the store remembers where
it was born: inode and birth time of the database file, and the machine. Each differs after a copy, a restore or a move
of the disk to another kit; then a new incarnation begins. Device numbers are left out: they may change at any boot.
"""

import ctypes
import os
import secrets
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import msgpack
import structlog

from edge_agent.disk.schema import DATABASE_NAME

_MACHINE_FILES = {  # each may be absent or unreadable; only what was known both times is compared
    "machine": Path("/etc/machine-id"),
    "board": Path("/sys/class/dmi/id/product_uuid"),
    "serial": Path("/proc/device-tree/serial-number"),
}
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_BIRTH_OFFSET = 0x50  # stx_btime in struct statx (linux/stat.h): s64 seconds, u32 nanoseconds

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Facts of this start, already durable."""

    incarnation: int
    session_number: int
    was_copied: bool


def begin_session(database: sqlite3.Connection, folder: Path) -> Identity:
    """Count this start, and begin a new incarnation for a new or copied store. Synced on return."""
    here = fingerprint(folder)
    database.execute("BEGIN IMMEDIATE")
    facts: dict[str, object] = dict(database.execute("SELECT name, value FROM facts"))
    incarnation = _unsigned(facts.get("incarnation"))
    packed = facts.get("fingerprint")
    changed = _differences(msgpack.unpackb(packed), here) if isinstance(packed, bytes) else []
    if incarnation is None or changed:
        incarnation = secrets.randbits(64)
        database.execute("DELETE FROM leases")  # numbers count from 0 again under the new name
    count = facts.get("session_number")
    session_number = (count if isinstance(count, int) else 0) + 1
    for name, value in (
        ("incarnation", to_signed(incarnation)),
        ("session_number", session_number),
        ("fingerprint", msgpack.packb(here)),
    ):
        database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
    database.execute("COMMIT")
    if changed:
        _log.error("store_copied", path=str(folder), changed=changed, incarnation=f"{incarnation:016x}")
    return Identity(incarnation=incarnation, session_number=session_number, was_copied=bool(changed))


def fingerprint(folder: Path) -> dict[str, str]:
    """What tells this folder on this machine from a copy of it elsewhere."""
    path = folder / DATABASE_NAME
    found = {"inode": str(path.stat().st_ino)}
    birth_ns = _birth_ns(path)
    if birth_ns is not None:
        found["birth"] = str(birth_ns)
    for name, file in _MACHINE_FILES.items():
        try:
            text = file.read_bytes().strip(b"\0 \n")
        except OSError:  # not this kind of machine, or not ours to read
            continue
        if text:
            found[name] = text.decode(errors="replace")
    return found


def to_signed(incarnation: int) -> int:
    """64 unsigned bits as the signed integer that SQLite stores."""
    return incarnation - (1 << 64) if incarnation >= 1 << 63 else incarnation


def to_unsigned(stored: int) -> int:
    """The inverse of ``to_signed``."""
    return stored + (1 << 64) if stored < 0 else stored


def _unsigned(stored: object) -> int | None:
    return to_unsigned(stored) if isinstance(stored, int) else None


def _differences(known: dict[str, str], here: dict[str, str]) -> list[str]:
    return [name for name, value in known.items() if name in here and here[name] != value]


def _birth_ns(path: Path) -> int | None:
    """When a file was created, in ns; None where the kernel, the C library or the file system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:  # a C library older than glibc 2.28
        return None
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    mask = int.from_bytes(buffer.raw[:4], sys.byteorder)
    if not mask & _STATX_BTIME:
        return None
    born = buffer.raw[_BIRTH_OFFSET : _BIRTH_OFFSET + 12]
    seconds = int.from_bytes(born[:8], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(born[8:], sys.byteorder)
