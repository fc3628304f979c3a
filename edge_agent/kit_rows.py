"""What a kit's page shows, as the JSON of docs/api.md: rows of messages, links, what is missing, the SOS."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.core.bundle import CLOCK_FLOOR_MS, COMMAND, MalformedError, Precedence
from edge_agent.core.effects import LinkState
from edge_agent.core.progress import ARRIVED
from edge_agent.core.report import NodeReport
from edge_agent.device_port import DevicePort
from edge_agent.disk.types import ClockState, DiskReport, Fate, FateState
from edge_agent.fates import state_of
from edge_agent.kit_memory import HeldPhrase, KitOrder, PhotoNote, SosRecord
from edge_agent.link_port import LinkPort
from edge_agent.outlook import WaitCode, find_wait, link_rate_bps, open_links
from edge_agent.page_news import PageNews
from edge_agent.status import link_rows
from edge_agent.telemetry.payloads import PICTURE_FLOW, READ_FLOW, SOS_FLOW, WITHDRAW_FLOW, Picture, Position, Text

TEXT_SHOWN_MAX = 4_000
PHRASE_HOLD_MS = 5_000
CLOCK_STEP_SHOWN_S = 1_800.0
CLOCK_STEP_LEAST_S = 30.0  # a page shows minutes
PHOTO_KEY_PREFIX = "photo-"
PHRASE_KEY_PREFIX = "phrase-"

Json = dict[str, Any]  # Any: JSON

# words of the contract for fates that pages have none for
_PAGE_STATES = {FateState.SUPERSEDED: FateState.CANCELLED, FateState.EVICTED: FateState.REFUSED}
_LINK_ORDER = ("up", "degraded", "unknown", "down")


def row_id(fate: Fate) -> str:
    """What a page calls a message: a name it had before it was sent, else its bundle."""
    key = fate.header.key
    return key if key.startswith((PHOTO_KEY_PREFIX, PHRASE_KEY_PREFIX)) else str(fate.bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a waiting message waits for, at one moment."""

    report: NodeReport
    news: PageNews
    now_s: float
    now_ms: int

    def why(self, fate: Fate) -> Json | None:
        """The reason as a page words it; None for what does not wait."""
        if fate.state is not FateState.ACCEPTED:
            return None
        wait = find_wait(self.report, fate.bundle.precedence, fate.payload_bytes)
        code = wait.code
        if wait.links and code is not WaitCode.NOT_ALLOWED and self.news.is_refused(fate.bundle, self.now_s):
            code = WaitCode.PEER_FULL
        link = max(wait.links, key=link_rate_bps, default=None)
        return {
            "code": code.value,
            "link": "" if link is None or code is WaitCode.NOT_ALLOWED else link.link,
            "rate_bps": None if link is None else link.rate_bps,
            "ahead": {each.name.lower(): count for each, count in sorted(wait.ahead.items())},
            "ahead_sos": wait.ahead_sos,
            "expected_ms": None if wait.expected_s is None else self.now_ms + round(wait.expected_s * 1000),
        }


def own_rows(fates: Iterable[Fate], photos: Mapping[str, PhotoNote], outlook: Outlook) -> list[Json]:
    """A person's own messages, in the order given. The SOS and answers have places of their own on the page."""
    rows: list[Json] = []
    small: dict[str, Fate] = {}
    for fate in fates:
        flow = fate.header.flow.split(".", 1)[0]
        if flow in (SOS_FLOW, READ_FLOW):
            continue
        picture = _small_picture(fate) if flow == PICTURE_FLOW else None
        if picture is not None and picture.full_id:
            small[picture.full_id] = fate
        elif flow == PICTURE_FLOW:
            note = photos.get(fate.header.key)
            caption = note.caption if note is not None else picture.caption if picture is not None else ""
            rows.append(_row(fate, "photo", caption, outlook))
        else:
            text = _text_of(fate)
            row = _row(fate, "phrase" if text.phrase else "text", text.text, outlook)
            rows.append({**row, "phrase": text.phrase})
    for row in rows:
        if row["id"] in small:
            row["small_state"] = _page_state(small.pop(row["id"]))
    for key, fate in small.items():  # the kit was killed between the two: this one was accepted all the same
        note = photos.get(key)
        rows.append(_row(fate, "photo", note.caption if note is not None else "", outlook))
    return rows


