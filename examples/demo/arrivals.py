"""Order of arrival after the outage: urgent first, then the newest of each kind, then history."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from edge_agent.core.bundle import BundleId, Precedence
from examples.demo.ledger import Arrival
from examples.demo.page import Json

PHOTO = "photo"
"""The small version of a photo that a person sent: PRIORITY, where pictures of a camera are ROUTINE."""
KINDS: Mapping[str, tuple[str, str]] = {
    "sos": ("求救", "SOS"),
    "text": ("文字报告", "written report"),
    "position": ("位置", "position"),
    "reading": ("读数", "reading"),
    "report": ("状态", "status"),
    "picture": ("图片", "picture"),
    PHOTO: ("照片", "photo"),
}
"""What a person waits for, by the first part of a flow's name; receipts and the like are not shown."""
FRESH_S = 6.0
"""What is older on arrival belongs to the past: three intervals of the demo's receivers and sensors."""


class Rank(Enum):
    """What an arrival is to the one who waits for it, in the order that is due: people go before machines."""

    URGENT = "urgent"
    NEWEST = "newest"
    HISTORY = "history"


_PREFIXES = {Rank.URGENT: ("急:", "urgent: "), Rank.NEWEST: ("", ""), Rank.HISTORY: ("补传", "earlier ")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The first arrival of one kind and rank. ``at_s`` counts from the demo's zero, ``age_s`` from its making."""

    kind: str
    rank: Rank
    at_s: float
    age_s: float

    def to_page(self, number: int) -> Json:
        """As the demo page shows it."""
        zh, en = KINDS[self.kind]
        before_zh, before_en = ("人发", "person's ") if self.kind == PHOTO else _PREFIXES[self.rank]
        return {"n": number, "zh": before_zh + zh, "en": before_en + en, "is_pending": False}

    def to_report(self, number: int) -> Json:
        """As the report tells it."""
        return {"n": number, "kind": self.kind, "class": self.rank.value, "at_s": self.at_s, "age_s": self.age_s}


def order_after(arrivals: Iterable[Arrival], source: str, since_s: float | None, zero_ms: int) -> list[Group]:
    """Kinds and ranks of one kit in the order in which each first came since ``since_s``; None: no outage yet.

    ``zero_ms`` is the demo's zero in UTC milliseconds.
    """
    groups: dict[tuple[str, Rank], Group] = {}
    for arrival in arrivals if since_s is not None else ():
        precedence = BundleId.parse(arrival.bundle).precedence
        kind = arrival.flow.partition(".")[0]
        if kind == "picture" and precedence < Precedence.ROUTINE:
            kind = PHOTO
        if arrival.source != source or arrival.at_s < (since_s or 0.0) or kind not in KINDS:
            continue
        age_s = arrival.at_s - (arrival.created_at_ms - zero_ms) / 1000
        rank = _rank(kind, precedence, age_s)
        groups.setdefault((kind, rank), Group(kind=kind, rank=rank, at_s=round(arrival.at_s, 3), age_s=round(age_s, 3)))
    return list(groups.values())


def _rank(kind: str, precedence: Precedence, age_s: float) -> Rank:
    if precedence <= Precedence.IMMEDIATE or kind == PHOTO:
        return Rank.URGENT
    return Rank.NEWEST if age_s <= FRESH_S else Rank.HISTORY


def is_in_order(groups: Iterable[Group]) -> bool:
    """Whether each rank came, and first came in its turn."""
    firsts = list(dict.fromkeys(group.rank for group in groups))
    return firsts == list(Rank)
