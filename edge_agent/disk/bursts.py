"""Numbers of burst frames: what is leased for those we send, and the replay windows of those we take.

On a link without a handshake only the disk can tell, after a start, which numbers were used. Every call is part of the
writer's transaction under way; after a rollback ``load`` takes the tables as they are.
"""

import sqlite3

from edge_agent.core.effects import BurstWindow, Done, Failed, Outcome
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.identity import BURST_LEASED_FACT, to_signed, to_unsigned
from edge_agent.disk.starts import StartCount

WINDOWS_MAX = 4096
"""A province of senders with some starts each; 400 kB. What falls out was not heard for longest."""
_UNSIGNED_MAX = (1 << 64) - 1
_LEASED_MAX = 1 << 62  # SQLite has 63 bits; a key ends at 2^36 frames


class BurstNumbers:
    """The lease and the windows in memory, and their rows."""

    def __init__(self, database: sqlite3.Connection, starts: StartCount) -> None:
        self._database = database
        self._starts = starts
        self._leased = 0
        self._windows: dict[tuple[int, int], BurstWindow] = {}  # in the order of writing
        self.load()

    def load(self) -> None:
        """Take the rows as they are."""
        execute = self._database.execute
        found = execute("SELECT value FROM facts WHERE name = ?", (BURST_LEASED_FACT,)).fetchone()
        self._leased = int(found[0]) if found else 0
        self._windows.clear()
        for signed in execute("SELECT sender_number, incarnation, highest, mask FROM burst_windows ORDER BY row"):
            window = BurstWindow(*map(to_unsigned, signed))
            self._windows[window.sender_number, window.incarnation] = window

    @property
    def leased(self) -> int:
        """Numbers below it may have been used under the incarnation of this store."""
        return self._leased

    def windows(self) -> tuple[BurstWindow, ...]:
        """Every window, the least recently written first."""
        return tuple(self._windows.values())

    def lease(self, up_to: int) -> Outcome:
        """Reserve numbers below ``up_to``; what is leased is never less afterwards."""
        if up_to >= _LEASED_MAX:
            return Failed(RefusalReason.MALFORMED, f"burst numbers up to {up_to}: the limit is {_LEASED_MAX}")
        if up_to > self._leased:
            self._leased = up_to
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (BURST_LEASED_FACT, up_to))
            self._starts.rise()
        return Done()

    def sync(self, window: BurstWindow) -> Outcome:
        """Keep a window in the place of the one before it."""
        if not all(0 <= value <= _UNSIGNED_MAX for value in window):
            return Failed(RefusalReason.MALFORMED, f"{window}: its values are not all from 0 to {_UNSIGNED_MAX}")
        key = (window.sender_number, window.incarnation)
        self._windows.pop(key, None)
        if len(self._windows) >= WINDOWS_MAX:
            self._forget(next(iter(self._windows)))
        self._windows[key] = window
        self._database.execute(
            "INSERT OR REPLACE INTO burst_windows (sender_number, incarnation, highest, mask) VALUES (?, ?, ?, ?)",
            tuple(to_signed(value) for value in window),
        )
        return Done()

    def _forget(self, key: tuple[int, int]) -> None:
        del self._windows[key]
        self._database.execute(
            "DELETE FROM burst_windows WHERE sender_number = ? AND incarnation = ?", tuple(map(to_signed, key))
        )