def _row(fate: Fate, kind: str, text: str, outlook: Outlook) -> Json:
    state = state_of(fate)
    is_named = fate.state in ARRIVED  # the detail of what arrived is who has it; of anything else, why
    return {
        "id": row_id(fate),
        "kind": kind,
        "text": text,
        "phrase": "",
        "at_ms": fate.created_ms,
        "is_estimated": fate.is_restamped,
        "precedence": fate.bundle.precedence.name.lower(),
        "state": _page_state(fate),
        "via": list(fate.via),
        "by": fate.detail if is_named else "",
        "state_at_ms": state.at_ms if state.at_ms is not None else fate.created_ms,
        "reason": "" if is_named else _reason(fate),
        "undo_until_ms": None,
        "small_state": None,
        "bytes": fate.payload_bytes,
        "why": outlook.why(fate),
    }


def _reason(fate: Fate) -> str:
    if fate.state is FateState.EVICTED:
        return "the store was full and this was the least urgent"
    return fate.detail


def _page_state(fate: Fate) -> str:
    return _PAGE_STATES.get(fate.state, fate.state).word


def _small_picture(fate: Fate) -> Picture | None:
    """The picture, where the store kept it with its fate because it is short."""
    if fate.payload is None:
        return None
    try:
        return Picture.unpack(fate.payload)
    except MalformedError:
        return None  # sent by a program: a row without words


def _text_of(fate: Fate) -> Text:
    """What a person wrote, also by ``edge-agent send``; for other content the name of its flow."""
    payload = fate.payload or b""
    try:
        return Text.unpack(payload)
    except MalformedError:
        pass  # not of a page
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        text = ""
    return Text(text=text[:TEXT_SHOWN_MAX] or fate.header.flow, at_ms=fate.created_ms)


def held_row(held: HeldPhrase, until_ms: int) -> Json:
    """A phrase that can still be taken back."""
    return {
        "id": held.id,
        "kind": "phrase",
        "text": "",
        "phrase": held.phrase,
        "at_ms": held.at_ms,
        "precedence": "immediate",
        "state": "accepted",
        "via": [],
        "by": "",
        "state_at_ms": held.at_ms,
        "reason": "",
        "undo_until_ms": until_ms,
        "small_state": None,
        "bytes": 0,
        "why": None,
    }


def order_row(order: KitOrder) -> Json:
    """An order from command, and what was answered."""
    return {
        "id": order.id,
        "kind": "order",
        "text": order.text,
        "phrase": order.phrase,
        "at_ms": order.at_ms,
        "precedence": order.precedence,
        "state": order.state,
        "via": order.via or [],
        "by": order.by,
        "state_at_ms": _order_moment(order),
        "reason": "",
        "undo_until_ms": None,
        "small_state": None,
        "bytes": len(order.text.encode()),
        "why": None,
        "answer": order.answer,
        "is_withdrawal": order.flow == WITHDRAW_FLOW,
        "cancelled": order.cancelled,
        "expires_ms": order.expires_ms or None,
    }


def _order_moment(order: KitOrder) -> int:
    """When it became what it is, UTC ms."""
    if order.state == "cancelled" and order.cancelled is not None:
        return int(order.cancelled["at_ms"])
    return order.answered_ms if order.answer else order.received_ms


def clock_step_s(state: ClockState) -> float | None:
    """By how much the clock was moved a short while ago, where a person would see it; None else."""
    is_recent = state.settled_ago_s is not None and state.settled_ago_s < CLOCK_STEP_SHOWN_S
    return state.step_s if is_recent and abs(state.step_s or 0.0) >= CLOCK_STEP_LEAST_S else None


def is_stamp(name: str, value: object) -> bool:
    """Whether a value of a row is a moment, UTC ms."""
    return name.endswith("_ms") and isinstance(value, int)


def age_key(at_ms: int, *, is_clock_set: bool) -> tuple[bool, int]:
    """Sorts rows by age: while nobody has set the clock, what it stamps is newer than all that was stamped before."""
    return (not is_clock_set and at_ms < CLOCK_FLOOR_MS, at_ms)


def store_json(report: DiskReport) -> Json:
    """How full this kit's store is, and whether it works, for its page."""
    return {
        "used_bytes": report.used_bytes,
        "quota_bytes": report.quota_bytes,
        "is_full": report.is_full,
        "failure": report.failure,
    }


