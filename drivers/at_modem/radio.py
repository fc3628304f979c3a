"""What a modem's answers say of its network, and what that is worth as a hint.

Source: 3GPP TS 27.007, sections 7.2 and 10.1.20 to 10.1.43 (registration), 7.3 (COPS), 8.5 (CSQ), 8.69 (CESQ).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_agent.core.link_hint import NOTE_CHARS, LinkHint

PACKET_NAMES = ("+CEREG", "+CGREG", "+C5GREG")
"""Registration for data; ``+CREG`` is that for calls, and counts where none of these is known."""
CALL_NAME = "+CREG"
SIGNAL_NAME, EXTENDED_NAME, OPERATOR_NAME = "+CSQ", "+CESQ", "+COPS"
_REGISTERED, _NOT_REGISTERED = frozenset((1, 5, 9, 10)), frozenset((0, 2, 3, 6, 7, 8))
"""<stat>: home and roaming, also where calls are not preferred; 6 to 8: SMS or emergency calls only, 4: unknown."""
_TECHNOLOGIES: Mapping[int, str] = MappingProxyType(
    {0: "GSM", 1: "GSM", 2: "UMTS", 3: "EDGE", 4: "HSPA", 5: "HSPA", 6: "HSPA", 7: "LTE", 10: "LTE", 11: "5G", 13: "5G"}
)
_UPLINK_BPS: Mapping[int, float] = MappingProxyType({0: 40_000.0, 1: 40_000.0, 3: 120_000.0})
"""Of two time slots, as most modems have them: GPRS and EDGE. What is faster needs no care at the start."""
_RSRP_DBM, _RSRQ_DB, _RSSI_DBM = (-120.0, -80.0), (-20.0, -8.0), (-113.0, -73.0)
"""From useless to good: at a quarter of each span (-110 dBm, -17 dB, -103 dBm) modems begin to lose their cell."""


@dataclass(slots=True)
class Radio:
    """The last answers, None for what is not known. Powers in dBm, ratios in dB."""

    rssi_dbm: float | None = None
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    technology: int | None = None
    operator: str = ""
    registrations: dict[str, bool | None] = field(default_factory=dict)
    """By the name of the command that tells."""

    def take(self, name: str, fields: Sequence[str]) -> None:
        """The fields of one answer. Raises ValueError for values that the standard does not have."""
        if name == SIGNAL_NAME:
            self.rssi_dbm = read_signal(fields)
        elif name == EXTENDED_NAME:
            self.rsrp_dbm, self.rsrq_db = read_extended(fields)
        elif name == OPERATOR_NAME:
            self.operator, self.technology = read_operator(fields)
        else:
            self.registrations[name] = read_registration(fields)

    @property
    def is_registered(self) -> bool | None:
        """Registered for data by any network, else not; where no data command tells, what holds for calls."""
        known = [told for name in PACKET_NAMES if (told := self.registrations.get(name)) is not None]
        return any(known) if known else self.registrations.get(CALL_NAME)

    def hint(self, good_for_s: float) -> LinkHint | None:
        """What this is worth; None while nothing is known."""
        signal_dbm = self.rsrp_dbm if self.rsrp_dbm is not None else self.rssi_dbm
        if signal_dbm is None and self.is_registered is None:
            return None
        technology = _TECHNOLOGIES.get(self.technology, "") if self.technology is not None else ""
        return LinkHint(
            quality=self._quality(),
            is_up=self.is_registered,
            rate_bps=None if self.technology is None else _UPLINK_BPS.get(self.technology),
            signal_dbm=signal_dbm,
            note=f"{technology} {self.operator}".strip()[:NOTE_CHARS],
            good_for_s=good_for_s,
        )

    def _quality(self) -> float | None:
        if self.rsrp_dbm is None:
            return None if self.rssi_dbm is None else _within(self.rssi_dbm, _RSSI_DBM)
        quality = _within(self.rsrp_dbm, _RSRP_DBM)
        return quality if self.rsrq_db is None else min(quality, _within(self.rsrq_db, _RSRQ_DB))


def read_signal(fields: Sequence[str]) -> float | None:
    """RSSI in dBm of ``+CSQ``; None: the modem does not know it. Raises ValueError."""
    rssi = _number(fields, 0, 99)
    return None if rssi == 99 else -113.0 + 2 * _checked(rssi, 31)


def read_extended(fields: Sequence[str]) -> tuple[float | None, float | None]:
    """RSRP in dBm and RSRQ in dB of ``+CESQ``; None: not known, as outside LTE. Raises ValueError."""
    rsrq, rsrp = _number(fields, 4, 255), _number(fields, 5, 255)
    return (
        None if rsrp == 255 else -140.0 + _checked(rsrp, 97),
        None if rsrq == 255 else -19.5 + _checked(rsrq, 34) / 2,
    )


def read_registration(fields: Sequence[str]) -> bool | None:
    """Whether ``+CREG?`` or one of its kind says registered; None: it does not know. Raises ValueError."""
    stat = _number(fields, 1, 255)
    return True if stat in _REGISTERED else False if stat in _NOT_REGISTERED else None


def read_operator(fields: Sequence[str]) -> tuple[str, int | None]:
    """The operator's name or number of ``+COPS?`` and <AcT>, None when it does not say. Raises ValueError."""
    name = fields[2] if len(fields) > 2 else ""
    return name[:16], _number(fields, 3, 255) if len(fields) > 3 else None


def _within(value: float, span: tuple[float, float]) -> float:
    least, most = span
    return max(0.0, min(1.0, (value - least) / (most - least)))


def _number(fields: Sequence[str], at: int, most: int) -> int:
    text = fields[at] if at < len(fields) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= most):
        raise ValueError(f"field {at + 1}: {text[:20]!r} is no number up to {most}")
    return int(text)


def _checked(value: int, most: int) -> int:
    if value > most:
        raise ValueError(f"{value} is above {most}")
    return value
