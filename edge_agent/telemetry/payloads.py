"""What the flows carry: typed payloads and their bytes (msgpack maps; unknown keys are ignored, fields may be added).

Times are UTC milliseconds since 1970 by the clock of the node that made the payload. Positions are WGS-84/CGCS2000.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import msgpack

from edge_agent.core.bundle import BundleId, MalformedError, Precedence
from edge_agent.telemetry.positions import NarrowFix, is_narrow_fix, pack_narrow_fix, read_narrow_fix

SOS_FLOW = "sos"
SOS_WITHDRAW_FLOW = "sos.withdraw"
SOS_CONFIRM_FLOW = "sos.confirm"
SOS_CLOSE_FLOW = "sos.close"
TEXT_FLOW = "text"
ORDER_FLOW = "order"
WITHDRAW_FLOW = "withdraw"
"""Leave now: FLASH on every link, and it sounds at the kit until a person answers."""
CANCEL_FLOW = "cancel"
PULL_FLOW = "pull"
PROFILE_FLOW = "profile"
READ_FLOW = "read"
POSITION_FLOW = "position"
READING_FLOW = "reading"
PICTURE_FLOW = "picture"
REPORT_FLOW = "report"
RECEIPT_FLOW = "receipt"


HINT_COLUMNS = ("link", "source", "signal_dbm", "snr_db", "is_up", "warns", "note")
COST_COLUMNS = ("link", "day_bytes", "day_budget_bytes", "month_bytes", "month_budget_bytes", "until_ms")


class Payload:
    """Base of payloads: bytes out, typed value in."""

    def pack(self) -> bytes:
        """msgpack map of the fields that are not None."""
        content = {name: value for name, value in asdict(self).items() if value is not None}  # type: ignore[call-overload]  # subclasses are dataclasses
        packed: bytes = msgpack.packb(content)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The payload that ``pack`` wrote. Raises MalformedError with the field that is wrong."""
        try:
            content = msgpack.unpackb(packed)
        except (ValueError, msgpack.UnpackException) as error:
            raise MalformedError(f"{cls.__name__}: not msgpack") from error
        if not isinstance(content, dict):
            raise MalformedError(f"{cls.__name__}: not a map")
        known = {each.name: content[each.name] for each in fields(cls) if each.name in content}  # type: ignore[arg-type]  # subclasses are dataclasses
        try:
            made = cls(**known)
            made.check()
        except (TypeError, ValueError, OverflowError) as error:
            raise MalformedError(f"{cls.__name__}: {error}") from error
        return made

    def check(self) -> None:
        """Raise TypeError or ValueError naming the field that no page could show. Fields are as they came."""


def check_number(name: str, value: Any, low: float, high: float, *, optional: bool = False) -> None:  # Any: a peer's
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name}: {value!r} is not a number from {low} to {high}")


def check_text(name: str, value: Any, longest: int) -> None:  # Any: a peer's
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{name}: not a text of at most {longest} characters")


