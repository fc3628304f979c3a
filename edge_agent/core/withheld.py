"""Withheld: word of custody that waits until a second post has the bundle, so that the death of this one hides nothing.

Only a command node that gives copies to others withholds it, and only while one of them is in reach
(docs/adr/0041-several-posts.md). The sender keeps the bundle meanwhile, and takes it to another post if this one dies.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleId
from edge_agent.core.peer import Peer

WITHHOLD_S = 4.0
"""At the longest: a sender asks what became of its bundle after 5 s (``node.CUSTODY_WAIT_S``)."""
WITHHELD_MAX = 8192
"""Bundles of all peers; beyond it the oldest is told of at once."""


class _Word(NamedTuple):
    """Who waits to hear of a bundle, and until when."""

    peer: Peer
    due_s: float


@dataclass(slots=True)
class Withheld:
    """Bundles that are durable and delivered here, and whose senders do not know it yet."""

    is_on: bool = False
    _words: dict[BundleId, _Word] = field(default_factory=dict)

    def __contains__(self, bundle: BundleId) -> bool:
        return bundle in self._words

    def __bool__(self) -> bool:
        return bool(self._words)

    def hold(self, bundle: BundleId, peer: Peer, now_s: float) -> None:
        """``peer`` hears of custody when a second post has the bundle, or after WITHHOLD_S."""
        self._words[bundle] = _Word(peer, now_s + WITHHOLD_S)
        if len(self._words) > WITHHELD_MAX:
            self.release([next(iter(self._words))], now_s)

    def release(self, bundles: Iterable[BundleId], now_s: float) -> None:
        """A second post has these."""
        for bundle in bundles:
            word = self._words.pop(bundle, None)
            if word is not None:
                word.peer.owe_custody(bundle, now_s)

    def turn(self, now_s: float, *, is_on: bool) -> None:
        """Whether another post is in reach; where none is, nobody waits."""
        self.is_on = is_on
        if not is_on:
            self.release(list(self._words), now_s)

    def sweep(self, now_s: float) -> None:
        """Tell what has waited long enough: the other post may be as good as dead."""
        due = []
        for bundle, word in self._words.items():  # in the order they came, which is that of ``due_s``
            if word.due_s > now_s:
                break
            due.append(bundle)
        self.release(due, now_s)
