"""The state as every open page gets it: made once for all, at once when it is urgent, else a few times a second."""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from edge_agent.web.desk import Desk

LONGEST_GAP_S = 1.0  # promised in docs/api.md; a page calls itself lost after 2.5 s
SHORTEST_GAP_S = 0.2  # a hand sees no difference, a CPU does
URGENT_GAP_S = 0.04  # an alarm is shown within 100 ms; a flood of them still leaves time for everything else
COST_RATIO = 8.0  # making states takes at most about an eighth of the CPU, however large they grow


class StateFeed:
    """The newest state as JSON text, and the pages that wait for it. A slow page skips states, it never queues them."""

    def __init__(self, desk: Desk, token: str, now_ms: Callable[[], int]) -> None:
        self.text = ""
        self._desk = desk
        self.token = token
        self._now_ms = now_ms
        self._pages: set[asyncio.Event] = set()
        self._has_pages = asyncio.Event()
        self._change = asyncio.Event()
        self._is_hurried = False

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def hurry(self) -> None:
        """Make a state now: a page has come, or a person pressed something."""
        self._is_hurried = True
        self._change.set()

    @contextmanager
    def page(self) -> Iterator[asyncio.Event]:
        """Join; the event is set whenever ``text`` is new."""
        news = asyncio.Event()
        self._pages.add(news)
        self._has_pages.set()
        self.hurry()
        try:
            yield news
        finally:
            self._pages.discard(news)
            if not self._pages:
                self._has_pages.clear()

    async def run(self) -> None:
        """Make states for ever, while there are pages."""
        self._change = self._desk.watch()
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._has_pages.wait()
                self._change.clear()
                self._is_hurried = False
                urgency, began_s = self._desk.urgency(), loop.time()
                now_ms = self._now_ms()
                state = await self._desk.state_json(now_ms)
                own = json.dumps({"role": self._desk.role, "now_ms": now_ms, "csrf": self.token})
                self.text = f"{own[:-1]},{state[1:]}"  # joined as text: a post of forty units makes a megabyte
                for news in self._pages:
                    news.set()
                await self._until_due(urgency, began_s, cost_s=loop.time() - began_s)
        finally:
            self._desk.unwatch(self._change)

    async def _until_due(self, urgency: Hashable, began_s: float, cost_s: float) -> None:
        """Return when the next state should be made."""
        loop = asyncio.get_running_loop()
        soonest_s = began_s + max(SHORTEST_GAP_S, COST_RATIO * cost_s)
        due_s = max(began_s + LONGEST_GAP_S, soonest_s)
        while (now_s := loop.time()) < due_s:
            try:
                async with asyncio.timeout_at(due_s):
                    await self._change.wait()
            except TimeoutError:
                return
            self._change.clear()
            due_s = min(due_s, soonest_s)
            if self._is_hurried or self._desk.urgency() != urgency:
                urgent_s = began_s + max(URGENT_GAP_S, cost_s)
                await asyncio.sleep(max(0.0, urgent_s - now_s))
                return
