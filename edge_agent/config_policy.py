"""What [[link]] tables say of cost and reserve: keys, rules between them, and what all links together leave out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.config_lines import KeyPath
from edge_agent.config_tables import TableReader
from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import KEEPALIVE_METERED_S, KEEPALIVE_S, LinkPolicy, Standby
from edge_agent.ports import Setting

PRECEDENCE_WORDS = tuple(precedence.name.lower() for precedence in Precedence)
STANDBY_WORDS = tuple(standby.name.lower() for standby in Standby)
SATELLITE = "satellite"
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY_MIN = 24 * 60
_FLASH = "flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Minutes of the day, where the node is, in which nothing but FLASH leaves; may span midnight."""

    from_min: int
    to_min: int

    def holds(self, minute: int) -> bool:
        """Whether they are on at this minute of the day."""
        if self.from_min < self.to_min:
            return self.from_min <= minute < self.to_min
        return minute >= self.from_min or minute < self.to_min

    @property
    def minutes(self) -> frozenset[int]:
        """Every minute of the day in them."""
        return frozenset(minute for minute in range(_DAY_MIN) if self.holds(minute))


def parse_quiet_hours(text: str) -> QuietHours | None:
    """The hours of "22:00-06:00"; None for "". Raises ValueError."""
    if not text:
        return None
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(text)
    from_h, from_min, to_h, to_min = map(int, found.groups())
    hours = QuietHours(from_min=60 * from_h + from_min, to_min=60 * to_h + to_min)
    if hours.from_min == hours.to_min:
        raise ValueError(text)
    return hours


def _are_precedences(words: list[object]) -> bool:
    return bool(words) and all(word in PRECEDENCE_WORDS for word in words) and len(set(words)) == len(words)


def _are_hours(text: str) -> bool:
    return parse_quiet_hours(text) is not None


RESERVE_MOST_RATIO = 0.9
"""What is left for an SOS is never nothing."""
_BUDGET_ALLOWED = "0 or more; leave it out for no budget"

POLICY: Mapping[str, Setting] = {
    "precedences": Setting(
        kind=list,
        allowed=f"one or more of {', '.join(PRECEDENCE_WORDS)}",
        default=None,
        accepts=_are_precedences,
    ),
    "forbid_flash": Setting(
        kind=bool, allowed="true for a link by which nobody shall call for help, else false", default=False
    ),
    "cost_per_mb": Setting(kind=float, allowed="0 or more", default=0.0, accepts=lambda cost: 0 <= cost < 1e9),
    "bytes_per_day": Setting(kind=int, allowed=_BUDGET_ALLOWED, default=-1, accepts=lambda budget: budget >= 0),
    "bytes_per_month": Setting(kind=int, allowed=_BUDGET_ALLOWED, default=-1, accepts=lambda budget: budget >= 0),
    "metered": Setting(kind=bool, allowed="true for a link whose bytes cost, else false", default=None),
    "ask_cost": Setting(
        kind=bool, allowed="true for a link of which a person shall say what it costs, else false", default=False
    ),
    "standby": Setting(
        kind=str, allowed=", ".join(STANDBY_WORDS), default="hot", accepts=lambda word: word in STANDBY_WORDS
    ),
    "min_interval_s": Setting(
        kind=float, allowed="0 to 86400 seconds", default=0.0, accepts=lambda seconds: 0 <= seconds <= 86_400
    ),
    "quiet_hours": Setting(
        kind=str,
        allowed='"HH:MM-HH:MM" by the clock of this machine, such as "22:00-06:00"',
        default="",
        accepts=_are_hours,
    ),
    "largest_bundle_bytes": Setting(
        kind=int, allowed="64 or more; leave it out for any size", default=-1, accepts=lambda size: size >= 64
    ),
    "shares_fate": Setting(
        kind=str,
        allowed="a word that links failing together have in common",
        default="",
        accepts=lambda word: re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,31}", word) is not None,
    ),
    "reserve_bps": Setting(
        kind=float,
        allowed="0 to nine tenths of rate_bps: bits a second that are left to others on the same link",
        default=0.0,
        accepts=lambda bps: 0 <= bps <= 1e10,
    ),
    "keepalive_s": Setting(
        kind=float,
        allowed="1 to 3600 seconds, or 0 for a link that says nothing while nothing waits for it;"
        f" leave it out for {KEEPALIVE_S:g}, and {KEEPALIVE_METERED_S:g} where metered",
        default=None,
        accepts=lambda seconds: seconds == 0 or 1 <= seconds <= 3600,
    ),
}


def link_policy(values: Mapping[str, Any]) -> LinkPolicy:
    """The policy of a checked [[link]] table, as long as no person and no clock says otherwise."""

    def budget(key: str) -> int | None:
        return None if values[key] < 0 else values[key]

    return LinkPolicy(
        precedences=frozenset(Precedence[word.upper()] for word in _words(values)),
        cost_per_mb=values["cost_per_mb"],
        bytes_per_day=budget("bytes_per_day"),
        bytes_per_month=budget("bytes_per_month"),
        metered=_is_metered(values),
        shares_fate=values["shares_fate"],
        keepalive_s=values["keepalive_s"],
        standby=Standby[values["standby"].upper()],
        min_interval_s=values["min_interval_s"],
        largest_bundle_bytes=budget("largest_bundle_bytes"),
        reserve_bps=values["reserve_bps"],
    )


