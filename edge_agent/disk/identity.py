"""Whose store this is: the incarnation, the count of its starts, and whether its folder was copied or restored.

A copy that went on numbering under the same incarnation would give two bundles one name, two burst frames one nonce. So
the store remembers where it was born: inode and birth time of the database file, and the machine. Each differs after a
copy or a move of the disk to another kit; then a new incarnation begins. Device numbers are left out: they may change
at any boot. A database that an older one was written over keeps all of these; the count beside it (``starts``) tells.
"""

import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import msgpack
import structlog

from edge_agent.disk.birth import differences
from edge_agent.disk.carried import CARRIED_FACT
from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.schema import DATABASE_NAME
from edge_agent.disk.starts import SESSION_FACT, StartCount, read_starts

_MACHINE_FILES = {  # each may be absent or unreadable; only what was known both times is compared
    "machine": Path("/etc/machine-id"),
    "board": Path("/sys/class/dmi/id/product_uuid"),
    "serial": Path("/proc/device-tree/serial-number"),
}

BURST_LEASED_FACT = "burst_leased"
"""Numbers of burst frames below this value may have been used under the incarnation of this store."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Facts of this start, already durable."""

    incarnation: int
    session_number: int
    was_copied: bool
    starts: StartCount


def begin_session(database: sqlite3.Connection, folder: Path, file_system: FileSystem = MACHINE) -> Identity:
    """Count this start, and begin a new incarnation for a new, copied or restored store. Synced on return."""
    here = fingerprint(folder, file_system)
    outside = read_starts(folder, file_system)
    database.execute("BEGIN IMMEDIATE")
    facts: dict[str, object] = dict(database.execute("SELECT name, value FROM facts"))
    incarnation = _unsigned(facts.get("incarnation"))
    count = facts.get(SESSION_FACT)
    counted = count if isinstance(count, int) else 0
    packed = facts.get("fingerprint")
    changed = differences(msgpack.unpackb(packed), here) if isinstance(packed, bytes) else []
    if outside is not None and incarnation is not None:
        changed += outside.evidence(counted)
    if incarnation is None or changed:
        if incarnation is not None:
            close_numbers(database, incarnation)
        incarnation = secrets.randbits(64)
        database.execute("DELETE FROM leases")  # numbers count from 0 again under the new name
        database.execute("DELETE FROM facts WHERE name IN (?, ?)", (BURST_LEASED_FACT, CARRIED_FACT))
    session_number = max(counted, outside.session_number if outside else 0) + 1  # peers must see it rise even so
    for name, value in (
        ("incarnation", to_signed(incarnation)),
        (SESSION_FACT, session_number),
        ("fingerprint", msgpack.packb(here)),
    ):
        database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
    database.execute("COMMIT")
    starts = StartCount(database, folder, session_number, file_system)
    starts.write_outside()
    if changed:
        _log.error(
            "store_copied",
            path=str(folder),
            changed=changed,
            incarnation=f"{incarnation:016x}",
            session_number=counted,
            session_number_outside=outside.session_number if outside else None,
        )
    return Identity(incarnation=incarnation, session_number=session_number, was_copied=bool(changed), starts=starts)


def close_numbers(database: sqlite3.Connection, incarnation: int) -> None:
    """Numbers given out under a name that ends now: a bundle of them that comes back is not new here."""
    origins = "SELECT origin FROM origins WHERE incarnation = ?"
    leases = f"SELECT origin, precedence, next_sequence FROM leases, ({origins}) WHERE next_sequence > 0"
    for origin, precedence, stop in database.execute(leases, (to_signed(incarnation),)).fetchall():
        key = (origin, precedence)
        database.execute("DELETE FROM seen WHERE origin = ? AND precedence = ? AND start < ?", (*key, stop))
        database.execute("INSERT INTO seen VALUES (?, ?, 0, ?)", (*key, stop))


def fingerprint(folder: Path, file_system: FileSystem = MACHINE) -> dict[str, str]:
    """What tells this folder on this machine from a copy of it elsewhere."""
    found = file_system.birth(folder / DATABASE_NAME)
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