def sos_json(record: SosRecord, fate: Fate | None, report: NodeReport) -> Json:
    """The open call for help, step by step."""
    waits = fate is not None and fate.state is FateState.ACCEPTED
    sending = {link.link for link in open_links(report) if Precedence.FLASH in link.carries}
    return {
        "id": record.id,
        "at_ms": record.at_ms,
        "undo_until_ms": record.undo_until_ms,
        "withdrawn_ms": record.withdrawn_ms,
        "stored_ms": fate.accepted_ms if fate is not None and fate.accepted_ms is not None else record.at_ms,
        "sending": sorted(sending) if waits else [],
        "received_ms": fate.delivered_ms if fate is not None else None,
        "via": list(fate.via) if fate is not None else [],
        "confirmed": record.confirmed,
        "closed": record.closed,
    }


def link_json(report: NodeReport, ports: Sequence[LinkPort], now_s: float, now_ms: int) -> list[Json]:
    """One row a link, the best of its peers, in the order of the configuration.

    ``switch``: how long another link needed to take over from it the last time, and when; null: it never had to.
    """
    rows: dict[str, Json] = {}
    for row in link_rows(report, ports):
        known = rows.get(row["name"])
        if known is None or _LINK_ORDER.index(row["state"]) < _LINK_ORDER.index(known["state"]):
            names = ("name", "transport", "state", "rate_bps", "reason", "rtt_s", "loss_ratio", "others_ratio")
            rows[row["name"]] = {name: row[name] for name in names} | {"switch": None}
            rows[row["name"]]["flapping"] = _flapping_json(row, now_ms)
            rows[row["name"]]["hints"] = [_hint_json(each, now_ms) for each in row["hints"]]
    for link in report.links:
        if link.switch_s is not None and link.link in rows:
            at_ms = now_ms - round((now_s - link.switched_s) * 1000)
            rows[link.link]["switch"] = {"took_s": round(link.switch_s, 3), "at_ms": at_ms}
    return list(rows.values())


def _flapping_json(row: Json, now_ms: int) -> Json | None:
    """Since when, and how often it fell since then; None for a link that does not flap."""
    if not row["falls"]:
        return None
    return {"falls": row["falls"], "since_ms": now_ms - round(row["flapping_s"] * 1000)}


def _hint_json(row: Json, now_ms: int) -> Json:
    """A page shows when a device said so, and counts the age itself."""
    shown = {name: row[name] for name in ("source", "is_up", "signal_dbm", "snr_db", "note", "warns")}
    return shown | {"at_ms": now_ms - round(row["age_s"] * 1000)}


def missing_json(
    report: NodeReport,
    devices: Sequence[DevicePort],
    position: Position | None,
    now_ms: int,
    *,
    is_command_known: bool,
) -> list[Json]:
    """What is not there (yet), one row for each kind of thing."""
    rows: list[Json] = []
    receivers = [device for device in devices if device.config.kind == "gnss"]
    broken = [device.reason for device in receivers if device.reason]
    if broken and len(broken) == len(receivers):
        rows.append({"what": "position", "reason": broken[0]})
    elif position is None:
        rows.append({"what": "position", "reason": "no_fix" if receivers else "no_receiver"})
    if now_ms < CLOCK_FLOOR_MS:
        rows.append({"what": "time", "reason": "no_clock"})
    sensors = [f"{device.name}: {device.reason}" for device in devices if device.reason and device not in receivers]
    if sensors:
        rows.append({"what": "sensor", "reason": " · ".join(sensors)})
    if not any(link.state in (LinkState.UP, LinkState.DEGRADED) for link in report.links):
        rows.append({"what": "link", "reason": "no_link"})
    if not is_command_known:
        rows.append({"what": "command", "reason": "no_command"})
    return rows


def command_heard_ms(report: NodeReport, now_s: float, now_ms: int) -> int | None:
    """When the last authentic frame of a command post came; None: not since this start."""
    heard_s = [at_s for peer, at_s in report.last_heard_s.items() if report.peer_roles.get(peer) == COMMAND]
    return now_ms - round((now_s - max(heard_s)) * 1000) if heard_s else None


def position_json(position: Position) -> Json:
    """A place as docs/api.md shows it."""
    return {
        "lat": position.lat_deg,
        "lon": position.lon_deg,
        "captured_ms": position.captured_at_ms,
        "system": position.system,
        "datum": position.datum,
    }
