"""Waiting for what becomes of a bundle: the state is the store's, the news of a change is the node's."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from edge_agent.client import BundleState
from edge_agent.core.bundle import BundleId
from edge_agent.core.progress import ARRIVED, ENDS, LEFT
from edge_agent.disk.types import Fate, FateState


class FateWatch:
    """Programs that wait for a state of a bundle. The node tells that something changed, the store what it is now.

    The news comes before the store has committed it, so each look at the store waits for what was written before it.
    """

    def __init__(
        self, read_fate: Callable[[BundleId], Awaitable[Fate]], flush: Callable[[], Awaitable[object]]
    ) -> None:
        self._read_fate = read_fate
        self._flush = flush
        self._waiting: defaultdict[BundleId, set[asyncio.Event]] = defaultdict(set)
        self.any_change = asyncio.Event()
        """Set at each change of any bundle; cleared by whoever waits for it."""

    def changed(self, *bundles: BundleId) -> None:
        """Something became of each of these."""
        self.any_change.set()
        if not self._waiting:
            return
        for bundle in bundles:
            for news in self._waiting.get(bundle, ()):
                news.set()

    async def wait(self, bundle: BundleId, wanted: str) -> Fate:
        """The fate once it is ``wanted`` ("forwarded", "delivered") or beyond, or can no longer become so."""
        reached = LEFT if wanted == "forwarded" else ARRIVED
        news = asyncio.Event()
        self._waiting[bundle].add(news)  # before the first look, or a change between the two would be missed
        try:
            while True:
                news.clear()
                await self._flush()
                fate = await self._read_fate(bundle)
                if fate.state in reached or fate.state in ENDS:
                    return fate
                await news.wait()
        finally:
            self._waiting[bundle].discard(news)
            if not self._waiting[bundle]:
                del self._waiting[bundle]


def state_of(fate: Fate) -> BundleState:
    """A fate as programs see it."""
    times = {
        FateState.ACCEPTED: fate.accepted_ms,
        FateState.FORWARDED: fate.forwarded_ms,
        FateState.DELIVERED: fate.delivered_ms,
        FateState.HELD: fate.delivered_ms,
        FateState.READ: fate.read_ms,
        FateState.DONE: fate.done_ms,
    }
    return BundleState(
        bundle=str(fate.bundle),
        state=fate.state.word,
        accepted_at_ms=fate.accepted_ms,
        at_ms=times.get(fate.state, fate.closed_ms),
        detail=fate.detail,
    )
