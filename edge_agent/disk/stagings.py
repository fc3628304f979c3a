"""Payloads that programs hand in piece by piece, as the tables know them: parts without a bundle's name yet.

A part of this kind goes by the program's name for it, so that whoever was interrupted goes on with it. One that nobody
feeds is the first to go when room is needed. The bundle it became is remembered until the program says that it knows.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.disk.types import SEQUENCE_MAX, DiskClock

STAGED_SOURCE = "+staged"
"""In the place of a node's id, of which none can be like this."""
STAGINGS_MAX = 16
"""Parts of this kind at a time; each may be as large as the store."""
REMEMBERED_MAX = 64
"""Bundles whose programs did not say that they know."""
_FACT = "staged:"
_NAMED = "named:"


def part_of(name: str, precedence: Precedence) -> BundleId:
    """Under which name the pieces of a staging lie."""
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % SEQUENCE_MAX
    return BundleId(STAGED_SOURCE, 0, precedence, number)


@dataclass(slots=True)
class Stagings:
    """Belongs to ``Rows``; every call is part of the writer's transaction under way."""

    database: sqlite3.Connection
    parts: Mapping[BundleId, Any]  # Any: rows.Part, which would import this
    drop_part: Callable[[BundleId], None]
    clock: DiskClock
    fed: Counter[BundleId] = field(default_factory=Counter)
    """How many programs feed a part now."""

    def make_room(self, missing_bytes: Callable[[], int]) -> None:
        """Drop parts that nobody feeds until nothing is missing."""
        for part in self._idle():
            if missing_bytes() <= 0:
                return
            self.drop_part(part)

    def has_slot(self) -> bool:
        """Whether one more may begin; one that nobody feeds makes room for it."""
        staged = [part for part in self.parts if part.source == STAGED_SOURCE]
        if len(staged) < STAGINGS_MAX:
            return True
        idle = self._idle()
        if idle:
            self.drop_part(idle[0])
        return bool(idle)

    def _idle(self) -> list[BundleId]:
        return [part for part in self.parts if part.source == STAGED_SOURCE and not self.fed[part]]

    def name(self, part: BundleId, bundle: BundleId) -> None:
        """The part's file gets the name of this bundle, before its row is written."""
        self.database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (f"{_NAMED}{part}", str(bundle)))

    def named(self, part: BundleId) -> BundleId | None:
        """The bundle whose name the part's file may have."""
        found = self.database.execute("SELECT value FROM facts WHERE name = ?", (f"{_NAMED}{part}",)).fetchone()
        return None if found is None else BundleId.parse(str(found[0]))

    def remember(self, part: BundleId, bundle: BundleId) -> None:
        """The part is this bundle now."""
        self.database.execute("DELETE FROM facts WHERE name = ?", (f"{_NAMED}{part}",))
        self.database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", (f"{_FACT}{part}", f"{self.clock.wall_ms():015} {bundle}")
        )
        self.database.execute(
            f"DELETE FROM facts WHERE name GLOB '{_FACT}*' AND name NOT IN"
            f" (SELECT name FROM facts WHERE name GLOB '{_FACT}*' ORDER BY value DESC LIMIT ?)",
            (REMEMBERED_MAX,),
        )

    def became(self, part: BundleId) -> BundleId | None:
        """The bundle that a part became; None when it is a part, or not remembered."""
        found = self.database.execute("SELECT value FROM facts WHERE name = ?", (f"{_FACT}{part}",)).fetchone()
        return None if found is None else BundleId.parse(str(found[0]).split(" ", 1)[1])

    def forget(self, part: BundleId) -> None:
        """Whoever handed it in knows its bundle."""
        self.database.execute("DELETE FROM facts WHERE name = ?", (f"{_FACT}{part}",))
