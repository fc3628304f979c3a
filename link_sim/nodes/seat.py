"""Seats: the places of a world, each one node with its disk and its ends of links."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from edge_agent.core.effects import Effect, Persist
from edge_agent.core.frame import LinkKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import NodeSettings
from link_sim.link.line import Line
from link_sim.link.services import NS_PER_S
from link_sim.nodes.disk import NodeDisk
from link_sim.nodes.door import NodeDoor
from link_sim.traces import files

STEP_SPAN_S = 0.025
STEP_LEAST_BYTES = 16 << 10  # as edge_agent.disk.pace has it
_BULK = 2  # the last rank


class Address(NamedTuple):
    """Where a listening link hears a peer from; opaque to nodes."""

    node: str
    link: str


@dataclass(slots=True, kw_only=True, eq=False)
class Way:
    """One direction between two nodes: its line, and the receiver's end of it.

    ``source`` is what the receiver is told of the sender. ``armed_ns`` is when its event in the heap comes, if any.
    """

    name: str
    line: Line[bytes]
    to: "Seat"
    link: str
    source: Hashable | None
    armed_ns: int | None = None

    @property
    def side(self) -> files.Way:
        """The direction it has of a trace: the end of its name."""
        return files.Way(self.name.rpartition("/")[2])


@dataclass(slots=True, kw_only=True, eq=False)
class Port:
    """One link as one node has it; ``ways`` by the address that the node sends to, ``left`` those nobody has now."""

    limits: LinkLimits
    policy: LinkPolicy
    is_listener: bool
    is_plugged: bool = True
    is_busy: bool = False
    ways: dict[Hashable | None, Way] = field(default_factory=dict)
    left: set[Hashable | None] = field(default_factory=set)


@dataclass(slots=True, kw_only=True, eq=False)
class Joint:
    """A link between two nodes, by its name at the remote end; "up" is away from there."""

    name: str
    remote: str
    up: Way
    down: Way


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One node; ``node`` is None while it is crashed.

    ``wake_s`` is what the node asked for, ``armed_ns`` the earliest of its events in the heap: an event that comes too
    early is put back, which costs less than a new one each time the node moves its deadline later. ``sync_bps``: what
    the disk makes durable, in payload bits a second; None: a commit takes ``commit_ns``, however much is in it.
    """

    settings: NodeSettings
    disk: NodeDisk
    keys: LinkKeys
    commit_ns: int
    sync_bps: float | None = None
    node: NodeDoor | None = None
    starts: int = 0
    ports: dict[str, Port] = field(default_factory=dict)
    wake_s: float | None = None
    wake_ns: int | None = None
    armed_ns: int | None = None
    spun_at_ns: int = -1
    spins: int = 0
    is_committing: bool = False
    committing: list[Effect] = field(default_factory=list)
    lanes: tuple[deque[Effect], ...] = field(default_factory=lambda: tuple(deque() for _ in range(_BULK + 1)))
    """What waits for the disk by its rank, each lane in the order it came."""
    moved_bytes: dict[int, int] = field(default_factory=dict)
    """Bytes of pieces that are on the disk already, by effect."""
    was_lone: bool = False
    """The last commit was of FLASH alone; the next one takes others with it, so that nothing starves."""

    @property
    def queued(self) -> list[Effect]:
        """What waits for the disk, as it will be taken. O(effects)."""
        return list(chain.from_iterable(self.lanes))

    def queue(self, effect: Effect) -> None:
        """An effect waits for the disk; where the disk has no rate, all take their turn as they came."""
        self.lanes[_BULK if self.sync_bps is None else _rank(effect)].append(effect)

    def start_commit(self) -> int | None:
        """Take the next batch of what waits; gives back how long it takes in ns, None when nothing waits. O(batch).

        A batch is all that waits, or what this disk syncs in a moment: rows of urgent bundles first, alone where one
        of them is FLASH, and of a large bundle's piece as much as fits.
        """
        if not any(self.lanes):
            return None
        bulk = self.lanes[_BULK]
        if self.sync_bps is None:
            self.committing.extend(bulk)
            bulk.clear()
            return self.commit_ns
        is_lone, self.was_lone = bool(self.lanes[0]) and not self.was_lone, False
        room_bytes = left_bytes = max(STEP_LEAST_BYTES, int(self.sync_bps / 8 * STEP_SPAN_S))
        for lane in self.lanes:
            if is_lone and lane is bulk:
                self.was_lone = bool(bulk) and left_bytes > 0
                break
            while lane and left_bytes > 0:
                effect = lane[0]
                rest_bytes = payload_bytes_of(effect) - self.moved_bytes.get(effect.effect_id, 0)
                if rest_bytes > left_bytes and is_piece(effect):
                    self.moved_bytes[effect.effect_id] = payload_bytes_of(effect) - rest_bytes + left_bytes
                    left_bytes = 0
                    break
                left_bytes -= rest_bytes
                self.moved_bytes.pop(effect.effect_id, None)
                self.committing.append(lane.popleft())
        return self.commit_ns + int((room_bytes - left_bytes) * 8 / self.sync_bps * NS_PER_S)

    def forget(self) -> None:
        """The node is gone with everything that had not committed; what flies towards it meets nobody."""
        self.node = None
        self.wake_s = self.wake_ns = self.armed_ns = None
        self.committing, self.is_committing, self.was_lone = [], False, False
        for lane in self.lanes:
            lane.clear()
        self.moved_bytes.clear()


def payload_bytes_of(effect: Effect) -> int:
    """Payload that an effect makes durable."""
    return len(effect.payload) if isinstance(effect, Persist) else 0


def is_piece(effect: Effect) -> bool:
    """Whether a real store writes this to a file, in steps."""
    return isinstance(effect, Persist) and (effect.record is None or len(effect.payload) < effect.payload_bytes)


def _rank(effect: Effect) -> int:
    """The order in which a real store takes what waits: rows of FLASH, of IMMEDIATE, all else as it came."""
    if not isinstance(effect, Persist) or is_piece(effect):
        return _BULK
    return min(_BULK, int(effect.bundle.precedence))