_LATEST_MS = 1 << 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(Payload):
    """Where a unit was. ``system`` is the satellite system that fixed it: "BD", "GP", "GN", ..."""

    lat_deg: float
    lon_deg: float
    captured_at_ms: int
    alt_m: float | None = None
    speed_mps: float | None = None
    track_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    system: str = ""
    datum: str = "WGS-84"

    def pack_narrow(self, *, is_bare: bool = False) -> bytes:
        """The form of ``positions``: 14 bytes instead of 130, ``is_bare`` 12. What it cannot hold goes as the map."""
        if self.datum != "WGS-84":
            return self.pack()
        try:
            moving = (None, None) if is_bare else (self.speed_mps, self.track_deg)
            return pack_narrow_fix(NarrowFix(self.lat_deg, self.lon_deg, self.captured_at_ms, *moving))
        except ValueError:
            return self.pack()

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """A position of either form. Raises MalformedError."""
        if is_narrow_fix(packed):
            return cls(**read_narrow_fix(packed)._asdict())
        return super(Position, cls).unpack(packed)  # by name: ``slots`` makes a second class of the one written here

    def check(self) -> None:
        check_number("lat_deg", self.lat_deg, -90, 90)
        check_number("lon_deg", self.lon_deg, -180, 180)
        check_number("captured_at_ms", self.captured_at_ms, 0, _LATEST_MS)
        for name in ("alt_m", "speed_mps", "track_deg", "accuracy_m", "satellites"):
            check_number(name, getattr(self, name), -1e6, 1e6, optional=True)
        check_text("system", self.system, 16)
        check_text("datum", self.datum, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingBatch(Payload):
    """Readings of one device: rows of [series, value or None, unit, quality, captured_at_ms]."""

    device: str
    rows: list[list[Any]]  # Any: the five types of a row

    def check(self) -> None:
        check_text("device", self.device, 64)
        if not isinstance(self.rows, list) or len(self.rows) > 4096:
            raise ValueError("rows: not a list of at most 4096")
        for row in self.rows:
            if not isinstance(row, list) or len(row) != 5:
                raise ValueError("rows: a row is not [series, value, unit, quality, captured_at_ms]")
            check_text("series", row[0], 64)
            check_number("value", row[1], -1e300, 1e300, optional=True)
            check_text("unit", row[2], 24)
            check_text("quality", row[3], 64)
            check_number("captured_at_ms", row[4], 0, _LATEST_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sos(Payload):
    """A person asks for help. ``position`` is a packed Position, its own age inside.

    ``of``: the bundle of the call this is a copy of, passed on because nobody had confirmed it; empty: the call itself.
    """

    at_ms: int
    position: bytes | None = None
    text: str = ""
    of: str = ""

    def check(self) -> None:
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("text", self.text, 2000)
        check_text("of", self.of, 128)
        if self.position is not None:
            Position.unpack(self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class SosUpdate(Payload):
    """What a person did about an SOS: withdrew it (kit), confirmed or closed it (command). ``sos`` is its bundle id."""

    sos: str
    at_ms: int
    by: str = ""
    reason: str = ""

    def check(self) -> None:
        check_text("sos", self.sos, 128)
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("by", self.by, 64)
        check_text("reason", self.reason, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Payload):
    """A person wants something done with a bundle: flow ``cancel``: nobody may act on it; ``pull``: it goes first."""

    bundle: str
    at_ms: int
    by: str = ""

    def check(self) -> None:
        BundleId.parse(self.bundle)
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("by", self.by, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileAsk(Payload):
    """Command wants a unit to use its links in another way (a profile of ``link_terms``)."""

    profile: str
    at_ms: int
    by: str = ""

    def check(self) -> None:
        check_text("profile", self.profile, 32)
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("by", self.by, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Payload):
    """A person's report or order. ``phrase`` names a canned phrase, which each page shows in its own language."""

    text: str
    at_ms: int
    by: str = ""
    phrase: str = ""
    position: bytes | None = None

    def check(self) -> None:
        check_text("text", self.text, 4000)
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("by", self.by, 64)
        check_text("phrase", self.phrase, 32)
        if self.position is not None:
            Position.unpack(self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Payload):
    """A person has read (or finished) a message or order: ``state`` is "read" or "done".

    "held": an order came too late to be acted on; a person has to say it again.
    """

    bundle: str
    at_ms: int
    by: str = ""
    state: str = "read"

    def check(self) -> None:
        check_text("bundle", self.bundle, 128)
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        check_text("by", self.by, 64)
        if self.state not in ("read", "done", "held"):
            raise ValueError(f"state: {self.state!r} is not read, done or held")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture(Payload):
    """A still. ``image`` is a whole file of type ``mime``; ``is_small`` says that the full size is still to come."""

    image: bytes
    mime: str
    captured_at_ms: int
    width: int = 0
    height: int = 0
    caption: str = ""
    camera: str = ""
    is_small: bool = False
    full_id: str = ""

    def check(self) -> None:
        if not isinstance(self.image, bytes):
            raise ValueError("image: not bytes")
        if self.mime not in ("image/jpeg", "image/avif", "image/png", "image/webp"):
            raise ValueError(f"mime: {self.mime!r} is not jpeg, avif, png or webp")
        check_number("captured_at_ms", self.captured_at_ms, 0, _LATEST_MS)
        check_number("width", self.width, 0, 65_535)
        check_number("height", self.height, 0, 65_535)
        check_text("caption", self.caption, 200)
        check_text("camera", self.camera, 64)
        check_text("full_id", self.full_id, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport(Payload):
    """A kit's own word on its links and on what still waits, sent every ``due_s`` seconds.

    ``links``: rows of [name, state, rate_bps or None, rtt_s or None, loss_ratio or None, transport].
    ``backlog``: rows of [kind, bundles, bytes, expected seconds or None] in sending order; kinds are those of
    ``BACKLOG_KINDS``. ``held``: rows of [precedence, bundles, bytes, oldest age in seconds] of all that waits.
    ``largest``: rows of [bundle, flow, bytes, age in seconds or None], at most LARGEST_MAX, none on thin links.
    ``store``: [used bytes, quota bytes, whether it refuses]. ``costs``: rows of [link, bytes of the day, their budget
    or None, bytes of the month, their budget or None, when at this rate one is used up or None]. ``profile``: how the
    unit uses its links, None for the usual way. ``hints``: rows of [link, source, signal dBm or None, SNR dB or None,
    whether connected or None, whether it warns, note] of what devices say of links, None: as in the report before.
    """

    at_ms: int
    due_s: float
    name: str
    number: int = 0
    links: list[list[Any]]  # Any: the types of a row
    backlog: list[list[Any]]  # Any: the types of a row
    held: list[list[Any]] | None = None  # Any: the types of a row
    largest: list[list[Any]] | None = None  # Any: the types of a row
    store: list[Any] | None = None  # Any: two numbers and a truth
    costs: list[list[Any]] | None = None  # Any: the types of a row
    profile: str | None = None
    hints: list[list[Any]] | None = None  # Any: the types of a row

    def check(self) -> None:
        check_number("at_ms", self.at_ms, 0, _LATEST_MS)
        self._check_hints()
        self._check_holdings()
        self._check_costs()
        check_number("due_s", self.due_s, 0.1, 86_400)
        check_text("name", self.name, 64)
        check_number("number", self.number, 0, 65_535)
        if not isinstance(self.links, list) or not isinstance(self.backlog, list):
            raise ValueError("links, backlog: not lists")
        if len(self.links) > 64 or len(self.backlog) > 64:
            raise ValueError("links, backlog: more than 64 rows")
        for row in self.links:
            if not isinstance(row, list) or len(row) != 6:
                raise ValueError("links: a row has not 6 columns")
            for name, value in zip(("name", "state", "transport"), (row[0], row[1], row[5]), strict=True):
                check_text(name, value, 64)
            for name, value in zip(("rate_bps", "rtt_s", "loss_ratio"), row[2:5], strict=True):
                check_number(name, value, 0, 1e12, optional=True)
        for row in self.backlog:
            if not isinstance(row, list) or len(row) != 4:
                raise ValueError("backlog: a row has not 4 columns")
            check_text("kind", row[0], 64)
            check_number("bundles", row[1], 0, 1e15)
            check_number("bytes", row[2], 0, 1e18)
            check_number("expected_s", row[3], 0, 1e12, optional=True)

    def _check_costs(self) -> None:
        if self.profile is not None:
            check_text("profile", self.profile, 32)
        if self.costs is None:
            return
        if not isinstance(self.costs, list) or len(self.costs) > 64:
            raise ValueError("costs: no list of at most 64 rows")
        for row in self.costs:
            if not isinstance(row, list) or len(row) != 6:
                raise ValueError("costs: a row has not 6 columns")
            check_text("link", row[0], 64)
            for name, value in zip(COST_COLUMNS[1:], row[1:], strict=True):
                check_number(name, value, 0, 1e15, optional=name not in ("day_bytes", "month_bytes"))

    def _check_hints(self) -> None:
        for row in _rows("hints", self.hints, columns=7, longest=HINTS_MAX):
            for name, text in (("link", row[0]), ("source", row[1]), ("note", row[6])):
                check_text(f"hints: {name}", text, 64)
            check_number("signal_dbm", row[2], -200, 60, optional=True)
            check_number("snr_db", row[3], -60, 100, optional=True)
            if row[4] not in (None, True, False) or row[5] not in (True, False):
                raise ValueError("hints: connected, warns: not true or false")

    def _check_holdings(self) -> None:
        for row in _rows("held", self.held, columns=4, longest=len(Precedence)):
            check_number("precedence", row[0], 0, len(Precedence) - 1)
            check_number("bundles", row[1], 0, 1e15)
            check_number("bytes", row[2], 0, 1e18)
            check_number("oldest_age_s", row[3], 0, 1e12)
        for row in _rows("largest", self.largest, columns=4, longest=LARGEST_MAX):
            BundleId.parse(row[0] if isinstance(row[0], str) else "")
            check_text("flow", row[1], 64)
            check_number("bytes", row[2], 0, 1e18)
            check_number("age_s", row[3], 0, 1e12, optional=True)
        if self.store is not None:
            (used_bytes, quota_bytes, is_full) = _rows("store", [self.store], columns=3, longest=1)[0]
            check_number("used_bytes", used_bytes, 0, 1e18)
            check_number("quota_bytes", quota_bytes, 0, 1e18)
            if not isinstance(is_full, bool):
                raise ValueError("is_full: not true or false")


LARGEST_MAX = 5
HINTS_MAX = 8


def _rows(name: str, rows: object, *, columns: int, longest: int) -> list[list[Any]]:  # Any: a peer's
    """The rows of an optional table, each with that many columns. Raises ValueError."""
    if rows is None:
        return []
    if not isinstance(rows, list) or len(rows) > longest:
        raise ValueError(f"{name}: not a list of at most {longest}")
    if any(not isinstance(row, list) or len(row) != columns for row in rows):
        raise ValueError(f"{name}: a row has not {columns} columns")
    return rows


BACKLOG_KINDS = ("sos_alarm", "immediate_report", "position_reading", "routine_report", "picture", "history")
"""Kinds of waiting bundles, in sending order, as pages name them."""
