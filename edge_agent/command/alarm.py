"""Alarms of the command post: something a person must act on. Ranks, grouping and ends: docs/api.md and the page rules.

Confirm stops sound and fill; an SOS ends only when a person closes it with a reason; lost contact ends by itself; a
life threat ends when it was acknowledged and the value is back; an alarm when it was acknowledged.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

GROUP_S = 60.0
"""Alarms of one kind raised within this span are one alarm once they are GROUP_MIN: one cause, one sound."""
GROUP_MIN = 3
ALARMS_MAX = 200

Json = dict[str, Any]  # Any: JSON


@dataclass(slots=True, kw_only=True)
class Alarm:
    """One alarm. ``kind``: sos, threat, lost or alarm; ``series`` of a threat or alarm: whose limit was passed.

    ``ends``: when each unit of a lost contact was heard again, or its value was back within the limit.
    ``passed_by``: the post that passed a call on because nobody confirmed it there; ``passed_on_ms``: when this post
    did so. ``is_estimated``: ``raised_ms`` is told by the age of the call, for the unit's clock was not set. ``also``:
    who confirmed or closed it at another post, beside the one that counts.
    """

    id: str
    kind: str
    units: list[str]
    raised_ms: int
    received_ms: int
    via: list[str] = field(default_factory=list)
    text: str = ""
    series: str = ""
    position: Json | None = None
    withdrawn_ms: int | None = None
    confirmed: Json | None = None
    closed: Json | None = None
    cleared_ms: int | None = None
    ends: dict[str, int] = field(default_factory=dict)
    passed_by: str = ""
    passed_on_ms: int | None = None
    is_estimated: bool = False
    also: list[Json] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether anybody still has to look at it."""
        return self.closed is None and self.cleared_ms is None

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it still calls for a person. A withdrawn SOS does: a withdrawal may be forced."""
        return self.is_open and self.confirmed is None

    def to_document(self) -> Json:
        """All fields, for Documents."""
        return asdict(self)

    @classmethod
    def from_document(cls, content: Json) -> "Alarm":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in content.items() if name in names})

    def confirm(self, by: str, at_ms: int) -> bool:
        """A person takes it, under their name; False when somebody has already."""
        if self.confirmed is not None:
            return False
        self.confirmed = {"by": by, "at_ms": at_ms, "reason": ""}
        if self.kind == "alarm" or (self.kind == "threat" and self.back_ms is not None):
            self.cleared_ms = at_ms
        return True

    @property
    def back_ms(self) -> int | None:
        """When the last of its units was heard again, or had its value back; None: not all are."""
        return max(self.ends.values()) if self.units and all(unit in self.ends for unit in self.units) else None

    def clear_unit(self, unit: str, at_ms: int) -> None:
        """A unit was heard again, or its value is back: with the last one lost contact is over, a taken threat too."""
        self.ends[unit] = at_ms
        is_taken = self.kind == "lost" or (self.kind == "threat" and self.confirmed is not None)
        if self.back_ms is not None and is_taken:
            self.cleared_ms = at_ms

    def to_json(self) -> Json:
        """The alarm as docs/api.md shows it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "units": self.units,
            "raised_ms": self.raised_ms,
            "is_estimated": self.is_estimated,
            "received_ms": self.received_ms,
            "latency_s": max(0.0, (self.received_ms - self.raised_ms) / 1000) if self.kind == "sos" else None,
            "via": self.via,
            "text": self.text,
            "back_ms": self.back_ms if self.kind == "threat" else None,
            "position": self.position,
            "withdrawn_ms": self.withdrawn_ms,
            "confirmed": self.confirmed,
            "closed": self.closed,
            "cleared_ms": self.cleared_ms,
            "passed_by": self.passed_by,
            "passed_on_ms": self.passed_on_ms,
            "also": self.also,
        }


def admit(alarms: list[Alarm], alarm: Alarm) -> list[str]:
    """Add ``alarm``; the oldest that are over make room. Gives back the ids of what changed."""
    alarms.append(alarm)
    over = [each for each in alarms if not each.is_open][: max(0, len(alarms) - ALARMS_MAX)]
    for each in over:
        alarms.remove(each)
    return [alarm.id, *(each.id for each in over)]


def admit_alike(alarms: list[Alarm], alarm: Alarm) -> list[str]:
    """Add an alarm of one unit that may have one cause with others: GROUP_MIN or more of a kind (and of a series)
    within GROUP_S are one alarm. Gives back the ids of what changed."""
    [unit] = alarm.units
    recent = [each for each in alarms if each.is_unconfirmed and _is_alike(each, alarm)]
    if sum(len(each.units) for each in recent) + 1 < GROUP_MIN:
        return admit(alarms, alarm)
    group = min(recent, key=lambda each: each.raised_ms)
    for each in recent:
        if each is not group:
            group.units += [name for name in each.units if name not in group.units]
            group.via += [link for link in each.via if link not in group.via]
            group.ends.update(each.ends)
            alarms.remove(each)
    if unit not in group.units:
        group.units.append(unit)
    group.via += [link for link in alarm.via if link not in group.via]
    group.ends.pop(unit, None)
    group.text = group.series  # the value of one unit would stand beside the names of all
    return [each.id for each in recent]


def _is_alike(alarm: Alarm, other: Alarm) -> bool:
    is_one_kind = (alarm.kind, alarm.series) == (other.kind, other.series)
    return is_one_kind and _is_close(alarm, other.raised_ms)


def _is_close(alarm: Alarm, now_ms: int) -> bool:
    return abs(now_ms - alarm.raised_ms) <= GROUP_S * 1000  # our clock may have been set back
