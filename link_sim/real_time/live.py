"""Live links: lines in real time, with live control and a report on their own lateness.

Every call belongs to the loop that ``start`` ran in. Times are those of ``time.monotonic_ns``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Generic

from link_sim.link.line import Frame, Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, Outage, Verdict
from link_sim.link.streams import derived_seed
from link_sim.profiles import PathProfile, profile_from, profile_table
from link_sim.profiles.rates import at_rate
from link_sim.real_time.alarm import Alarm, make_alarm
from link_sim.real_time.lateness import Lateness, LatenessMeter
from link_sim.traces.files import Way

LATE_LIMIT_MS = 5.0  # above this p99 a run says nothing about links; a busy two-core machine stays below it
_BATCH = 256  # frames handed over before the sockets get their turn again
_OWN_LOSSES: Mapping[str, str] = MappingProxyType(  # losses that the model did not decide
    {
        "kernel_dropped": "frames found the buffer in front of the link full",
        "socket_full": "frames found the buffer behind the link full",
    }
)
_LAST_CARRIED = int(Fate.HELD)  # fates up to it reach the other end


class Direction(Enum):
    """Which way a change is meant for."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class LiveLine(Generic[Frame]):
    """A line that hands each frame to ``deliver`` when it is due: never early, late by what the machine needs."""

    def __init__(
        self,
        profile: LinkProfile,
        seed: int,
        deliver: Callable[[Sequence[Frame]], None],
        *,
        spoil: Callable[[Frame, int], Frame] | None = None,
    ) -> None:
        """``deliver`` gets what is due, in order, at least one frame; ``spoil`` as in Line."""
        self.line: Line[Frame] = Line(profile, seed, spoil=spoil)
        self.counts: Counter[str] = Counter()
        self.on_change: Callable[[], None] | None = None
        self.on_told: list[Callable[[], None]] = []
        """Who looks on: told of each outage that begins or ends, and of new numbers."""
        self._deliver = deliver
        self._meter = LatenessMeter()
        self._alarm: Alarm | None = None
        self._armed_ns: int | None = None
        self._offered_bytes = 0
        self._carried_bytes = 0
        self._told_ns = 0  # the last time given to the line: its clock never goes back

    def start(self) -> None:
        """Begin to deliver, in the running loop."""
        self._alarm = make_alarm(self._ring)

    def close(self) -> None:
        """Stop; what is on its way is forgotten."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def offer(self, frame: Frame, frame_bytes: int) -> Verdict:
        """Give a frame to the link now."""
        verdict = self.line.offer(self._tell(), frame_bytes, frame)
        self._offered_bytes += frame_bytes
        if verdict.fate <= Fate.HELD:
            self._carried_bytes += frame_bytes
        self._arm_anew()
        return verdict

    def offer_all(self, frames: Iterable[tuple[Frame, int]], arrived_ns: int | None = None) -> None:
        """Give frames with their sizes in bytes to the link: all of them now, or when the last of them arrived.

        An arrival before the last thing that the link was told counts as just after it.
        """
        now_ns = time.monotonic_ns() if arrived_ns is None else max(arrived_ns, self._told_ns)
        self._told_ns = now_ns
        offer, offered_bytes, carried_bytes = self.line.offer, 0, 0
        for frame, frame_bytes in frames:
            offered_bytes += frame_bytes
            if offer(now_ns, frame_bytes, frame)[0] <= _LAST_CARRIED:
                carried_bytes += frame_bytes
        self._offered_bytes += offered_bytes
        self._carried_bytes += carried_bytes
        self._arm_anew()

    def _arm_anew(self) -> None:
        """The alarm follows the first frame; one that may overtake the others moves it."""
        if self._armed_ns is None or self.line.profile.reorders:
            self._arm()

    def waiting_bytes(self) -> int:
        """Wire bytes that have not left the sender."""
        return self.line.model.waiting_bytes(time.monotonic_ns())

    def _arm(self) -> None:
        due_ns = self.line.next_due_ns()
        if self._alarm is not None and due_ns != self._armed_ns:
            self._armed_ns = due_ns
            self._alarm.set(due_ns)

    def _ring(self) -> None:
        self._armed_ns = None
        taken, dues_ns = self.line.take_due(time.monotonic_ns(), _BATCH)
        if taken:
            self._deliver(taken)
            self._meter.add(time.monotonic_ns(), dues_ns)
        self._arm()

    def _tell(self) -> int:
        self._told_ns = now_ns = time.monotonic_ns()
        return now_ns

    def _changed(self) -> None:
        self._arm()
        if self.on_change is not None:
            self.on_change()
        for told in self.on_told:
            told()

    def cut(self, outage: Outage, *, kills_in_flight: bool = False) -> None:
        """Begin an outage now."""
        self.line.cut(self._tell(), outage, kills_in_flight=kills_in_flight)
        self._changed()

    def mend(self) -> None:
        """End the outage now."""
        self.line.mend(self._tell())
        self._changed()

    def set(self, profile: LinkProfile) -> None:
        """New numbers from now on."""
        self.line.set(self._tell(), profile)
        self._changed()

    def restore(self) -> None:
        """End the outage and bring back the first numbers."""
        self.line.restore(self._tell())
        self._changed()

    def lateness(self) -> Lateness:
        """How late deliveries were."""
        return self._meter.report()

    def carried(self) -> dict[str, int]:
        """Bytes offered so far, and those that the link took."""
        return {"offered_bytes": self._offered_bytes, "carried_bytes": self._carried_bytes}

    def describe(self) -> dict[str, object]:
        """Numbers in force, outage, frames by fate, lateness: for JSON."""
        outage = self.line.model.outage
        return {
            **profile_table(self.line.profile),
            "outage": outage.value if outage else None,
            "in_flight": len(self.line),
            "frames": self.line.model.counts(),
            "counts": {**self.carried(), **self.counts},
            "lateness": asdict(self.lateness()),
        }


@dataclass(slots=True, kw_only=True, eq=False)
class LiveLink:
    """Both directions of one link under one name, as control sees it."""

    name: str
    up: LiveLine[Any]  # Any: each kind of proxy has its own frames
    down: LiveLine[Any]
    reset: Callable[[], None] | None = None
    """Breaks every connection at both ends; None where a link has no connections."""

    def _lines(self, direction: Direction) -> dict[Way, LiveLine[Any]]:  # Any: as above
        both = {Way.UP: self.up, Way.DOWN: self.down}
        return both if direction is Direction.BOTH else {Way(direction.value): both[Way(direction.value)]}

    def cut(
        self,
        outage: Outage = Outage.DROP,
        *,
        kills_in_flight: bool = False,
        direction: Direction = Direction.BOTH,
    ) -> None:
        """Begin an outage now: frames vanish, or wait for its end."""
        for line in self._lines(direction).values():
            line.cut(outage, kills_in_flight=kills_in_flight)

    def mend(self, *, direction: Direction = Direction.BOTH) -> None:
        """End the outage and keep the other numbers."""
        for line in self._lines(direction).values():
            line.mend()

    def set(self, changes: Mapping[str, object], *, direction: Direction = Direction.BOTH) -> None:
        """Change numbers, named as in LinkProfile. Raises ProfileError, and then nothing has changed."""
        lines = self._lines(direction)
        self._adopt(
            [(line, profile_from(self._where(way), changes, line.line.profile, way=way)) for way, line in lines.items()]
        )

    def slow(self, rate_bps: int, *, direction: Direction = Direction.BOTH) -> None:
        """Another rate from now on, in the mean where a schedule or a trace says the rate: it keeps its pauses.

        What waits goes on at the new rate, but for that of a schedule or trace, which leaves as it was to. Raises
        ProfileError, and then nothing has changed.
        """
        lines = self._lines(direction)
        self._adopt([(line, at_rate(self._where(way), line.line.profile, rate_bps)) for way, line in lines.items()])

    def _where(self, way: Way) -> str:
        return f"link {self.name} {way.value}"

    def _adopt(self, changes: Sequence[tuple[LiveLine[Any], LinkProfile]]) -> None:  # Any: as above
        for line, profile in changes:
            line.set(profile)

    def restore(self, *, direction: Direction = Direction.BOTH) -> None:
        """End the outage and bring back the numbers of the start."""
        for line in self._lines(direction).values():
            line.restore()

    def complaints(self, *, late_limit_ms: float = LATE_LIMIT_MS) -> list[str]:
        """Why this run says nothing about links; empty when the link kept its own time and lost nothing of itself."""
        found = []
        for way, line in (("up", self.up), ("down", self.down)):
            late_ms = line.lateness().p99_ms
            if late_ms > late_limit_ms:
                found.append(
                    f"{way}: deliveries late by {late_ms:g} ms at the 99th percentile, allowed {late_limit_ms:g}"
                )
            found += [f"{way}: {line.counts[name]} {what}" for name, what in _OWN_LOSSES.items() if line.counts[name]]
        return found

    def describe(self, *, late_limit_ms: float = LATE_LIMIT_MS) -> dict[str, object]:
        """Both directions, and whether the link kept its own promises: "ok", or "inconclusive" with the complaints."""
        complaints = self.complaints(late_limit_ms=late_limit_ms)
        return {
            "name": self.name,
            "verdict": "inconclusive" if complaints else "ok",
            "complaints": complaints,
            "late_limit_ms": late_limit_ms,
            "up": self.up.describe(),
            "down": self.down.describe(),
        }


def live_link(
    name: str,
    profile: PathProfile,
    seed: int,
    *,
    deliver_up: Callable[[Sequence[Frame]], None],
    deliver_down: Callable[[Sequence[Frame]], None],
    spoil: Callable[[Frame, int], Frame] | None = None,
) -> LiveLink:
    """A link of two lines whose random streams have nothing in common; ``deliver`` and ``spoil`` as in LiveLine."""
    return LiveLink(
        name=name,
        up=LiveLine(profile.up, derived_seed(seed, name, "up"), deliver_up, spoil=spoil),
        down=LiveLine(profile.down, derived_seed(seed, name, "down"), deliver_down, spoil=spoil),
    )
