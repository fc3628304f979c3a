"""News of accepted bundles for programs that keep their own books, such as the demo's ledger."""

import asyncio
from collections.abc import AsyncIterator

from edge_agent.core.bundle import BundleId

WAITING_MAX = 65_536
"""Ids that one reader may leave unread; beyond it the reader is told by the end of its stream."""


class AcceptedNews:
    """Hands the id of each bundle accepted from now on to everybody who follows."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[BundleId | None]] = set()

    def tell(self, bundle: BundleId) -> None:
        """``bundle`` is on disk."""
        for follower in list(self._followers):
            try:
                follower.put_nowait(bundle)
            except asyncio.QueueFull:  # too slow to keep books: its stream ends, and it knows that it missed some
                self._followers.discard(follower)
                follower.get_nowait()
                follower.put_nowait(None)

    async def follow(self) -> AsyncIterator[BundleId]:
        """Ids as they are accepted; ends when this reader fell WAITING_MAX behind."""
        follower: asyncio.Queue[BundleId | None] = asyncio.Queue(WAITING_MAX)
        self._followers.add(follower)
        try:
            while (bundle := await follower.get()) is not None:
                yield bundle
        finally:
            self._followers.discard(follower)
