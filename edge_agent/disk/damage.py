"""Damage: a bundle whose bytes are no longer those that were stored is taken out, kept aside, told and never sent."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_agent.core.bundle import BundleHeader, BundleId, MalformedError
from edge_agent.core.effects import Evicted, QueueKey
from edge_agent.disk.ages import Ages
from edge_agent.disk.carried import Carried
from edge_agent.disk.fates import Fates, RowKey
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.inserts import sum_of
from edge_agent.disk.removal import STORED_COLUMNS, Removal, Stored
from edge_agent.disk.types import FateState, StateUpdate

DAMAGED_MAX = 10_000
"""Rows kept aside; more say that the disk is dying, and each is in the log with its name."""
DETAIL = "damaged on disk"

_log = structlog.get_logger()


def is_sound(total: int | None, header: bytes, body: bytes) -> bool:
    """Whether a row is what was stored; ``total`` None: an earlier version stored it without a sum."""
    return total is None or total == sum_of(header, body)


def sound_header(
    total: int | None, packed: bytes, body: bytes, unpack: Callable[[bytes], BundleHeader] = BundleHeader.unpack
) -> BundleHeader | None:
    """The header of a row; None when the row is not what was stored. ``total`` None: nothing to compare with."""
    if not is_sound(total, packed, body):
        return None
    try:
        return unpack(packed)
    except MalformedError:
        return None


@dataclass(slots=True, kw_only=True)
class Damage:
    """The writer's side; every call is part of the transaction under way."""

    database: sqlite3.Connection
    removal: Removal
    carried: Carried
    fates: Fates
    ages: Ages

    def take_out(self, bundle: BundleId, key: RowKey, files: PayloadFiles) -> Evicted | None:
        """Move a bundle's row to ``damaged``, its file to another name; a word for the core when it waited here."""
        found = self.database.execute(
            f"SELECT stored_ms, {STORED_COLUMNS} FROM bundles WHERE origin = ? AND precedence = ? AND sequence = ?", key
        ).fetchone()
        if found is None:
            return None  # told twice, or its custody ended meanwhile
        stored_ms, stored = found[0], Stored(*found[1:])
        now_ms = self.ages.now_ms()
        self.database.execute(
            "INSERT OR REPLACE INTO damaged SELECT bundles.row, ?, origin, precedence, sequence, queue, flow, receipt,"
            " payload_bytes, digest, sum, header, coalesce(bundles.body, bodies.body)"
            " FROM bundles LEFT JOIN bodies ON bodies.row = bundles.row WHERE bundles.row = ?",
            (now_ms, stored.row),
        )
        self.database.execute(
            "DELETE FROM damaged WHERE row IN (SELECT row FROM damaged ORDER BY row DESC LIMIT -1 OFFSET ?)",
            (DAMAGED_MAX,),
        )
        if stored.is_file:
            files.set_aside(bundle)  # before the commit: a row without its file is told at the next start
        self.removal.delete(bundle, stored._replace(is_file=0))
        waited = stored.queue is not None
        if waited:
            self.carried.give_up(bundle)
        _log.error("bundle_damaged", bundle=str(bundle), payload_bytes=stored.payload_bytes, waited=waited)
        return self._close(bundle, key, stored, stored_ms, now_ms) if waited else None

    def _close(self, bundle: BundleId, key: RowKey, stored: Stored, stored_ms: int, now_ms: int) -> Evicted:
        destination, flow, source = self.database.execute(
            "SELECT destination, flow, source FROM queues WHERE queue = ?", (stored.queue,)
        ).fetchone()
        header = BundleHeader(destination=destination, flow=flow).pack()  # its own may be what is damaged
        self.fates.close(key, header, stored.payload_bytes, stored_ms, FateState.EVICTED, now_ms)
        news = StateUpdate(bundle=bundle, state=FateState.EVICTED, at_ms=now_ms, detail=DETAIL)
        self.fates.set_states([(key, news)])
        return Evicted(bundle, QueueKey(destination, bundle.precedence, source, flow), stored.payload_bytes)
