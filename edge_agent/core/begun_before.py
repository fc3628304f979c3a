"""What peers say they have of bundles that are not in memory here: this node began them before it was started anew."""

from typing import NamedTuple

from edge_agent.core.bundle import BundleId
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Peer

BEGUN_MAX = 256
"""Bundles remembered; a peer keeps at most 64 partials, and what is forgotten is only sent again."""


Ranges = tuple[tuple[int, int], ...]


class Begun(NamedTuple):
    """Which bytes of a bundle a peer has synced."""

    peer: Peer
    ranges: Ranges


class BegunBefore:
    """The word of peers, until the bundle is loaded; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._begun: dict[BundleId, Begun] = {}

    def note(self, bundle: BundleId, peer: Peer, ranges: Ranges) -> None:
        """``peer`` has these bytes of ``bundle``; its newest word counts."""
        self._begun.pop(bundle, None)
        self._begun[bundle] = Begun(peer, ranges)
        if len(self._begun) > BEGUN_MAX:
            del self._begun[next(iter(self._begun))]

    def apply_to(self, outgoing: Outgoing) -> None:
        """A bundle comes into memory: go on with it where its peer says; that is remembered once."""
        if self._begun:
            begun = self._begun.pop(outgoing.record.id, None)
            if begun is not None:
                go_on(outgoing, begun.peer, begun.ranges)


def go_on(outgoing: Outgoing, peer: Peer, ranges: Ranges) -> None:
    """``peer`` has these bytes of a bundle that was begun in an earlier start of this node."""
    outgoing.pin(peer)
    outgoing.replace_stored(ranges)
