"""Raw seconds of links: what the node counted, by the second, as rows of a file that a third party can add up.

A row is a second of one link to one peer: what its link looked like at the end of it (letters) and what became of the
frames that left in it. Rows of one second add up: what becomes known late is a row of its own. Seconds count from the
start of the machine; how they lie in UTC is said apart, by the line before them (docs/adr/0039-seconds-of-a-link.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.core.effects import LinkState
from edge_agent.core.tally import LinkSeconds, SecondCount

HEADER = "lifeline link seconds 1"
COLUMNS = "second,seen,arrived,lost,timed,delay,delay_max,jitter,error,doubts,switches,switch"
"""``timed`` empty: all that arrived. Delays and their like in steps of 10 us; ``delay`` and ``jitter`` are means."""
STEP_S = 1e-5
SETTLE_S = 3
"""A second is written when it is so long over: most of what left in it is known by then."""
_STATES = {LinkState.UP: "u", LinkState.DEGRADED: "u", LinkState.DOWN: "d", LinkState.UNKNOWN: "n"}


class Place(NamedTuple):
    """Whose seconds: one link to one peer; ``peer`` is empty while nobody was heard there."""

    link: str
    peer: str


class Taken(NamedTuple):
    """One row to be: ``second`` of the node's clock. ``seen``: one of u (in use), d (convicted), x (its transport is
    gone), n (not known), and behind it s (frames left), h (frames came); empty in a row that only adds counts."""

    place: Place
    second: int
    seen: str
    counted: SecondCount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRow:
    """A row as it was read. Delays in seconds, means over ``timed`` frames; ``error_s`` is how wrong they may be."""

    second: int
    seen: str = ""
    arrived: int = 0
    lost: int = 0
    timed: int = 0
    delay_s: float = 0.0
    delay_max_s: float = 0.0
    jitter_s: float = 0.0
    error_s: float = 0.0
    doubts: int = 0
    switches: int = 0
    switch_s: float = 0.0


class SecondCollector:
    """Puts together what is seen at the end of a second and what is counted of it later."""

    def __init__(self) -> None:
        self._seen: dict[Place, dict[int, str]] = {}
        self._looked: int | None = None

    def look(self, now_s: float, links: Iterable[LinkSeconds]) -> list[Taken]:
        """Rows of seconds that have settled. Call it just after each full second of the node's clock.

        ``links`` are what ``Node.take_seconds(now_s - SETTLE_S)`` gave. Of a second nobody looked at the end of only
        its counts become a row.
        """
        ended = int(now_s) - 1
        is_new, self._looked = ended != self._looked, ended
        taken: list[Taken] = []
        for each in links:
            place = Place(each.link, each.peer)
            waiting = self._seen.setdefault(place, {})
            if is_new and (letters := _letters(each, ended)):
                waiting[ended] = letters
            taken += [Taken(place, count.second, waiting.pop(count.second, ""), count) for count in each.counts]
        for place, waiting in self._seen.items():
            settled = [second for second in waiting if second + 1 <= now_s - SETTLE_S]
            taken += [Taken(place, second, waiting.pop(second), None) for second in settled]
        self._seen = {place: waiting for place, waiting in self._seen.items() if waiting}
        return taken


def _letters(each: LinkSeconds, second: int) -> str:
    """What a link looks like at the end of ``second``; empty where nothing is to be told."""
    state = _STATES[each.state] if each.is_there else "x"
    moved = ("s" if each.last_sent_s >= second else "") if each.last_sent_s else ""
    moved += "h" if each.last_heard_s is not None and each.last_heard_s >= second else ""
    return state + moved if moved or state in "dx" else ""


def row_text(taken: Taken, from_second: int) -> str:
    """The row as a line without its end; its second counts from ``from_second``."""
    count = taken.counted
    if count is None:
        return f"{taken.second - from_second},{taken.seen}"
    timed = count.timed
    steps: list[float] = [0.0, 0.0, 0.0, 0.0]
    if timed:
        mean_s, jitter_s = count.delay_sum_s / timed, count.jitter_sum_s / timed
        steps = [mean_s, count.delay_max_s, jitter_s, count.bound_s]
    cells = [
        count.arrived,
        count.lost,
        timed if timed != count.arrived else "",
        *(max(0, round(each / STEP_S)) for each in steps),
        count.suspicions,
        count.switches,
        round(count.switch_sum_s / STEP_S),
    ]
    text = ",".join(str(each) if each or at == 2 else "" for at, each in enumerate(cells))
    return f"{taken.second - from_second},{taken.seen}" + f",{text}".rstrip(",")


def read_row(line: str) -> SecondRow:
    """A row from its line. Raises ValueError for what is none, such as a line cut short by a power cut."""
    cells = line.split(",")
    if not 2 <= len(cells) <= COLUMNS.count(",") + 1:
        raise ValueError(f"a row of {len(cells)} cells")
    seen = cells[1]
    if seen.strip("udxnsh"):
        raise ValueError(f"seen {seen!r}: allowed are the letters udxnsh")
    values = [int(each) if each else 0 for each in cells[2:]] + [0] * (COLUMNS.count(",") + 1 - len(cells))
    has_timed = len(cells) > 4 and cells[4] != ""
    arrived, lost, timed, delay, delay_max, jitter, error, doubts, switches, switch = values
    return SecondRow(
        second=int(cells[0]),
        seen=seen,
        arrived=arrived,
        lost=lost,
        timed=timed if has_timed or not error else arrived,
        delay_s=delay * STEP_S,
        delay_max_s=delay_max * STEP_S,
        jitter_s=jitter * STEP_S,
        error_s=error * STEP_S,
        doubts=doubts,
        switches=switches,
        switch_s=switch * STEP_S,
    )
