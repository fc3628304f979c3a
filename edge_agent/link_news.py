"""Which changes of a link are news: each of a steady link, few of one that flaps.

Of a flapping link it is told that it began, how often it fell in each minute since, that it stays down, and that it is
steady again. Its state in ``status`` and on the pages is always the present one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from edge_agent.core.effects import LinkChanged, LinkState

SUMMARY_S = 60.0
"""Between two words on a link that goes on flapping."""
LASTING_S = 5.0
"""Down for so long is no flap any more."""
LOOK_S = 1.0

log = structlog.get_logger()


class _Way(NamedTuple):
    link: str
    peer: str


@dataclass(slots=True)
class _Flapping:
    """One link that flaps: the newest change, and what was last told."""

    newest: LinkChanged
    changed_s: float
    told_s: float
    told_falls: int


@dataclass(slots=True)
class LinkNews:
    """Logs what is news. ``tell`` is called for it, too: pages and command shall know soon."""

    tell: Callable[[], None]
    _flapping: dict[_Way, _Flapping] = field(default_factory=dict)
    _began: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, event: LinkChanged, now_s: float) -> None:
        """A link changed; without a flapping link it is told at once."""
        way = _Way(event.link, event.peer)
        known = self._flapping.get(way)
        if not event.falls:
            self._flapping.pop(way, None)
            self._say_change(event)
        elif known is None:
            self._flapping[way] = _Flapping(event, now_s, now_s, event.falls)
            self._began.set()
            self._say_flapping(event)
        else:
            known.newest, known.changed_s = event, now_s

    def look(self, now_s: float) -> None:
        """Tell of flapping links what is due."""
        for way, known in list(self._flapping.items()):
            event = known.newest
            if event.state is LinkState.DOWN and now_s - known.changed_s >= LASTING_S:
                del self._flapping[way]
                self._say_change(event)
            elif event.falls > known.told_falls and now_s - known.told_s >= SUMMARY_S:
                known.told_s, known.told_falls = now_s, event.falls
                self._say_flapping(event)

    async def run(self, now_s: Callable[[], float]) -> None:
        """Look once a second while a link flaps; ends only by cancellation."""
        while True:
            await self._began.wait()
            self._began.clear()
            while self._flapping:
                await asyncio.sleep(LOOK_S)
                self.look(now_s())

    def _say_flapping(self, event: LinkChanged) -> None:
        log.warning("link_flapping", link=event.link, peer=event.peer, state=event.state.value, falls=event.falls)
        self.tell()

    def _say_change(self, event: LinkChanged) -> None:
        log.info(
            "link_changed",
            link=event.link,
            peer=event.peer,
            state=event.state.value,
            previous=event.previous.value,
            reason=event.reason,
        )
        self.tell()
