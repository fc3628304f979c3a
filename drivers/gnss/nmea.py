"""NMEA 0183 parser: bytes cut anywhere in, one fix for each instant out. Sans-IO.

Sentences that speak of the same instant (RMC, GGA, GNS, GLL with their time; VTG, GSA, GST beside them) are merged.
An instant is complete when a sentence brings another time, or when the driver says that the line went quiet.
Source: NMEA 0183 4.11 as published receivers use it; checked against gpsd on the recordings in ``tests/drivers``.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from drivers.gnss.fix import Fix
from drivers.gnss.sentences import Partial, read_partial
from edge_agent.core.bundle import MalformedError

SENTENCE_MAX_BYTES = 1024  # the standard says 82; u-blox PUBX,03 with every satellite comes to about 600
_TERMINATORS = re.compile(rb"[\r\n]+")
_DAY_MS = 86_400_000
_BEIDOU_TALKERS = frozenset({"BD", "GB", "PQ"})  # China's TSCPB, NMEA 4.11, Quectel


class ChecksumError(MalformedError):
    """A sentence without a checksum, or with another one than its bytes make."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence that passed its checksum: ``kind`` is "RMC" or the like, ``fields`` what follows it."""

    talker: str
    kind: str
    fields: list[str]


def read_sentence(line: bytes) -> Sentence | None:
    """The sentence in ``line`` from ``$`` on; None for one that no GNSS talker says (AIS, proprietary).

    Raises ChecksumError and MalformedError.
    """
    if line[:1] == b"!":
        return None
    body, star, checksum = line[1:].rpartition(b"*")
    if line[:1] != b"$" or not line.isascii():
        raise MalformedError("not an NMEA sentence")
    if not star:
        raise ChecksumError("no checksum")
    expected = 0
    for byte in body:
        expected ^= byte
    if not re.fullmatch(rb"[0-9A-Fa-f]{2}", checksum) or int(checksum, 16) != expected:
        raise ChecksumError(f"checksum {checksum!r}, bytes make {expected:02X}")
    address, *fields = body.decode().split(",")
    if address.startswith("P"):
        if not address.startswith("PQ") or len(address) != 5:  # Quectel's BeiDou talker is no proprietary sentence
            return None
    elif not re.fullmatch("[A-Z0-9]{5}", address):
        raise MalformedError(f"address {address[:16]!r}")
    return Sentence(address[:2], address[2:], fields)


@dataclass(slots=True)
class _Instant:
    """What the sentences of one instant have said so far."""

    time_ms: int | None = None
    day: date | None = None
    rmc_is_valid: bool | None = None
    other_is_valid: bool = False
    has_position_sentence: bool = False
    position: Partial | None = None
    system: str = ""
    alt_m: float | None = None
    speed_mps: float | None = None
    track_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    dimension: int = 0
    reason: str = "no fix"
    heard: set[str] = field(default_factory=set)

    def is_over(self, sentence: Sentence, partial: Partial) -> bool:
        """Whether ``partial`` speaks of a later instant."""
        if partial.is_valid is None and partial.time_ms is None:
            return False
        if self.time_ms is None and partial.time_ms is None:  # no clock yet: a second round of the same sentences
            return sentence.talker + sentence.kind in self.heard
        return None not in (self.time_ms, partial.time_ms) and self.time_ms != partial.time_ms

    def merge(self, sentence: Sentence, partial: Partial) -> None:
        """Take over what one sentence says; what an earlier one said better stays."""
        self.heard.add(sentence.talker + sentence.kind)
        if partial.is_valid is not None:
            self.has_position_sentence = True
            if sentence.kind == "RMC":
                self.rmc_is_valid = bool(self.rmc_is_valid) or partial.is_valid
            else:
                self.other_is_valid |= partial.is_valid
            self.reason = partial.reason or self.reason
        if partial.is_valid and partial.lat_deg is not None:
            if self.position is None or partial.decimals > self.position.decimals:
                self.position = partial
            if not self.system or sentence.talker == "GN":  # GN: several systems, so it says more than any single one
                self.system = "BD" if sentence.talker in _BEIDOU_TALKERS else sentence.talker
        if partial.satellites is not None:
            self.satellites = max(partial.satellites, self.satellites or 0)  # GGA stops at 12, GNS does not
        is_first_choice = sentence.kind == "RMC"
        if partial.speed_mps is not None and (is_first_choice or self.speed_mps is None):
            self.speed_mps = partial.speed_mps
        if partial.track_deg is not None and (is_first_choice or self.track_deg is None):
            self.track_deg = partial.track_deg
        self.alt_m = self.alt_m if partial.alt_m is None else partial.alt_m
        self.accuracy_m = self.accuracy_m if partial.accuracy_m is None else partial.accuracy_m
        self.day = partial.day or self.day
        self.dimension = max(self.dimension, partial.dimension)

    def fix(self, receiver_ms: int | None) -> Fix:
        """The fix that the sentences make together. RMC has the last word on whether there is one."""
        is_valid = self.other_is_valid if self.rmc_is_valid is None else self.rmc_is_valid
        position = self.position
        if not is_valid or position is None:
            return Fix(receiver_ms=receiver_ms, satellites=self.satellites, reason=self.reason)
        return Fix(
            lat_deg=position.lat_deg,
            lon_deg=position.lon_deg,
            receiver_ms=receiver_ms,
            alt_m=None if self.dimension == 2 else self.alt_m,  # a 2D fix repeats an old or assumed altitude
            speed_mps=self.speed_mps,
            track_deg=self.track_deg,
            accuracy_m=self.accuracy_m,
            satellites=self.satellites,
            system=self.system,
        )


