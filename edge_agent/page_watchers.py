"""Those who wait for a page's state to change."""

import asyncio


class Watchers:
    """Events that are all set at each change; whoever owns one clears it."""

    def __init__(self) -> None:
        self._events: set[asyncio.Event] = set()

    def watch(self) -> asyncio.Event:
        """An event that is set at every change."""
        event = asyncio.Event()
        self._events.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Nobody waits for ``event`` any more."""
        self._events.discard(event)

    def tell(self) -> None:
        """Something changed."""
        for event in self._events:
            event.set()
