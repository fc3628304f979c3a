"""Seats: the places of a world, each one node with its disk and its ends of links."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.effects import Effect
from edge_agent.core.frame import LinkKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import NodeSettings
from link_sim import trace_files
from link_sim.disk import NodeDisk
from link_sim.door import NodeDoor
from link_sim.line import Line


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
    def side(self) -> trace_files.Way:
        """The direction it has of a trace: the end of its name."""
        return trace_files.Way(self.name.rpartition("/")[2])


@dataclass(slots=True, kw_only=True, eq=False)
class Port:
    """One link as one node has it; ``ways`` by the address that the node sends to."""

    limits: LinkLimits
    policy: LinkPolicy
    is_listener: bool
    is_plugged: bool = True
    is_busy: bool = False
    ways: dict[Hashable | None, Way] = field(default_factory=dict)


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
    early is put back, which costs less than a new one each time the node moves its deadline later.
    """

    settings: NodeSettings
    disk: NodeDisk
    keys: LinkKeys
    commit_ns: int
    node: NodeDoor | None = None
    starts: int = 0
    ports: dict[str, Port] = field(default_factory=dict)
    wake_s: float | None = None
    wake_ns: int | None = None
    armed_ns: int | None = None
    spun_at_ns: int = -1
    spins: int = 0
    committing: list[Effect] = field(default_factory=list)
    queued: list[Effect] = field(default_factory=list)

    def forget(self) -> None:
        """The node is gone with everything that had not committed; what flies towards it meets nobody."""
        self.node = None
        self.wake_s = self.wake_ns = self.armed_ns = None
        self.committing, self.queued = [], []