@dataclass(slots=True)
class NmeaParser:
    """FixParser for NMEA 0183. Holds at most one sentence and one instant."""

    drops: Counter[str] = field(default_factory=Counter)
    sentences: int = 0
    _rest: bytes = b""
    _is_skipping: bool = False
    _instant: _Instant | None = None
    _last_time_ms: int | None = None
    _date: date | None = None
    _date_time_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether an instant has begun and waits for its other sentences."""
        return self._instant is not None

    def feed(self, received: bytes, now_ms: int) -> list[Fix]:
        """Fixes completed by these bytes. Drops: nmea_checksum, nmea_malformed, nmea_oversize."""
        *lines, self._rest = _TERMINATORS.split(self._rest + received)
        fixes: list[Fix] = []
        for line in lines:
            if self._is_skipping:  # the tail of an oversize sentence, up to its end
                self._is_skipping = False
            elif len(line) > SENTENCE_MAX_BYTES:
                self.drops["nmea_oversize"] += 1
            elif line:
                fixes += self._take_line(line, now_ms)
        if self._is_skipping or len(self._rest) > SENTENCE_MAX_BYTES:
            self.drops["nmea_oversize"] += not self._is_skipping
            self._is_skipping, self._rest = True, b""
        return fixes

    def flush(self) -> Fix | None:
        """Close the instant that has begun. None if it was only repeated or told no position either way."""
        instant, self._instant = self._instant, None
        if instant is None or not instant.has_position_sentence:
            return None
        if instant.time_ms is not None and instant.time_ms == self._last_time_ms:
            self.drops["nmea_repeated"] += 1  # a receiver that stands still, or its late sentence after a pause
            return None
        self._last_time_ms = instant.time_ms
        return instant.fix(self._receiver_ms(instant))

    def _take_line(self, line: bytes, now_ms: int) -> list[Fix]:
        start = max(line.rfind(b"$"), line.rfind(b"!"))
        if start != 0:
            self.drops["nmea_malformed"] += 1  # bytes before the sentence: noise, or one that was cut off
            if start < 0:
                return []
            line = line[start:]
        try:
            sentence = read_sentence(line)
            partial = None if sentence is None else read_partial(sentence.kind, sentence.fields, now_ms)
        except ChecksumError:
            self.drops["nmea_checksum"] += 1
            return []
        except MalformedError:
            self.drops["nmea_malformed"] += 1
            return []
        self.sentences += 1
        if sentence is None or partial is None:
            return []
        return self._merge(sentence, partial)

    def _merge(self, sentence: Sentence, partial: Partial) -> list[Fix]:
        fixes: list[Fix] = []
        if sentence.kind == "ZDA":  # may be the time of its sending, not of the fix, so it opens and closes nothing
            self._date, self._date_time_ms = partial.day or self._date, partial.time_ms or 0
            return fixes
        if self._instant is not None and self._instant.is_over(sentence, partial):
            fix = self.flush()
            fixes += [] if fix is None else [fix]
        if self._instant is None:
            self._instant = _Instant()
        if self._instant.time_ms is None:
            self._instant.time_ms = partial.time_ms
        self._instant.merge(sentence, partial)
        return fixes

    def _receiver_ms(self, instant: _Instant) -> int | None:
        """The instant in UTC milliseconds; the date comes from RMC, else from the last sentence that had one."""
        if instant.time_ms is None:
            return None
        if instant.day is not None:
            self._date, self._date_time_ms = instant.day, instant.time_ms
        if self._date is None:
            return None
        day = self._date
        if instant.time_ms < self._date_time_ms - _DAY_MS // 2:
            day += timedelta(days=1)  # midnight passed since the date was said
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return round(midnight.timestamp()) * 1000 + instant.time_ms
