"""One unit in the field as command knows it: when it was heard, where it was, what it said, what it still holds.

All times are UTC milliseconds by this node's clock, except ``captured`` ones, which are the unit's own.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from edge_agent.telemetry.payloads import Position, UnitReport

TRACK_MAX = 200
HISTORY_MAX = 60
SERIES_MAX = 64
MESSAGES_MAX = 50
ARRIVALS_MAX = 40
DEFAULT_DUE_S = 60.0
"""Until a unit has said how often it reports."""
LATE_RATIO = 1.5
"""One report may be late by half an interval: jitter of a radio, a report behind a picture's fragment."""
LOST_RATIO = 3.0
"""Three missed reports in a row: with 10 % loss that happens by chance once in a thousand."""
BACK_SHOWN_S = 300.0
LINK_COLUMNS = ("name", "state", "rate_bps", "rtt_s", "loss_ratio", "transport")
BACKLOG_COLUMNS = ("kind", "bundles", "bytes", "expected_s")

Json = dict[str, Any]  # Any: JSON


@dataclass(slots=True, kw_only=True)
class Unit:
    """State of one unit; ``to_document`` and ``from_document`` keep it over restarts."""

    id: str
    number: int = 0
    name: str = ""
    state: str = "on_time"
    last_heard_ms: int = 0
    due_s: float = DEFAULT_DUE_S
    reported_ms: int | None = None
    muted_until_ms: int | None = None
    position: Json | None = None
    track: list[Json] = field(default_factory=list)
    links: list[Json] = field(default_factory=list)
    backlog: list[Json] = field(default_factory=list)
    last_link: str = ""
    last_received: Json | None = None
    readings: dict[str, Json] = field(default_factory=dict)
    messages: list[Json] = field(default_factory=list)
    arrivals: list[Json] = field(default_factory=list)
    silent_since_ms: int | None = None
    back_ms: int | None = None
    gap_from_ms: int | None = None
    filled_bins: list[int] = field(default_factory=list)

    def to_document(self) -> Json:
        """All fields, for Documents."""
        return asdict(self)

    @classmethod
    def from_document(cls, content: Json) -> "Unit":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in content.items() if name in names})

    def hear(self, at_ms: int) -> bool:
        """Something authentic came at ``at_ms``; True when the unit was in lost contact before."""
        if at_ms <= self.last_heard_ms:
            return False
        was_lost = self.state == "lost"
        if was_lost:
            self.state, self.back_ms, self.gap_from_ms = "back", at_ms, self.last_heard_ms
            self.arrivals, self.filled_bins = [], []
        elif self.state == "late":
            self.state = "on_time"
        self.last_heard_ms = at_ms
        return was_lost

    def grow_silent(self, now_ms: int, listening_since_ms: int) -> str | None:
        """The state this unit falls into at ``now_ms`` for want of news ("late", "lost"); None for no change.

        Silence counts from ``listening_since_ms`` at the earliest: a post that was off blames nobody.
        """
        silent_s = (now_ms - max(self.last_heard_ms, listening_since_ms)) / 1000
        if self.state == "lost":
            return None
        if silent_s > LOST_RATIO * self.due_s:
            self.state, self.silent_since_ms = "lost", self.last_heard_ms
            return "lost"
        if self.state != "late" and silent_s > LATE_RATIO * self.due_s:
            self.state = "late"
            return "late"
        if self.state == "back" and self.back_ms is not None and now_ms - self.back_ms > BACK_SHOWN_S * 1000:
            self.state = "on_time"
        return None

    def take_report(self, report: UnitReport) -> list[tuple[str, str, str]]:
        """Links and backlog as the unit tells them, newest report only; gives back (link, from, to) of changes."""
        if self.reported_ms is not None and report.at_ms < self.reported_ms:
            return []
        before = {row["name"]: row["state"] for row in self.links}
        self.reported_ms, self.due_s, self.name, self.number = report.at_ms, report.due_s, report.name, report.number
        self.links = [dict(zip(LINK_COLUMNS, row, strict=True)) for row in report.links]
        self.backlog = [dict(zip(BACKLOG_COLUMNS, row, strict=True)) for row in report.backlog]
        return [
            (row["name"], before[row["name"]], row["state"])
            for row in self.links
            if row["name"] in before and before[row["name"]] != row["state"]
        ]

    def take_position(self, position: Position, received_ms: int) -> None:
        """A fix. An older one than the last goes into the track and never makes the unit's position younger."""
        place = position_json(position)
        is_late = received_ms - position.captured_at_ms > max(2 * self.due_s, 10.0) * 1000
        point = {**place, "is_late": is_late}
        if self.position is None or position.captured_at_ms >= self.position["captured_ms"]:
            self.position = place
            self.track.append(point)
        else:
            self.track.append(point)
            self.track.sort(key=lambda each: int(each["captured_ms"]))
        del self.track[:-TRACK_MAX]

    def take_reading(self, row: list[Any]) -> None:  # Any: a checked row of ReadingBatch
        """One value of one series; the newest is shown, all go into its plot."""
        series, value, unit_text, quality, captured_ms = row
        known = self.readings.get(series)
        if known is None:
            if len(self.readings) >= SERIES_MAX:
                return
            known = self.readings[series] = {"captured_ms": -1, "history": []}
        history = known["history"]
        history.append([captured_ms, value])
        if len(history) > 1 and history[-2][0] > captured_ms:
            history.sort(key=lambda each: int(each[0]))
        del history[:-HISTORY_MAX]
        if captured_ms >= known["captured_ms"]:
            known.update(captured_ms=captured_ms, value=value, unit_text=unit_text, quality=quality)

    def note_arrival(self, *, what: str, text: str, captured_ms: int, arrived_ms: int, is_urgent: bool) -> None:
        """What came after the unit was back, in order: urgent, newest, or history."""
        if self.back_ms is None or arrived_ms - self.back_ms > BACK_SHOWN_S * 1000:
            return
        age_s = (arrived_ms - captured_ms) / 1000
        kind = "urgent" if is_urgent else "newest" if age_s <= 2 * self.due_s else "history"
        last = self.arrivals[-1] if self.arrivals else None
        if last is not None and (last["what"], last["class"]) == (what, kind):
            last["count"] += 1
            last["captured_ms"] = captured_ms
        elif len(self.arrivals) < ARRIVALS_MAX:
            self.arrivals.append(
                {
                    "n": len(self.arrivals) + 1,
                    "arrived_ms": arrived_ms,
                    "captured_ms": captured_ms,
                    "what": what,
                    "text": text,
                    "class": kind,
                    "count": 1,
                }
            )
        if self.gap_from_ms is not None and self.gap_from_ms <= captured_ms < self.back_ms:
            at = int((captured_ms - self.gap_from_ms) / 1000 / self.due_s)
            if at not in self.filled_bins:
                self.filled_bins.append(at)

    def gap(self) -> Json | None:
        """The last outage as three parts that add up to it: received then, filled in late, still there."""
        if self.gap_from_ms is None or self.back_ms is None:
            return None
        whole_ms = self.back_ms - self.gap_from_ms
        late_ms = min(whole_ms, int(len(self.filled_bins) * self.due_s * 1000))
        waiting = [row["expected_s"] for row in self.backlog if row["bundles"]]
        return {
            "from_ms": self.gap_from_ms,
            "to_ms": self.back_ms,
            "parts": [
                {"state": "received", "ms": 0},
                {"state": "late", "ms": late_ms},
                {"state": "missing", "ms": whole_ms - late_ms},
            ],
            "complete_in_s": max((each for each in waiting if each is not None), default=None),
        }

    def to_json(self, now_ms: int) -> Json:
        """The unit as docs/api.md shows it."""
        back_after_s = None
        if self.state == "back" and self.back_ms is not None and self.gap_from_ms is not None:
            back_after_s = (self.back_ms - self.gap_from_ms) / 1000
        is_noted = self.state == "on_time" and any(row["state"] != "up" for row in self.links)
        return {
            "id": self.id,
            "number": self.number,
            "name": self.name or self.id,
            "state": "noted" if is_noted else self.state,
            "last_heard_ms": self.last_heard_ms,
            "due_s": self.due_s,
            "muted_until_ms": self.muted_until_ms if (self.muted_until_ms or 0) > now_ms else None,
            "back_after_s": back_after_s,
            "position": self.position,
            "track": self.track,
            "links": self.links,
            "reported_ms": self.reported_ms,
            "backlog": self.backlog,
            "last_link": self.last_link,
            "last_received": self.last_received,
            "gap": self.gap() if self.state == "back" else None,
            "arrivals": self.arrivals if self.state == "back" else [],
            "messages": self.messages,
        }


def position_json(position: Position) -> Json:
    """A fix as docs/api.md shows it."""
    return {
        "lat": position.lat_deg,
        "lon": position.lon_deg,
        "captured_ms": position.captured_at_ms,
        "system": position.system,
        "datum": position.datum,
    }
