"""Which of two bundles of one key is the newer, and what becomes of the older one when a part of it has left.

A bundle partly sent is finished unless the newer one would be complete earlier from scratch, and of two in a row only
one is abandoned (DESIGN section 4): on the slowest link something always arrives.
"""

from enum import Enum
from typing import NamedTuple

from edge_agent.core.bundle import BundleRecord
from edge_agent.core.outgoing import Outgoing


class Fate(Enum):
    """What becomes of the older bundle."""

    REPLACED = "replaced"
    """Nothing of it has left: it ends, and the newer one stands for it."""
    FINISHED = "finished"
    """What is left of it goes first."""
    ABANDONED = "abandoned"
    """It ends half sent, and the receiver is told."""


class Succession(NamedTuple):
    """What a bundle takes over from the older one of its key."""

    place_of: Outgoing | None
    """It is served when that one would have been: keys that change often and those that do not take turns."""
    is_promised: bool
    """One was abandoned half sent for it, or for what it replaces, so it must not be."""


NO_SUCCESSION = Succession(None, is_promised=False)


def is_newer(record: BundleRecord, other: BundleRecord) -> bool:
    """Whether ``record`` was made after ``other``, of the same source and key.

    Numbers tell inside one incarnation of the store. Of two incarnations the ages tell, as far as they are known: what
    was born later is newer, and what was stored later when both seem equally old.
    """
    if record.id.incarnation == other.id.incarnation:
        return record.id.sequence > other.id.sequence
    born_s, other_born_s = record.as_of_s - record.age_low_s, other.as_of_s - other.age_low_s
    return (born_s, record.as_of_s) > (other_born_s, other.as_of_s)


def fate_of(older: Outgoing, newer: BundleRecord, header_bytes: int) -> Fate:
    """What becomes of ``older`` now that ``newer``, whose packed header has ``header_bytes``, is here."""
    if not older.is_begun:
        return Fate.REPLACED
    left_bytes = older.unsent.total
    if older.follows_abandoned or newer.payload_bytes + header_bytes >= left_bytes:
        return Fate.FINISHED
    return Fate.ABANDONED
