"""gpsd's JSON: TPV and SKY objects, one a line, into fixes. Sans-IO.

Source: gpsd_json(5) of gpsd 3.22 and recorded sessions; TPV may come several times for one instant, each fuller.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from drivers.gnss.fix import Fix

WATCH_COMMAND = b'?WATCH={"enable":true,"json":true};\n'
LINE_MAX_BYTES = 65_536  # a SKY of 72 satellites comes to about 9 kB
_TALKERS = MappingProxyType({0: "GP", 2: "GA", 3: "BD", 5: "QZ", 6: "GL", 7: "GI"})
"""NMEA talker of each gpsd ``gnssid``; SBAS (1) only corrects, so it names no system."""

JsonObject = Mapping[str, Any]  # Any: what gpsd sent, checked field by field


@dataclass(slots=True)
class GpsdParser:
    """FixParser for gpsd. Holds at most one line and one instant."""

    drops: Counter[str] = field(default_factory=Counter)
    sentences: int = 0
    complaint: str = ""
    """What gpsd says is wrong (no device, an error), empty while all is well."""
    _rest: bytes = b""
    _is_skipping: bool = False
    _tpv: JsonObject | None = None
    _last_time: str | None = None
    _satellites: int | None = None
    _system: str = ""

    @property
    def is_open(self) -> bool:
        """Whether a TPV has come that a fuller one may follow."""
        return self._tpv is not None

    def feed(self, received: bytes, now_ms: int) -> list[Fix]:
        """Fixes completed by these bytes. Drops: gpsd_malformed, gpsd_oversize. ``now_ms`` is not needed here."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        fixes: list[Fix] = []
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
            elif line.startswith(b"{"):  # anything else is raw NMEA that another client asked for
                fixes += self._take_line(line)
        if self._is_skipping or len(self._rest) > LINE_MAX_BYTES:
            self.drops["gpsd_oversize"] += not self._is_skipping
            self._is_skipping, self._rest = True, b""
        return fixes

    def flush(self) -> Fix | None:
        """The fix of the last TPV; None if there is none or its instant was given already."""
        tpv, self._tpv = self._tpv, None
        if tpv is None:
            return None
        time_text = _text(tpv, "time") or None
        if time_text is not None and time_text == self._last_time:
            return None
        self._last_time = time_text
        return self._fix(tpv)

    def _take_line(self, line: bytes) -> list[Fix]:
        try:
            content = json.loads(line)
            if not isinstance(content, dict):
                raise ValueError("not an object")
            self.sentences += 1
            match content.get("class"):
                case "TPV":
                    return self._take_tpv(content)
                case "SKY":
                    self._take_sky(content)
                case "DEVICES":
                    self.complaint = "" if content.get("devices") else "gpsd has no receiver attached"
                case "ERROR":
                    self.complaint = f"gpsd: {_text(content, 'message')[:80]}"
        except (ValueError, TypeError, RecursionError):
            self.drops["gpsd_malformed"] += 1
        return []

    def _take_tpv(self, tpv: JsonObject) -> list[Fix]:
        self._fix(tpv)  # a TPV that cannot be read is dropped here, not when it is due
        fixes: list[Fix] = []
        is_without_time = "time" not in tpv  # then two of them may be two instants, so none is held back
        if self._tpv is not None and (is_without_time or self._tpv.get("time") != tpv["time"]):
            fix = self.flush()
            fixes += [] if fix is None else [fix]
        self._tpv = tpv
        self.complaint = ""
        return fixes

    def _take_sky(self, sky: JsonObject) -> None:
        satellites = sky.get("satellites")
        if isinstance(satellites, list):
            used = [each for each in satellites if isinstance(each, dict) and each.get("used") is True]
            talkers = {_TALKERS[each["gnssid"]] for each in used if each.get("gnssid") in _TALKERS}
            self._system = talkers.pop() if len(talkers) == 1 else "GN" if talkers else ""
            self._satellites = len(used)
        if isinstance(sky.get("uSat"), int):
            self._satellites = sky["uSat"]

    def _fix(self, tpv: JsonObject) -> Fix:
        """Raises ValueError and TypeError for fields that are not what gpsd_json(5) says."""
        time_text = _text(tpv, "time")
        receiver_ms = None
        if time_text:
            receiver_time = datetime.fromisoformat(time_text)
            if receiver_time.tzinfo is None:
                raise ValueError(f"time {time_text!r} has no zone")
            receiver_ms = round(receiver_time.timestamp() * 1000)
        mode = tpv.get("mode", 0)
        lat_deg, lon_deg = _number(tpv, "lat", 90), _number(tpv, "lon", 180)
        if mode not in (2, 3) or lat_deg is None or lon_deg is None:
            return Fix(receiver_ms=receiver_ms, satellites=self._satellites, reason="no fix")
        alt_m = _number(tpv, "altMSL")
        return Fix(
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            receiver_ms=receiver_ms,
            alt_m=None if mode == 2 else _number(tpv, "alt") if alt_m is None else alt_m,  # alt: before gpsd 3.20
            speed_mps=_number(tpv, "speed"),
            track_deg=_number(tpv, "track"),
            accuracy_m=_number(tpv, "eph"),
            satellites=self._satellites,
            system=self._system,
        )


def _text(content: JsonObject, name: str) -> str:
    value = content.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a text")
    return value


def _number(content: JsonObject, name: str, limit: float = 1e6) -> float | None:
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -limit <= value <= limit:
        raise ValueError(f"{name}: {value!r} is not a number within {limit}")
    return float(value)
