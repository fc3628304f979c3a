"""Recorder: what the links of a test did, kept in memory until it is known whether anybody wants to see it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from link_sim.evidence.events import EventLog, sent_at_ns
from link_sim.evidence.frames import payload_of, words_of
from link_sim.evidence.pcapng import Capture
from link_sim.evidence.plot import Plot
from link_sim.evidence.queue_curve import Look, look_at
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, Outage, Verdict
from link_sim.link.services import NS_PER_S
from link_sim.profiles import profile_table
from link_sim.real_time.live import LiveLink
from link_sim.virtual.endpoints.way import LinkEvent, WayEvent
from link_sim.virtual.net import Net

EVENTS_MAX = 100_000  # the newest are kept: some 50 MB, and a file that an editor still opens
BYTES_MAX = 32 << 20  # of frames, which fill memory before their number does
EVENTS_FILE, CAPTURE_FILE, PLOT_FILE = "events.jsonl", "frames.pcapng", "plot.svg"


class _Offered(NamedTuple):
    way: "_Way"
    t_ns: int
    look: Look
    frame_bytes: int
    frame: object
    fate: Fate
    link_sent_ns: int
    """On the link's own clock."""
    sent_ns: int | None
    due_ns: int | None


class _Arrived(NamedTuple):
    way: "_Way"
    t_ns: int
    look: Look
    frame_bytes: int
    offered_ns: int


class _Changed(NamedTuple):
    way: "_Way"
    t_ns: int
    look: Look
    outage: Outage | None
    numbers: Mapping[str, object]


_Event = _Offered | _Arrived | _Changed


@dataclass(slots=True, eq=False)
class _Way:
    """One direction: what it was at the first event that is kept, and what it is now."""

    name: str
    line: Line[Any]  # Any: frames of every endpoint
    first_outage: Outage | None
    first_numbers: dict[str, object]
    numbers: dict[str, object]


