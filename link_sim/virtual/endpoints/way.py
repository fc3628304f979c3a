"""Way: one direction of a link on the clock of a virtual loop, and what it tells those who watch."""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage, Verdict
from link_sim.link.services import NEVER_NS
from link_sim.virtual.handle import VirtualHandle
from link_sim.virtual.loop import VirtualLoop


class WayEvent(Enum):
    """What happened to a frame or to a way."""

    OFFERED = "offered"
    """A frame was given to the way; ``verdict`` says what becomes of it."""
    DELIVERED = "delivered"
    """A frame came out at the other end. One that met another on a shared medium never does."""
    CUT = "cut"
    MENDED = "mended"
    CHANGED = "changed"
    """The numbers are others from now on."""


_OFFERED, _DELIVERED = WayEvent.OFFERED, WayEvent.DELIVERED  # looked up once, as in model


class Sized(Protocol):
    """A frame of any endpoint."""

    @property
    def frame_bytes(self) -> int:
        """What the link charges for it, ``overhead_bytes`` of the profile apart."""


class LinkEvent(NamedTuple):
    """One event. ``t_ns`` is virtual time; ``verdict`` comes with OFFERED; ``frame`` is the endpoint's own object."""

    t_ns: int
    link: str
    direction: str
    """``up``, from the node named first, or ``down``."""
    event: WayEvent
    frame_bytes: int
    verdict: Verdict | None
    frame: Sized | None


Watch = Callable[[LinkEvent], None]


class Way:
    """Gives frames to a line and hands them to ``deliver`` when they are due; nothing but the line decides.

    ``watches`` belong to the net and are called for each event, in order.
    """

    __slots__ = (
        "_armed_ns",
        "_bell",
        "_carry",
        "_loop",
        "_watches",
        "deliver",
        "direction",
        "line",
        "link",
        "on_change",
    )

    def __init__(self, link: str, direction: str, line: Line[Any], watches: list[Watch]) -> None:
        # Any: datagrams, segments and pieces of bytes share a link
        self.link = link
        self.direction = direction
        self.line = line
        self.deliver: Callable[[Any], None] = _deliver_to_nobody
        self.on_change: list[Callable[[], None]] = []
        self._carry = line.carry
        self._watches = watches
        self._loop: VirtualLoop | None = None
        self._bell: VirtualHandle | None = None
        self._armed_ns = NEVER_NS

    def bind(self, loop: VirtualLoop) -> None:
        """Run on the clock of that loop."""
        self._loop = loop
        self._bell = loop.bell(self._ring)
        self._arm()

    @property
    def now_ns(self) -> int:
        """The loop's clock; 0 before there is a loop."""
        return 0 if self._loop is None else self._loop.now_ns

    def offer(self, frame: Sized, frame_bytes: int) -> None:
        """Give a frame to the link now."""
        loop = self._loop
        if loop is None:
            raise RuntimeError(f"link {self.link}: frames need a running virtual loop, such as that of Net.run")
        if self._watches:
            verdict = self.line.offer(loop.now_ns, frame_bytes, frame)
            at_ns = verdict.deliver_at_ns
            self._tell(_OFFERED, frame_bytes, verdict, frame)
        else:
            carry = self._carry  # a name of its own: Python 3.11 is slow to call an attribute that is no method
            at_ns = carry(loop.now_ns, frame_bytes, frame)
        if at_ns is not None and at_ns < self._armed_ns:
            self._arm_at(at_ns)

    def _arm(self) -> None:
        due_ns = self.line.next_due_ns()
        if due_ns is not None and due_ns < self._armed_ns:
            self._arm_at(due_ns)

    def _arm_at(self, due_ns: int) -> None:
        """Ring then. What was armed for later rings too, finds nothing new and does no harm."""
        if self._loop is not None and self._bell is not None:
            self._armed_ns = due_ns
            self._loop.ring_again_at_ns(due_ns, self._bell)

    def _ring(self) -> None:
        now_ns, line, deliver = self.now_ns, self.line, self.deliver
        if self._armed_ns <= now_ns:
            self._armed_ns = NEVER_NS
        while (frame := line.take(now_ns)) is not None:
            if self._watches:
                self._tell(_DELIVERED, frame.frame_bytes, None, frame)
            deliver(frame)
            due_ns = line.next_due_ns()
            if due_ns is None:
                return
            if due_ns > now_ns:  # else more are due at this very nanosecond
                if due_ns < self._armed_ns:
                    self._arm_at(due_ns)
                return
        self._arm()

    def _tell(self, event: WayEvent, frame_bytes: int, verdict: Verdict | None, frame: Sized | None) -> None:
        told = LinkEvent(self.now_ns, self.link, self.direction, event, frame_bytes, verdict, frame)
        for watch in self._watches:
            watch(told)

    def cut(self, outage: Outage, *, kills_in_flight: bool = False) -> None:
        """Begin an outage now."""
        self.line.cut(self.now_ns, outage, kills_in_flight=kills_in_flight)
        self._changed(WayEvent.CUT)

    def mend(self) -> None:
        """End the outage now."""
        self.line.mend(self.now_ns)
        self._changed(WayEvent.MENDED)

    def set(self, profile: LinkProfile) -> None:
        """New numbers from now on."""
        self.line.set(self.now_ns, profile)
        self._changed(WayEvent.CHANGED)

    def restore(self) -> None:
        """End the outage and bring back the first numbers."""
        self.line.restore(self.now_ns)
        self._changed(WayEvent.CHANGED)

    def _changed(self, event: WayEvent) -> None:
        self._tell(event, 0, None, None)
        self._arm()
        for listener in self.on_change:
            listener()


def _deliver_to_nobody(_: object) -> None:
    """Where frames go before a link has its ends."""
