"""A link report of one day as rows: for JSON, for a signed CSV, and for the page."""

import csv
import hmac
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

from edge_agent.core.errors import EdgeAgentError
from edge_agent.link_kinds import TARGETS, KindTaken, kind_of
from edge_agent.link_report import Check, Second, Window, checks_of, overall, seconds_of, windows_of
from edge_agent.link_seconds import Place
from edge_agent.link_seconds_files import DaySeconds, places_of, read_day
from edge_agent.security.link_keys import derive

SIGNATURE = "# hmac-sha256 "
_KEY_INFO = b"lifeline-edge link report key 1\x00"
KEY_BYTES = 32
CLOCK_WORD = "round trip"
"""Where the delays come from: the quickest round trips of the link itself, half for each way."""


class ReportError(EdgeAgentError):
    """A report cannot be made or is not what it says; the message names the file and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDay:
    """One link to one peer on one day; the last window is the day itself."""

    node_id: str
    place: Place
    transport: str
    kind: KindTaken
    windows: tuple[Window, ...]
    unset_rows: int
    unread_lines: int
    doubled_s: int

    def checks(self, window: Window) -> list[Check]:
        """The targets of its kind against a window of it."""
        return checks_of(window, TARGETS.get(self.kind.kind))


@dataclass(frozen=True, slots=True)
class StatedLink:
    """What the configuration says of a link."""

    name: str
    transport: str
    kind: str


def link_days(folder: Path, node_id: str, day: date, stated: Sequence[StatedLink], until: int) -> list[LinkDay]:
    """Every link of which anything was written that day, and every configured one, by name.

    What was written while nobody was heard on a link goes to its peer where it had one that day. Raises OSError.
    """
    places = places_of(folder, day)
    read = {place: read_day(folder, place, day) for place in places}
    for link in {place.link for place in places}:
        peers = [place for place in places if place.link == link and place.peer]
        nobody = read.get(Place(link, ""))
        if nobody is not None and len(peers) == 1:
            _join(read[peers[0]], nobody)
            del read[Place(link, "")]
    by_name = {each.name: each for each in stated}
    for name in by_name.keys() - {place.link for place in read}:
        read[Place(name, "")] = DaySeconds(Place(name, ""))
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    made = []
    for place in sorted(read):
        of_link = by_name.get(place.link, StatedLink(place.link, "", ""))
        made.append(_link_day(read[place], of_link, node_id, start, until))
    return made


def _join(into: DaySeconds, more: DaySeconds) -> None:
    for at, claims in more.rows.items():
        for key, rows in claims.items():
            into.rows.setdefault(at, {}).setdefault(key, []).extend(rows)
    into.unset_rows += more.unset_rows
    into.unread_lines += more.unread_lines


def _link_day(read: DaySeconds, of_link: StatedLink, node_id: str, start: int, until: int) -> LinkDay:
    seconds: list[Second] = seconds_of(read)
    return LinkDay(
        node_id=node_id,
        place=read.place,
        transport=of_link.transport,
        kind=kind_of(of_link.kind, of_link.transport),
        windows=tuple(windows_of(seconds, start, max(until, start))),
        unset_rows=read.unset_rows,
        unread_lines=read.unread_lines,
        doubled_s=sum(len(claims) > 1 for claims in read.rows.values()),
    )


Cell = str | int | float | None


def cells_of(link: LinkDay, window: Window) -> dict[str, Cell]:
    """One window as named values, in the order of the columns; times in ms but for whole seconds."""
    checks = link.checks(window)
    is_day = window is link.windows[-1]
    return {
        "node": link.node_id,
        "link": link.place.link,
        "peer": link.place.peer,
        "transport": link.transport,
        "kind": link.kind.kind.value or "unstated",
        "kind_from": link.kind.source,
        "window": "day" if is_day else "2h",
        "start": iso(window.start),
        "span_s": window.span_s,
        "up_s": window.up_s,
        "down_s": window.down_s,
        "unobserved_s": window.unobserved_s,
        "availability": _rounded(window.availability_ratio, 7),
        "frames_arrived": window.arrived,
        "frames_lost": window.lost,
        "success": _rounded(window.success_ratio, 7),
        "errored_s": window.errored_s,
        "severely_errored_s": window.severe_s,
        "delay_ms": _ms(window.delay_s),
        "delay_error_ms": _ms(window.error_s),
        "delay_worst_ms": _ms(window.delay_max_s),
        "delay_clock": CLOCK_WORD if window.delay_s is not None else "not measurable",
        "jitter_ms": _ms(window.jitter_s),
        "outages": window.outages,
        "mttr_s": _rounded(window.repair_s, 1),
        "doubts": window.doubts,
        "switches": window.switches,
        "switch_ms": _ms(window.switch_s),
        "targets": " ".join(f"{check.name}:{check.limit:g}:{check.verdict.value}" for check in checks),
        "verdict": overall(checks).value,
        "clock_unset_rows": link.unset_rows,
        "seconds_claimed_twice": link.doubled_s,
        "unreadable_lines": link.unread_lines,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1000, 2)


def iso(at: int) -> str:
    """A time of day in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def csv_text(links: Sequence[LinkDay], secret: bytes) -> str:
    """All windows as CSV, and the signature of all that stands before it as the last line."""
    text = io.StringIO()
    rows = [cells_of(link, window) for link in links for window in link.windows]
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    body = text.getvalue()
    return f"{body}{SIGNATURE}{_signature(body.encode(), secret)}\n"


def _signature(body: bytes, secret: bytes) -> str:
    key = derive(secret, salt=b"", info=_KEY_INFO, length=KEY_BYTES)
    return hmac.new(key, body, sha256).hexdigest()


def check_signature(text: bytes, secret: bytes) -> None:
    """Raises ReportError unless the last line signs all that stands before it, under this deployment's secret."""
    body, mark, signature = text.rpartition(SIGNATURE.encode())
    if not mark or not signature.endswith(b"\n") or signature.count(b"\n") != 1:
        raise ReportError(f"it has no signature: its last line should begin with {SIGNATURE.strip()!r}")
    if not hmac.compare_digest(signature.strip(), _signature(body, secret).encode()):
        raise ReportError("it was changed, or made with the secret of another deployment")