class Recorder:
    """Watches links; ``leave`` writes what they did. ``clock`` tells the time in ns, of which ``zero_ns`` is 0 s."""

    def __init__(self, clock: Callable[[], int], *, zero_ns: int = 0) -> None:
        self.forgotten = 0
        """Events that were too many to keep."""
        self._clock = clock
        self._zero_ns = zero_ns
        self._ways: dict[str, _Way] = {}
        self._events: deque[_Event] = deque()
        self._bytes = 0

    @classmethod
    def of_net(cls, net: Net) -> "Recorder":
        """A recorder of every link of a net, those included that it will have. A node's way to itself is left out."""

        def now_ns() -> int:
            try:
                return net.loop.now_ns
            except RuntimeError:  # it has not run
                return 0

        recorder = cls(now_ns)

        def told(event: LinkEvent) -> None:
            link, name = net.links.get(event.link), f"{event.link}/{event.direction}"
            if link is None:
                return
            way = recorder._ways.get(name)
            if way is None:  # its first event, which nobody else tells
                way = recorder.watch(name, (link.up if event.direction == "up" else link.down).line)
                if event.verdict is not None:
                    recorder._offered(way, event.t_ns, event.frame_bytes, event.frame, event.verdict)
            if event.event not in (WayEvent.OFFERED, WayEvent.DELIVERED):
                recorder._changed(way)

        net.on_event(told)
        return recorder

    def watch_live(self, link: LiveLink, *, header_bytes: int = 0) -> None:
        """Record both directions of a link in real time; a frame costs ``header_bytes`` more than its payload."""
        for name, live in (("up", link.up), ("down", link.down)):
            way = self.watch(f"{link.name}/{name}", live.line, header_bytes=header_bytes)
            live.on_told.append(lambda way=way: self._changed(way))  # type: ignore[misc]  # bound now

    def watch(self, name: str, line: Line[Any], *, header_bytes: int = 0) -> _Way:  # Any: as above
        """Record a direction from now on, as far as its line tells of itself: not its changes."""
        numbers = profile_table(line.original_profile)
        way = self._ways[name] = _Way(name, line, None, numbers, numbers)

        def judged(now_ns: int, frame_bytes: int, frame: object, verdict: Verdict) -> None:
            self._offered(way, now_ns, frame_bytes, frame, verdict)

        def taken(now_ns: int, offered_ns: int, frame: object) -> None:
            own_bytes = getattr(frame, "frame_bytes", None)
            frame_bytes = own_bytes if isinstance(own_bytes, int) else len(payload_of(frame)) + header_bytes
            self._keep(_Arrived(way, now_ns, look_at(line, now_ns), frame_bytes, offered_ns))

        line.observe(judged, taken)
        return way

    def _offered(self, way: _Way, now_ns: int, frame_bytes: int, frame: object, verdict: Verdict) -> None:
        sent_ns, look = sent_at_ns(way.line, verdict), look_at(way.line, now_ns)
        fate, link_sent_ns, due_ns = verdict.fate, verdict.sent_ns, verdict.deliver_at_ns
        self._bytes += frame_bytes
        self._keep(_Offered(way, now_ns, look, frame_bytes, frame, fate, link_sent_ns, sent_ns, due_ns))

    def _changed(self, way: _Way) -> None:
        now_ns, numbers = self._clock(), profile_table(way.line.profile)
        changes = {name: value for name, value in numbers.items() if value != way.numbers[name]}
        way.numbers = numbers
        self._keep(_Changed(way, now_ns, look_at(way.line, now_ns), way.line.model.outage, changes))

    @property
    def is_empty(self) -> bool:
        """Whether nothing has happened."""
        return not self._events

    def _keep(self, event: _Event) -> None:
        self._events.append(event)
        while len(self._events) > EVENTS_MAX or self._bytes > BYTES_MAX:
            self._forget(self._events.popleft())

    def _forget(self, event: _Event) -> None:
        self.forgotten += 1
        if isinstance(event, _Offered):
            self._bytes -= event.frame_bytes
        elif isinstance(event, _Changed):
            event.way.first_outage = event.outage
            event.way.first_numbers = {**event.way.first_numbers, **event.numbers}

    def leave(self, folder: Path, title: str, **about: object) -> list[Path]:
        """Write event log, capture and plot into a folder, made if need be; their paths. Not while it is empty.

        ``about`` goes into the log's first line. Raises OSError.
        """
        events = list(self._events)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in (EVENTS_FILE, CAPTURE_FILE, PLOT_FILE)]
        with paths[0].open("w", encoding="utf-8") as text:
            self._log(EventLog(text), events, {"test": title, **about, "forgotten": self.forgotten})
        with paths[1].open("wb") as binary:
            self._capture(Capture(binary), events)
        paths[2].write_text(self._plot(title, events), encoding="utf-8")
        return paths

    def _log(self, log: EventLog, events: Sequence[_Event], about: Mapping[str, object]) -> None:
        began_s = self._s(events[0].t_ns)
        log.add(began_s, "test", **about)
        plain = profile_table(LinkProfile())
        for way in self._ways.values():
            numbers = {name: value for name, value in way.first_numbers.items() if value != plain[name]}
            log.add(began_s, "link", direction=way.name, outage=_word(way.first_outage), numbers=numbers)
        zero_ns = self._zero_ns
        for event in events:
            name, t_ns = event.way.name, event.t_ns - zero_ns
            if isinstance(event, _Offered):
                times = [None if at_ns is None else at_ns - zero_ns for at_ns in (event.sent_ns, event.due_ns)]
                log.offered(name, t_ns, event.frame_bytes, event.fate, *times)
            elif isinstance(event, _Arrived):
                log.arrived(name, t_ns, event.frame_bytes, event.offered_ns - zero_ns)
            else:
                about = {"outage": _word(event.outage), "numbers": event.numbers}
                log.add(t_ns / NS_PER_S, "change", direction=name, **about)

    def _capture(self, capture: Capture, events: Sequence[_Event]) -> None:
        interfaces = {way.name: capture.interface(way.name) for way in self._ways.values()}
        for event in events:
            if isinstance(event, _Offered):
                words = ", ".join(filter(None, (event.fate.word, words_of(event.frame))))
                at_ns = event.t_ns - self._zero_ns
                capture.frame(interfaces[event.way.name], at_ns, payload_of(event.frame), words)

    def _plot(self, title: str, events: Sequence[_Event]) -> str:
        start_s = self._s(events[0].t_ns) if self.forgotten else 0.0
        end_s = self._s(max(self._clock(), events[-1].t_ns))
        plot = Plot(title, end_s, start_s=start_s)
        rows = {way.name: plot.way(way.name) for way in self._ways.values()}
        zero_ns = self._zero_ns
        for event in events:
            row, t_ns = rows[event.way.name], event.t_ns - zero_ns
            look = event.look._replace(clock_ns=event.look.clock_ns - zero_ns)
            if isinstance(event, _Offered):
                row.offered(t_ns, event.frame_bytes, event.fate, event.link_sent_ns - zero_ns, look)
            elif isinstance(event, _Arrived):
                row.arrived(t_ns, event.frame_bytes, event.offered_ns - zero_ns, look)
            else:
                row.queue.see(t_ns, look)
        return plot.svg(self._outages(events, start_s, end_s))

    def _outages(self, events: Sequence[_Event], start_s: float, end_s: float) -> dict[str, list[tuple[float, float]]]:
        spans: dict[str, list[tuple[float, float]]] = {}
        since = {way.name: start_s for way in self._ways.values() if way.first_outage is not None}
        for event in events:
            if not isinstance(event, _Changed):
                continue
            name, t_s = event.way.name, self._s(event.t_ns)
            if event.outage is not None:
                since.setdefault(name, t_s)
            elif name in since:
                spans.setdefault(name, []).append((since.pop(name), t_s))
        for name, from_s in since.items():
            spans.setdefault(name, []).append((from_s, end_s))
        return spans

    def _s(self, t_ns: int) -> float:
        return (t_ns - self._zero_ns) / NS_PER_S


def _word(outage: Outage | None) -> str | None:
    return None if outage is None else outage.value
