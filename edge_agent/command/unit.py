"""One unit in the field as command knows it: when it was heard, where it was, what it said, what it still holds.

All times are UTC milliseconds by this node's clock, except ``captured`` ones, which are the unit's own and never later
than what brought them: nothing is captured after it arrived, so a clock that says so is ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from edge_agent.command.gap import Gap, bar_json
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.telemetry.payloads import COST_COLUMNS, HINT_COLUMNS, Position, UnitReport

TRACK_MAX = 200
TRACK_SHOWN_ON_TIME = 30
"""Points a page gets of a unit that nobody has to look at: 40 whole tracks are most of a megabyte."""
HISTORY_MAX = 60
SERIES_MAX = 64
MESSAGES_MAX = 50
ARRIVALS_MAX = 40
DEFAULT_DUE_S = 60.0
"""Until a unit has said how often it reports."""
DUE_FLOOR_S = 2.0
"""The silence of a unit is looked for once a second: a shorter interval would make it late by our own tick. What a thin
link makes longer the unit itself has put into its report."""
LATE_RATIO = 1.5
"""One report may be late by half an interval: jitter of a radio, a report behind a picture's fragment."""
LOST_RATIO = 3.0
"""Three missed reports in a row: with 10 % loss that happens by chance once in a thousand."""
NEWS_MS = 1000
"""A silent unit counts as heard again when its last frame is this much younger: clocks compared may differ by less."""
BACK_SHOWN_S = 300.0
GAPS_MAX = 8
"""Outages on one bar; an older one has had the time of eight others to be filled in, and would be too thin to see."""
GAP_KEPT_S = 86_400.0
"""What has not come within a day, the unit's stores have given up."""
MUTE_MAX_MIN = 30
LINK_COLUMNS = ("name", "state", "rate_bps", "rtt_s", "loss_ratio", "transport")
BACKLOG_COLUMNS = ("kind", "bundles", "bytes", "expected_s")
HELD_COLUMNS = ("precedence", "bundles", "bytes", "oldest_age_s")
LARGEST_COLUMNS = ("bundle", "flow", "bytes", "age_s")
STORE_COLUMNS = ("used_bytes", "quota_bytes", "is_full")

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
    position_said_ms: int = 0
    track: list[Json] = field(default_factory=list)
    links: list[Json] = field(default_factory=list)
    backlog: list[Json] = field(default_factory=list)
    held: list[Json] = field(default_factory=list)
    largest: list[Json] = field(default_factory=list)
    store: Json | None = None
    costs: list[Json] = field(default_factory=list)
    """What its links cost, those that cost anything."""
    hints: list[Json] = field(default_factory=list)
    """What devices there say of its links, each with when it was told."""
    profile: str = ""
    """How it uses its links; "" for the usual way."""
    last_link: str = ""
    last_received: Json | None = None
    readings: dict[str, Json] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    arrivals: list[Json] = field(default_factory=list)
    silent_since_ms: int | None = None
    back_ms: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    report_bundle: str = ""

    def to_document(self) -> Json:
        """All fields, for Documents. Lists are the unit's own: pack them before it changes."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**content, "gaps": [gap.to_document() for gap in self.gaps]}

    @classmethod
    def from_document(cls, content: Json) -> "Unit":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        known = {name: value for name, value in content.items() if name in names}
        gaps = [Gap.from_document(each) for each in known.pop("gaps", ())]
        return cls(**known, gaps=gaps)

    def hear(self, at_ms: int) -> bool:
        """Something authentic came at ``at_ms``; True when the unit was in lost contact before."""
        was_lost = self.state == "lost"
        if at_ms <= self.last_heard_ms + (NEWS_MS if was_lost else 0):
            return False
        if was_lost:
            self.state, self.back_ms, self.arrivals = "back", at_ms, []
            self.gaps.append(Gap.between(self.last_heard_ms, at_ms, self.due_s))
            del self.gaps[:-GAPS_MAX]
        elif self.state == "late":
            self.state = "on_time"
        self.last_heard_ms = at_ms
        return was_lost

    def mind_clock(self, now_ms: int) -> None:
        """Our clock may have been set back: nothing was heard in the future, and no mute lasts longer than allowed."""
        self.last_heard_ms = min(self.last_heard_ms, now_ms)
        if self.back_ms is not None:
            self.back_ms = min(self.back_ms, now_ms)
        if self.reported_ms is not None:
            self.reported_ms = min(self.reported_ms, now_ms)
        if self.muted_until_ms is not None:
            self.muted_until_ms = min(self.muted_until_ms, now_ms + MUTE_MAX_MIN * 60_000)

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
        return None

    def settle(self, now_ms: int) -> bool:
        """End what has lasted long enough: a mute, "back", a gap that nothing more will fill; True when one ended."""
        before = (self.muted_until_ms, self.state, len(self.gaps))
        if self.muted_until_ms is not None and self.muted_until_ms <= now_ms:
            self.muted_until_ms = None
        if self.gaps and self.back_ms is not None:
            quiet_ms = now_ms - max(self.back_ms, *(gap.filled_at_ms for gap in self.gaps))
            if quiet_ms > BACK_SHOWN_S * 1000:
                if self.state == "back":
                    self.state = "on_time"
                is_waiting = any(row["bundles"] for row in self.backlog) and quiet_ms <= GAP_KEPT_S * 1000
                if self.state == "on_time":
                    self.gaps = [gap for gap in self.gaps if is_waiting and not gap.is_complete]
        return before != (self.muted_until_ms, self.state, len(self.gaps))

    def take_report(self, report: UnitReport, bundle: str, received_ms: int) -> list[tuple[str, str, str]]:
        """Links and backlog as the unit tells them, the last report it made; gives back (link, from, to) of changes.

        Which one is the last its numbers say, not its clock, which may have been put right in between.
        """
        if self.report_bundle and _was_made_before(bundle, self.report_bundle):
            return []
        before = {row["name"]: row["state"] for row in self.links}
        self.report_bundle, self.reported_ms = bundle, received_ms
        self.due_s, self.name, self.number = max(DUE_FLOOR_S, report.due_s), report.name, report.number
        self.links = [dict(zip(LINK_COLUMNS, row, strict=True)) for row in report.links]
        self.backlog = [dict(zip(BACKLOG_COLUMNS, row, strict=True)) for row in report.backlog]
        self.costs = [dict(zip(COST_COLUMNS, row, strict=True)) for row in report.costs or ()]
        self.profile = report.profile or ""
        if report.hints is not None:
            self.hints = [{**dict(zip(HINT_COLUMNS, row, strict=True)), "at_ms": received_ms} for row in report.hints]
        self._take_holdings(report)
        return [
            (row["name"], before[row["name"]], row["state"])
            for row in self.links
            if row["name"] in before and before[row["name"]] != row["state"]
        ]

    def _take_holdings(self, report: UnitReport) -> None:
        """What it still holds; a report without names (a thin link) leaves those of the last one that still wait."""
        self.held = [
            {**dict(zip(HELD_COLUMNS, row, strict=True)), "precedence": Precedence(row[0]).name.lower()}
            for row in report.held or ()
        ]
        self.store = None if report.store is None else dict(zip(STORE_COLUMNS, report.store, strict=True))
        asked = {item["bundle"]: item["asked"] for item in self.largest}
        if report.largest is not None or not self.held:
            rows = [dict(zip(LARGEST_COLUMNS, row, strict=True)) for row in report.largest or ()]
            self.largest = [{**row, "asked": asked.get(row["bundle"], "")} for row in rows]

    def take_position(self, position: Position, received_ms: int) -> None:
        """A fix. An older one than the last goes into the track and never makes the unit's position younger.

        A clock that is ahead makes every fix look as young as its arrival: there its own order tells old from new.
        """
        place = position_json(position, received_ms)
        said_ms = position.captured_at_ms
        if received_ms < said_ms <= self.position_said_ms:
            return
        if any((each["captured_ms"], each["lat"], each["lon"]) == _moment(place) for each in self.track):
            return  # the same fix by another bundle: calls for help and reports carry the last one too
        is_late = received_ms - place["captured_ms"] > max(2 * self.due_s, 10.0) * 1000
        if self.position is None or place["captured_ms"] >= min(self.position["captured_ms"], received_ms):
            self.position, self.position_said_ms = place, said_ms
        self.track.append({**place, "is_late": is_late})
        if len(self.track) > 1 and self.track[-2]["captured_ms"] > place["captured_ms"]:
            self.track.sort(key=lambda each: int(each["captured_ms"]))
        del self.track[:-TRACK_MAX]

    def take_reading(self, row: list[Any], received_ms: int) -> bool:  # Any: a checked row of ReadingBatch
        """One value of one series; all go into its plot, the newest is shown: True when this one is."""
        series, value, unit_text, quality, captured_ms = row
        known = self.readings.get(series)
        if known is None:
            if len(self.readings) >= SERIES_MAX:
                return False
            known = self.readings[series] = {"captured_ms": -1, "history": []}
        history = known["history"]
        history.append([captured_ms, value])
        if len(history) > 1 and history[-2][0] > captured_ms:
            history.sort(key=lambda each: int(each[0]))
        del history[:-HISTORY_MAX]
        if captured_ms < min(known["captured_ms"], received_ms):
            return False
        known.update(captured_ms=captured_ms, value=value, unit_text=unit_text, quality=quality)
        return True

    def note_arrival(
        self, *, what: str, text: str, captured_ms: Sequence[int], arrived_ms: int, is_urgent: bool
    ) -> None:
        """One bundle with facts of these moments, at least one; it may tell something of the last outage.

        After the unit was back, what came is listed in order: urgent, newest, or history.
        """
        newest_ms = max(captured_ms)
        if self.last_received is None or newest_ms >= min(self.last_received["captured_ms"], arrived_ms):
            self.last_received = {"what": what, "text": text, "captured_ms": newest_ms}
        for gap in self.gaps:
            gap.fill(captured_ms, arrived_ms)
        if self.state != "back":
            return
        age_s = (arrived_ms - newest_ms) / 1000
        kind = "urgent" if is_urgent else "newest" if age_s <= 2 * self.due_s else "history"
        last = self.arrivals[-1] if self.arrivals else None
        if last is not None and (last["what"], last["class"]) == (what, kind):
            last["count"] += 1
            last["captured_ms"] = newest_ms
        elif len(self.arrivals) < ARRIVALS_MAX:
            self.arrivals.append(
                {
                    "n": len(self.arrivals) + 1,
                    "arrived_ms": arrived_ms,
                    "captured_ms": newest_ms,
                    "what": what,
                    "text": text,
                    "class": kind,
                    "count": 1,
                }
            )

    def _gap_json(self) -> Json | None:
        if self.state == "lost":
            return None
        waiting = [row["expected_s"] for row in self.backlog if row["bundles"] and row["expected_s"] is not None]
        return bar_json(self.gaps, max(waiting, default=None))

    def to_json(self, now_ms: int) -> Json:
        """The unit as docs/api.md shows it."""
        back_after_s = None
        if self.state == "back" and self.gaps:
            back_after_s = (self.gaps[-1].to_ms - self.gaps[-1].from_ms) / 1000
        is_full = self.store is not None and bool(self.store["is_full"])
        is_noted = self.state == "on_time" and (is_full or any(row["state"] != "up" for row in self.links))
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
            "track": self.track[-TRACK_SHOWN_ON_TIME:] if self.state == "on_time" else self.track,
            "links": self.links,
            "reported_ms": self.reported_ms,
            "backlog": self.backlog,
            "held": self.held,
            "largest": self.largest,
            "store": self.store,
            "costs": self.costs,
            "hints": self.hints,
            "profile": self.profile,
            "last_link": self.last_link,
            "last_received": self.last_received,
            "gap": self._gap_json(),
            "arrivals": self.arrivals if self.state == "back" else [],
            "messages": self.messages,
        }


def position_json(position: Position, received_ms: int) -> Json:
    """A fix that arrived at ``received_ms``, as docs/api.md shows it."""
    return {
        "lat": position.lat_deg,
        "lon": position.lon_deg,
        "captured_ms": min(position.captured_at_ms, received_ms),
        "system": position.system,
        "datum": position.datum,
    }


def _moment(place: Json) -> tuple[int, float, float]:
    return place["captured_ms"], place["lat"], place["lon"]


def _was_made_before(bundle: str, other: str) -> bool:
    """Whether its source made ``bundle`` before ``other``; of two that are not counted together, as they arrive."""
    first, second = BundleId.parse(bundle), BundleId.parse(other)
    return first[:3] == second[:3] and first.sequence < second.sequence