def _words(values: Mapping[str, Any]) -> Sequence[str]:
    words: Sequence[str] | None = values["precedences"]
    if words is not None:
        return words
    return [word for word in PRECEDENCE_WORDS if word != _FLASH or not values["forbid_flash"]]


def _is_metered(values: Mapping[str, Any]) -> bool | None:
    """None: a person shall say. What is described and does not say is free, but no satellite is (ADR 0005, 0038)."""
    if values["ask_cost"]:
        return None
    if values["metered"] is None:
        return values.get("kind") == SATELLITE
    return bool(values["metered"])


def check_policy(values: Mapping[str, Any], reader: TableReader, path: KeyPath) -> None:
    """Note what the keys of one table say against each other. ``values`` hold all of POLICY."""
    words, forbids = values["precedences"], values["forbid_flash"]
    if words is not None and _FLASH not in words and not forbids:
        allowed = 'a list with "flash", or forbid_flash = true beside it: nobody could call for help by this link'
        reader.refuse((*path, "precedences"), words, allowed)
    if words is not None and _FLASH in words and forbids:
        reader.refuse((*path, "forbid_flash"), forbids, 'false, or precedences without "flash"')
    if values["ask_cost"] and values["metered"] is not None:
        reader.refuse((*path, "ask_cost"), True, "only without metered: a link is described here or by a person")
    if values["ask_cost"] and values.get("listen"):
        reader.refuse((*path, "ask_cost"), True, "only on a link with one remote, for which this end pays")
    reserve_bps, rate_bps = values["reserve_bps"], values.get("rate_bps") or 0.0
    if reserve_bps > RESERVE_MOST_RATIO * rate_bps:
        stated = (
            f"rate_bps ({reader.show_at((*path, 'rate_bps'), rate_bps)})"
            if rate_bps
            else "rate_bps, which has to stand beside it"
        )
        reader.refuse((*path, "reserve_bps"), reserve_bps, f"0 to nine tenths of {stated}")
    day, month = values["bytes_per_day"], values["bytes_per_month"]
    if 0 <= month < day:
        reader.refuse((*path, "bytes_per_day"), day, f"at most bytes_per_month ({month})")


def refuse_undeliverable(policies: Sequence[tuple[KeyPath, LinkPolicy]], reader: TableReader) -> None:
    """Note each precedence that could leave by no link, whatever happens: it would wait until it expires."""
    for precedence in Precedence:
        if not policies or any(_may_ever(policy, precedence) for _, policy in policies):
            continue
        path, policy = policies[-1]
        word = precedence.name.lower()
        if precedence not in policy.precedences:
            key, value = "precedences", "leaves out"
        else:
            key = "bytes_per_day" if policy.bytes_per_day == 0 else "bytes_per_month"
            value = "0 leaves nothing for"
        reader.add(
            (*path, key),
            f'{value} "{word}", and no other link carries it: allowed: at least one link'
            f' with "{word}" in precedences{"" if precedence is Precedence.FLASH else " and budgets above 0"}',
        )


def _may_ever(policy: LinkPolicy, precedence: Precedence) -> bool:
    has_bytes = policy.bytes_per_day != 0 and policy.bytes_per_month != 0
    return precedence in policy.precedences and (has_bytes or precedence is Precedence.FLASH)


def policy_warnings(links: Mapping[str, LinkPolicy], quiet: Mapping[str, QuietHours | None]) -> list[str]:
    """What is allowed and should be known before somebody relies on it."""
    found = [
        f"link[{name}].forbid_flash = true: no call for help leaves by this link"
        for name, policy in links.items()
        if Precedence.FLASH not in policy.precedences
    ]
    found += [
        f"link[{name}].keepalive_s = 0: while nothing waits for it this link says nothing: nobody knows whether it is"
        " alive, and a NAT on the way forgets it, so the other end reaches this one only after this one spoke;"
        " the other end must have 0 too, or it asks"
        for name, policy in links.items()
        if policy.keepalive_s == 0
    ]
    sizes = [policy.largest_bundle_bytes for policy in links.values()]
    known = [size for size in sizes if size is not None]
    if links and len(known) == len(sizes):
        found.append(f"link.largest_bundle_bytes: no link takes a bundle above {max(known)} bytes (FLASH excepted)")
    spans = [hours.minutes for hours in quiet.values() if hours is not None]
    if links and len(spans) == len(links) and frozenset.intersection(*spans):
        minute = min(frozenset.intersection(*spans))
        found.append(f"link.quiet_hours: at {minute // 60:02}:{minute % 60:02} every link is quiet: only FLASH leaves")
    return found
