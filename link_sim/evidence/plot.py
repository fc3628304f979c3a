"""A picture of a run: for each direction what was offered and delivered, how long frames took, what waited, and where
it was silent.

SVG by hand: no library, one file, opens in any browser.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from link_sim.evidence.queue_curve import Look, QueueCurve, look_at
from link_sim.link.line import Line
from link_sim.link.model import Fate, Verdict
from link_sim.link.services import NS_PER_S

BINS = 240
WIDTH, LEFT, RIGHT, TOP = 960, 90, 70, 50
ROW_HEIGHT, RATES_HEIGHT, QUEUE_HEIGHT, GAP = 190, 100, 30, 12
_OFFERED, _DELIVERED, _DELAY, _QUEUE, _SILENT = "#9aa7b5", "#1f6feb", "#b4580a", "#6f42c1", "#f3c6c0"
_TITLE_LENGTH_MAX = 50  # what fits beside the legend
_QUEUE_LEAST_BYTES = 3000  # the full height is no less: a frame or two on their way out are no queue
_REFUSED = (Fate.QUEUE_FULL, Fate.AGED)


class PlotWay:
    """One direction in bins of equal time, from ``start_ns`` to ``end_ns``."""

    def __init__(self, name: str, start_ns: int, end_ns: int) -> None:
        self.name = name
        self.offered_bytes = [0] * BINS
        self.delivered_bytes = [0] * BINS
        self.delay_s = [0.0] * BINS
        self.refusals = [0] * BINS
        self.queue = QueueCurve(start_ns, end_ns, BINS)
        self._start_ns = start_ns
        self._span_ns = max(1, end_ns - start_ns)

    def offered(self, now_ns: int, frame_bytes: int, fate: Fate, sent_ns: int, look: Look) -> None:
        """A frame was offered; ``look`` is one after that, ``sent_ns`` as in Verdict."""
        at = self._bin(now_ns)
        self.offered_bytes[at] += frame_bytes
        self.refusals[at] += fate in _REFUSED
        has_left = look.waiting_bytes and fate not in _REFUSED and fate is not Fate.OVERSIZE
        self.queue.see(now_ns, look, sent_ns if has_left else None)

    def arrived(self, now_ns: int, frame_bytes: int, offered_ns: int, look: Look) -> None:
        """A frame came out."""
        at = self._bin(now_ns)
        self.delivered_bytes[at] += frame_bytes
        self.delay_s[at] = max(self.delay_s[at], (now_ns - offered_ns) / NS_PER_S)
        self.queue.see(now_ns, look)

    def _bin(self, now_ns: int) -> int:
        return max(0, min(BINS - 1, (now_ns - self._start_ns) * BINS // self._span_ns))


class Plot:
    """Draws directions from ``start_s`` to ``end_s``."""

    def __init__(self, title: str, end_s: float, *, start_s: float = 0.0) -> None:
        self._title = title
        self._start_s, self._end_s = start_s, max(end_s, start_s + 1e-6)
        self._ways: list[PlotWay] = []

    def way(self, name: str) -> PlotWay:
        """One more direction, to be told of its frames."""
        made = PlotWay(name, round(self._start_s * NS_PER_S), round(self._end_s * NS_PER_S))
        self._ways.append(made)
        return made

    def watch(self, name: str, line: Line[bytes]) -> None:
        """Draw a direction from the frames offered to it."""
        way = self.way(name)

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            way.offered(now_ns, frame_bytes, verdict.fate, verdict.sent_ns, look_at(line, now_ns))

        def taken(now_ns: int, offered_ns: int, frame: bytes) -> None:
            way.arrived(now_ns, len(frame), offered_ns, look_at(line, now_ns))

        line.observe(judged, taken)

    def svg(self, outages: Mapping[str, Sequence[tuple[float, float]]]) -> str:
        """The picture; ``outages`` are (from s, to s) for each direction by name."""
        height = TOP + ROW_HEIGHT * max(1, len(self._ways)) + 30
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
            f' font-size="12"><title>{escape(self._title)}</title><rect width="100%" height="100%" fill="white"/>',
            f'<text x="{LEFT}" y="24" font-size="15">{escape(_shortened(self._title))}</text>',
            f'<text x="{WIDTH - RIGHT}" y="24" text-anchor="end"><tspan fill="{_OFFERED}">offered</tspan>'
            f' <tspan fill="{_DELIVERED}">delivered</tspan> <tspan fill="{_DELAY}">longest delay</tspan>'
            f' <tspan fill="{_QUEUE}">queue</tspan> <tspan fill="#a33">outage, queue full</tspan></text>',
        ]
        for row, way in enumerate(self._ways):
            way.queue.finish(round(self._end_s * NS_PER_S))
            parts += self._row(TOP + row * ROW_HEIGHT, way, outages.get(way.name, []))
        parts += self._axis(TOP + len(self._ways) * ROW_HEIGHT)
        return "\n".join([*parts, "</svg>", ""])

    @property
    def _bin_s(self) -> float:
        return (self._end_s - self._start_s) / BINS

    def _x(self, t_s: float) -> float:
        ratio = (t_s - self._start_s) / (self._end_s - self._start_s)
        return LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, min(1.0, ratio))

    def _row(self, top: int, way: PlotWay, outages: Sequence[tuple[float, float]]) -> Iterator[str]:
        low, span = top + 10 + RATES_HEIGHT, RATES_HEIGHT
        queue_low = low + GAP + QUEUE_HEIGHT
        most_bps = max(8, *way.offered_bytes, *way.delivered_bytes) * 8 / self._bin_s
        most_s = max(0.001, *way.delay_s)
        for from_s, to_s in outages:
            x, end = self._x(from_s), self._x(to_s)
            height = queue_low - top - 5
            yield f'<rect x="{x:.1f}" y="{top + 5}" width="{end - x:.1f}" height="{height}" fill="{_SILENT}"/>'
        yield f'<text x="{LEFT}" y="{top}">{escape(way.name)}</text>'
        yield from self._queue(queue_low, way)
        for colour, values in ((_OFFERED, way.offered_bytes), (_DELIVERED, way.delivered_bytes)):
            rates = [count * 8 / self._bin_s / most_bps for count in values]
            yield self._curve(rates, low, span, colour)
        yield self._curve([each / most_s for each in way.delay_s], low, span, _DELAY, dash=True)
        yield f'<line x1="{LEFT}" y1="{low}" x2="{WIDTH - RIGHT}" y2="{low}" stroke="#444"/>'
        yield f'<text x="{LEFT - 6}" y="{low - span + 4}" text-anchor="end">{_scaled(most_bps, "bit/s")}</text>'
        yield f'<text x="{WIDTH - RIGHT + 6}" y="{low - span + 4}" fill="{_DELAY}">{most_s:.3g} s</text>'

    def _queue(self, low: int, way: PlotWay) -> Iterator[str]:
        """What waited, as an area with a scale of its own, and where it was refused more."""
        most_bytes = max(_QUEUE_LEAST_BYTES, *way.queue.most_bytes)
        points = self._points([each / most_bytes for each in way.queue.most_bytes], low, QUEUE_HEIGHT)
        style = f'fill="{_QUEUE}" fill-opacity="0.35" stroke="{_QUEUE}" stroke-width="0.8"'
        yield f'<polygon points="{points} {WIDTH - RIGHT},{low} {LEFT},{low}" {style}/>'
        for at, refusals in enumerate(way.refusals):
            if refusals:
                x, y = self._x(self._start_s + at * self._bin_s), low - QUEUE_HEIGHT - 3
                yield f'<rect x="{x:.1f}" y="{y}" width="3.4" height="3" fill="#a33"/>'
        yield f'<line x1="{LEFT}" y1="{low}" x2="{WIDTH - RIGHT}" y2="{low}" stroke="#444"/>'
        y = low - QUEUE_HEIGHT + 8
        yield f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" fill="{_QUEUE}">{_scaled(most_bytes, "B")}</text>'

    def _points(self, ratios: Sequence[float], low: int, span: int) -> str:
        return " ".join(
            f"{self._x(self._start_s + (at + 0.5) * self._bin_s):.1f},{low - span * ratio:.1f}"
            for at, ratio in enumerate(ratios)
        )

    def _curve(self, ratios: Sequence[float], low: int, span: int, colour: str, *, dash: bool = False) -> str:
        pattern = ' stroke-dasharray="3 2"' if dash else ""
        points = self._points(ratios, low, span)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"{pattern}/>'

    def _axis(self, y: int) -> Iterator[str]:
        for tenth in range(0, 11, 2):
            t_s = self._start_s + (self._end_s - self._start_s) * tenth / 10
            yield f'<text x="{self._x(t_s):.1f}" y="{y + 6}" text-anchor="middle">{round(t_s, 3):g} s</text>'


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE_LENGTH_MAX else f"…{title[1 - _TITLE_LENGTH_MAX :]}"


def _scaled(amount: float, unit: str) -> str:
    for prefix, size in (("M", 1e6), ("k", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g} {prefix}{unit}"
    return f"{amount:.3g} {unit}"
