"""Room for what arrives: what each peer may open, and which bundle is refused before its first byte.

The store takes so many bytes a second. What all peers together may have under way is two seconds of that, shared among
those that send now, so that five hundred kits against a slow disk fill neither memory nor the way of a FLASH.
"""

from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.partial import Partial
from edge_agent.core.payload_cache import CHUNK_BYTES
from edge_agent.core.peer import FIRST_WINDOW_BYTES, Peer
from edge_agent.core.report import NodeSettings

STORE_SPAN_S = 2.0
"""How much of the store's rate may be under way: several round trips of any link, and a short wait for PRIORITY."""
TOTAL_LEAST_BYTES = 256 << 10
"""The window over all peers on the slowest disk: four of the largest bundles that are joined in memory."""
RESERVE_BYTES = 8 << 20
"""Room for FLASH and IMMEDIATE beyond the window, over all peers, never lent to others."""
KEPT_SHARE = 1 / 16
"""Of a small store no more than this is kept free for them: the quota keeps a reserve of its own."""
RESERVE_LEAST_BYTES = CHUNK_BYTES
PEER_LEAST_BYTES = 2048
"""A share is never smaller: a reading and a position; a longer bundle goes alone."""
ACTIVE_S = 10.0
WARM_BYTES = FIRST_WINDOW_BYTES // 4
"""A peer that has sent so much since it said HELLO is told its share; a hundred that begin at once get little."""
LARGE_ROOM_BYTES = 2 * CHUNK_BYTES
"""What a bundle takes that goes to a ``.part``: a run that fills, and one that is being written."""
RETRY_BUSY_LONGEST_S = 60.0


@dataclass(slots=True, eq=False)
class ReceiveRoom:
    """The account of all peers."""

    settings: NodeSettings
    reserved_bytes: int = 0
    """Declared, and not yet taken off the free store by the store itself, of all peers."""
    memory_bytes: int = 0
    """What of it can lie in memory."""
    free_bytes: int = field(init=False)
    has_turned_away: bool = False
    """A bundle was refused for want of store since room was last told."""
    _kept_bytes: int = field(init=False)
    _total_bytes: int = field(init=False)
    _store_bps: float | None = None
    _active: dict[str, Peer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free_bytes = self.settings.free_store_bytes
        self._kept_bytes = min(RESERVE_BYTES, int(self.settings.store_quota_bytes * KEPT_SHARE))
        self._total_bytes = self.settings.receive_window_bytes

    def set_store_rate(self, store_bps: float) -> None:
        """How fast the store syncs, in payload bits a second."""
        self._store_bps = store_bps
        span_bytes = int(store_bps / 8 * STORE_SPAN_S)
        self._total_bytes = min(self.settings.receive_window_bytes, max(TOTAL_LEAST_BYTES, span_bytes))

    def window_bytes(self, peer: Peer) -> int:
        """What this peer may open now."""
        free_bytes = self.free_bytes - self.reserved_bytes - self._kept_bytes
        if free_bytes <= 0:
            return 0
        peers = len(self._active) + (peer.node_id not in self._active)
        share_bytes = max(PEER_LEAST_BYTES, self._total_bytes // peers)
        if peer.fed_bytes < WARM_BYTES:
            share_bytes = min(share_bytes, FIRST_WINDOW_BYTES)
        return min(share_bytes, free_bytes)

    def reserve_bytes(self) -> int:
        """What a peer may open of FLASH and IMMEDIATE beyond its window."""
        return max(RESERVE_LEAST_BYTES, min(RESERVE_BYTES, self._total_bytes) // max(1, len(self._active)))

    def note_fed(self, peer: Peer, payload_bytes: int, now_s: float) -> None:
        """A piece of a bundle came from ``peer``."""
        peer.fed_s = now_s
        peer.fed_bytes += payload_bytes
        if peer.node_id not in self._active:
            self._active[peer.node_id] = peer

    def sweep(self, now_s: float) -> None:
        """Peers that have sent nothing for long and owe nothing leave their shares to others."""
        idle = [
            name for name, peer in self._active.items() if now_s - peer.fed_s > ACTIVE_S and not peer.receiving_bytes
        ]
        for name in idle:
            del self._active[name]

    def has_grown(self, peer: Peer) -> bool:
        """Whether the peer's window is so much larger than it was told that it should hear of it unasked."""
        if peer.told_window_bytes < 0:
            return False
        growth = 5 / 4 if peer.node_id in self._active else 4  # one that is idle is not told of each step
        return self.window_bytes(peer) > peer.told_window_bytes * growth

    def lacks_store(self, payload_bytes: int, precedence: Precedence) -> bool:
        """Whether the store has no room for a bundle."""
        room_bytes = self.free_bytes - self.reserved_bytes
        return payload_bytes > room_bytes - (0 if precedence <= Precedence.IMMEDIATE else self._kept_bytes)

    def lacks_memory(self, payload_bytes: int, precedence: Precedence) -> bool:
        """Whether too much is under way to begin one more; the first may always."""
        limit_bytes = self.settings.receive_window_bytes + (RESERVE_BYTES if precedence <= Precedence.IMMEDIATE else 0)
        return self.memory_bytes > 0 and self.memory_bytes + room_of(payload_bytes) > limit_bytes

    def retry_s(self) -> float:
        """When a peer that was turned away should try again: once the disk has taken what is under way."""
        if self._store_bps is None:
            return 1.0
        return min(RETRY_BUSY_LONGEST_S, max(1.0, self.memory_bytes * 8 / self._store_bps))

    def take(self, peer: Peer, payload_bytes: int) -> int:
        """Book a bundle; gives back what it takes of the memory."""
        room_bytes = room_of(payload_bytes)
        self.reserved_bytes += payload_bytes
        self.memory_bytes += room_bytes
        peer.receiving_bytes += payload_bytes
        return room_bytes

    def note_booked(self, partial: Partial) -> None:
        """A piece of a bundle is stored: the store counts all of it as used from then on."""
        if not partial.is_booked:
            partial.is_booked = True
            self.reserved_bytes -= partial.payload_bytes

    def give_back(self, partial: Partial) -> None:
        """A bundle is stored or dropped."""
        self.note_booked(partial)
        self.memory_bytes -= partial.room_bytes
        partial.peer.receiving_bytes -= partial.payload_bytes


def room_of(payload_bytes: int) -> int:
    """What a bundle of this length can hold in memory."""
    return payload_bytes if payload_bytes <= CHUNK_BYTES else LARGE_ROOM_BYTES
