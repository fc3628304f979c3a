"""Headers of the bundles stored last, to tell a repeat from another bundle under the same name."""

from edge_agent.core.bundle import BundleId

COMPARED = 2048
"""Bundles stored last, and as many before them: two halves that are forgotten by turns."""


class StoredHeaders:
    """Packed headers by name; what is forgotten is not compared."""

    def __init__(self) -> None:
        self._newer: dict[BundleId, bytes] = {}
        self._older: dict[BundleId, bytes] = {}

    def note(self, bundle: BundleId, packed: bytes) -> None:
        """A bundle with this header is stored."""
        self._newer[bundle] = packed
        if len(self._newer) >= COMPARED:
            self._newer, self._older = {}, self._newer

    def differs(self, bundle: BundleId, packed: bytes) -> bool:
        """Whether the one that was stored is known to have had another header."""
        known = self._newer.get(bundle) or self._older.get(bundle)
        return known is not None and known != packed
