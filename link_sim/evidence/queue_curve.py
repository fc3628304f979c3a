"""How many bytes waited for a line over time, from looks at it whenever a frame is offered or comes out."""

from typing import Any, NamedTuple

from link_sim.link.line import Line


class Look(NamedTuple):
    """How the queue of a line stands. ``clock_ns`` is the link's own clock, which stands still in a hold."""

    clock_ns: int
    waiting_bytes: int
    is_held: bool


def look_at(line: Line[Any], now_ns: int) -> Look:  # Any: frames of every endpoint
    """How it stands now."""
    model = line.model
    return Look(model.clock_ns(now_ns), model.waiting_bytes(now_ns), model.held_ns is None)


class QueueCurve:
    """``most_bytes``: the most that waited in each bin of time.

    Between two looks bytes leave evenly until the last of them has left, as far as the link's clock runs. That is exact
    for a constant rate, and for any other at both ends.
    """

    def __init__(self, start_ns: int, end_ns: int, bins: int) -> None:
        self.most_bytes = [0.0] * bins
        self._start_ns = start_ns
        self._bin_ns = max(1, end_ns - start_ns) / bins
        self._at_ns = start_ns
        self._look = Look(start_ns, 0, False)
        self._empty_ns = 0

    def see(self, now_ns: int, look: Look, empty_ns: int | None = None) -> None:
        """The next look; ``empty_ns`` is when the last byte leaves, by the link's clock, None: as before."""
        self._run(now_ns, look.clock_ns - self._look.clock_ns)
        self._at_ns, self._look = now_ns, look
        if empty_ns is not None:
            self._empty_ns = empty_ns
        self._fall(now_ns, look.waiting_bytes, now_ns, 0)

    def finish(self, now_ns: int) -> None:
        """Draw until then."""
        self._run(now_ns, 0 if self._look.is_held else now_ns - self._at_ns)
        self._at_ns, self._look = now_ns, self._look._replace(waiting_bytes=0)

    def _run(self, now_ns: int, ran_ns: int) -> None:
        """Until now; the link's clock ran for ``ran_ns`` of it, at the end of it when the link was held before."""
        at_ns, waiting_bytes = self._at_ns, float(self._look.waiting_bytes)
        if not waiting_bytes:
            return
        if self._look.is_held:
            self._fall(at_ns, waiting_bytes, now_ns - ran_ns, waiting_bytes)
            at_ns = now_ns - ran_ns
        left_ns = self._empty_ns - self._look.clock_ns
        if ran_ns >= left_ns > 0:
            self._fall(at_ns, waiting_bytes, at_ns + left_ns, 0)
            return
        if left_ns > 0:
            rest_bytes = waiting_bytes * (1 - ran_ns / left_ns)
            self._fall(at_ns, waiting_bytes, at_ns + ran_ns, rest_bytes)
            at_ns, waiting_bytes = at_ns + ran_ns, rest_bytes
        self._fall(at_ns, waiting_bytes, now_ns, waiting_bytes)

    def _fall(self, from_ns: int, from_bytes: float, to_ns: int, to_bytes: float) -> None:
        """A straight line that does not rise: in each bin the most is at its left end."""
        most_bytes, start_ns, bin_ns = self.most_bytes, self._start_ns, self._bin_ns
        first, last = (min(len(most_bytes) - 1, int((at_ns - start_ns) / bin_ns)) for at_ns in (from_ns, to_ns))
        for at in range(max(0, first), last + 1):
            into_ns = max(0, start_ns + at * bin_ns - from_ns)
            here = from_bytes - (from_bytes - to_bytes) * into_ns / max(1, to_ns - from_ns)
            most_bytes[at] = max(most_bytes[at], here)
