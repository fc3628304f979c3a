"""A picture of a run: for each direction what was offered and delivered, how long frames took, and where it was silent.

SVG by hand: no library, one file, opens in any browser.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from link_sim.line import Line
from link_sim.model import Verdict
from link_sim.services import NS_PER_S

BINS = 240
WIDTH, ROW_HEIGHT, LEFT, RIGHT, TOP = 960, 150, 90, 70, 40
_OFFERED, _DELIVERED, _DELAY, _SILENT = "#9aa7b5", "#1f6feb", "#b4580a", "#f3c6c0"


@dataclass(slots=True)
class _Way:
    """One direction in bins of equal time."""

    name: str
    offered_bytes: list[int] = field(default_factory=lambda: [0] * BINS)
    delivered_bytes: list[int] = field(default_factory=lambda: [0] * BINS)
    delay_s: list[float] = field(default_factory=lambda: [0.0] * BINS)


class Plot:
    """Watches directions for ``duration_s`` and draws them."""

    def __init__(self, title: str, duration_s: float) -> None:
        self._title = title
        self._duration_s = duration_s
        self._ways: list[_Way] = []

    def watch(self, name: str, line: Line[bytes]) -> None:
        """Draw a direction from the frames offered to it."""
        way = _Way(name)
        self._ways.append(way)

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            way.offered_bytes[self._bin(now_ns)] += frame_bytes

        def taken(now_ns: int, offered_ns: int, frame: bytes) -> None:
            at = self._bin(now_ns)
            way.delivered_bytes[at] += len(frame)
            way.delay_s[at] = max(way.delay_s[at], (now_ns - offered_ns) / NS_PER_S)

        line.observe(judged, taken)

    def _bin(self, t_ns: int) -> int:
        return min(BINS - 1, int(t_ns / NS_PER_S / self._duration_s * BINS))

    def svg(self, outages: dict[str, list[tuple[float, float]]]) -> str:
        """The picture; ``outages`` are (from s, to s) for each direction by name."""
        height = TOP + ROW_HEIGHT * max(1, len(self._ways)) + 30
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
            f' font-size="12"><title>{escape(self._title)}</title><rect width="100%" height="100%" fill="white"/>',
            f'<text x="{LEFT}" y="24" font-size="15">{escape(self._title)}</text>',
            f'<text x="{WIDTH - RIGHT}" y="24" text-anchor="end"><tspan fill="{_OFFERED}">offered</tspan>'
            f' <tspan fill="{_DELIVERED}">delivered</tspan> <tspan fill="{_DELAY}">longest delay</tspan>'
            f' <tspan fill="#a33">outage</tspan></text>',
        ]
        for row, way in enumerate(self._ways):
            parts += self._row(TOP + row * ROW_HEIGHT, way, outages.get(way.name, []))
        parts += self._axis(TOP + len(self._ways) * ROW_HEIGHT)
        return "\n".join([*parts, "</svg>", ""])

    def _x(self, t_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * t_s / self._duration_s

    def _row(self, top: int, way: _Way, outages: list[tuple[float, float]]) -> Iterator[str]:
        low, span = top + ROW_HEIGHT - 30, ROW_HEIGHT - 50
        bin_s = self._duration_s / BINS
        most_bps = max(8, *way.offered_bytes, *way.delivered_bytes) * 8 / bin_s
        most_s = max(0.001, *way.delay_s)
        for from_s, to_s in outages:
            x, end = self._x(from_s), self._x(min(to_s, self._duration_s))
            yield f'<rect x="{x:.1f}" y="{top + 10}" width="{end - x:.1f}" height="{span + 10}" fill="{_SILENT}"/>'
        yield f'<text x="{LEFT}" y="{top + 6}">{escape(way.name)}</text>'
        for colour, values in ((_OFFERED, way.offered_bytes), (_DELIVERED, way.delivered_bytes)):
            rates = [count * 8 / bin_s / most_bps for count in values]
            yield self._curve(rates, low, span, colour)
        yield self._curve([each / most_s for each in way.delay_s], low, span, _DELAY, dash=True)
        yield f'<line x1="{LEFT}" y1="{low}" x2="{WIDTH - RIGHT}" y2="{low}" stroke="#444"/>'
        yield f'<text x="{LEFT - 6}" y="{low - span + 4}" text-anchor="end">{_rate_text(most_bps)}</text>'
        yield f'<text x="{WIDTH - RIGHT + 6}" y="{low - span + 4}" fill="{_DELAY}">{most_s:.3g} s</text>'

    def _curve(self, ratios: list[float], low: int, span: int, colour: str, *, dash: bool = False) -> str:
        bin_s = self._duration_s / BINS
        points = " ".join(
            f"{self._x((at + 0.5) * bin_s):.1f},{low - span * ratio:.1f}" for at, ratio in enumerate(ratios)
        )
        pattern = ' stroke-dasharray="3 2"' if dash else ""
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"{pattern}/>'

    def _axis(self, y: int) -> Iterator[str]:
        for tenth in range(0, 11, 2):
            t_s = self._duration_s * tenth / 10
            yield f'<text x="{self._x(t_s):.1f}" y="{y + 6}" text-anchor="middle">{t_s:g} s</text>'


def _rate_text(rate_bps: float) -> str:
    for unit, size in (("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bps >= size:
            return f"{rate_bps / size:.3g} {unit}"
    return f"{rate_bps:.3g} bit/s"
