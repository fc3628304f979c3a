"""Link end: where a node meets a link. Frames that come are given to whoever listens for them."""

import contextvars
import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from link_sim.virtual.endpoints.segment import HEADER_BYTES, Damaged, Flag, Segment
from link_sim.virtual.endpoints.way import Way

Address = tuple[str, int]


@dataclass(slots=True, eq=False)
class Datagram:
    """One datagram; the link charges its payload, and its headers as the profile's overhead. Nobody changes one."""

    source_port: int
    port: int
    payload: bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes that the link charges."""
        return len(self.payload)


class SerialPiece(NamedTuple):
    """A few bytes of a serial line."""

    payload: bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes that the link charges."""
        return len(self.payload)


class Hears(Protocol):
    """Takes frames of one kind."""

    def receive(self, frame: Any, end: "LinkEnd") -> None:  # Any: of the kind it was registered for
        """A frame came in over ``end``."""


class Ports:
    """Who listens at one node: datagram ports and listening streams by number."""

    __slots__ = ("_next", "datagrams", "listeners")

    def __init__(self) -> None:
        self.datagrams: dict[int, Hears] = {}
        self.listeners: dict[int, Hears] = {}
        self._next = 49_152  # the first dynamic port (RFC 6335)

    def ephemeral(self, taken: Callable[[int], bool]) -> int:
        """A port that is free, one after another."""
        for _ in range(16_384):
            port = self._next
            self._next = 49_152 + (self._next + 1 - 49_152) % 16_384
            if not taken(port):
                return port
        raise OSError("no dynamic port is free")


class LinkEnd:
    """A node's end of a link: ``out`` carries what it sends, ``receive`` is told what comes.

    ``peer_address`` is how this node names the other end: the peer's name, with ``@link`` unless the link is the first
    of the two. ``counts`` has what met nobody.
    """

    __slots__ = ("counts", "link", "node", "out", "peer", "peer_address", "ports", "serial", "streams")

    def __init__(self, *, node: str, peer: str, link: str, out: Way, ports: Ports, is_first: bool) -> None:
        self.node = node
        self.peer = peer
        self.peer_address = peer if is_first else f"{peer}@{link}"
        self.link = link
        self.out = out
        self.ports = ports
        self.streams: dict[tuple[int, int], Hears] = {}
        self.serial: Hears | None = None
        self.counts: Counter[str] = Counter()

    def receive(self, frame: object) -> None:
        """Hand a frame that came in to whom it is for."""
        hears: Hears | None
        if type(frame) is Segment:
            hears = self.streams.get((frame.port, frame.source_port))
            if hears is None and frame.flags & Flag.SYN and not frame.ack:
                hears = self.ports.listeners.get(frame.port)
            if hears is None:
                self._refuse(frame)
                return
        elif type(frame) is Datagram:
            hears = self.ports.datagrams.get(frame.port)
        elif type(frame) is SerialPiece:
            hears = self.serial
        else:
            self.counts["damaged_segments"] += type(frame) is Damaged
            return
        if hears is None:
            self.counts["unheard"] += 1
        else:
            hears.receive(frame, self)

    def _refuse(self, segment: Segment) -> None:
        if not segment.flags & Flag.RST:
            ack = segment.seq + len(segment.payload)
            answer = Segment(segment.port, segment.source_port, Flag.RST, segment.ack, ack, 0, b"")
            self.out.offer(answer, HEADER_BYTES)


def call_in(
    context: contextvars.Context, tell: Callable[[BaseException], None], call: Callable[..., Any], *args: Any
) -> Any:
    """``call`` of a protocol, in its context; what it raises is told, as asyncio's transports do, and None given back.

    Any: protocols' methods differ in what they take and give.
    """
    try:
        return context.run(call, *args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  # asyncio's contract: a protocol's fault ends its transport, not the loop
        tell(error)
        return None


def unreachable(text: str) -> OSError:
    """Nobody can be reached that way."""
    return OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: {text}")
