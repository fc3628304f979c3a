"""A bundle of which some fragments have arrived: its ranges, and the bytes that are not on disk yet."""

from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleHeader, BundleId
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.peer import Peer


@dataclass(slots=True, eq=False)
class Partial:
    """A bundle of which some fragments have arrived.

    ``buffer`` joins a small one in memory; a larger one, or a small one that waited for long, goes to its ``.part``
    in ``runs``. ``ranges`` is all that has arrived, ``stored`` what of it is synced.
    """

    bundle: BundleId
    payload_bytes: int
    peer: Peer
    touched_s: float
    opened_s: float
    room_bytes: int
    """What it takes of the room of its peer; given back when it ends."""
    via: tuple[str, ...] = ()
    """The links it came by, by name."""
    is_booked: bool = False
    """The store has taken its whole length off its own account."""
    header: BundleHeader | None = None
    header_packed: bytes = b""
    age_low_s: float = 0.0
    age_extra_s: float = 0.0
    aged_s: float = 0.0
    ranges: IntervalSet = field(default_factory=IntervalSet)
    stored: IntervalSet = field(default_factory=IntervalSet)
    told_s: float = -1e9
    """When the peer was last told, unasked, which ranges are stored."""
    buffer: bytearray | None = None
    runs: list[tuple[int, bytearray]] = field(default_factory=list)
    run_bytes: int = 0
    unsynced_s: float | None = None
    is_persisting: bool = False
    is_file: bool = False
    """Whether something of it went to a ``.part``."""

    @property
    def memory_bytes(self) -> int:
        """Payload bytes held in memory now."""
        return len(self.buffer) if self.buffer is not None else self.run_bytes

    def age_low_at(self, now_s: float) -> float:
        """Least possible age in seconds; its header must be known."""
        return self.age_low_s + now_s - self.aged_s

    def add_run(self, start: int, payload: bytes) -> None:
        """Keep bytes for the ``.part``."""
        self.run_bytes += len(payload)
        for offset, run in self.runs:
            if offset + len(run) == start:
                run += payload
                return
        self.runs.append((start, bytearray(payload)))

    def spill(self) -> None:
        """From now on it goes to a ``.part``: what was joined in memory becomes runs."""
        buffer, self.buffer = self.buffer, None
        if buffer is not None:
            self.runs = [(start, buffer[start:end]) for start, end in self.ranges]
            self.run_bytes = self.ranges.total
