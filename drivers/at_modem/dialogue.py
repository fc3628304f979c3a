"""An AT dialogue: bytes of a modem in, the lines of one answer out. Sans-IO.

Source: ITU-T V.250, section 5.7 (result codes). What a modem says unasked in between is handed over with the rest; who
asked picks the lines that begin with the name asked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

LINE_MAX_BYTES = 512
LINES_MAX = 64
"""Of one answer: a modem that talks on without end has not answered."""
_FINAL_GOOD, _FINAL_BAD = ("OK",), ("ERROR", "COMMAND NOT SUPPORT", "NO CARRIER", "ABORTED")
_FINAL_BAD_PREFIXES = ("+CME ERROR:", "+CMS ERROR:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came between a command and its final result code."""

    lines: Sequence[str]
    is_good: bool

    def values(self, name: str) -> list[str]:
        """The fields after ``name`` ("+CSQ") of each line that has them, quotes taken off; empty: there is none."""
        for line in self.lines:
            head, colon, rest = line.partition(":")
            if colon and head.strip().upper() == name:
                return [each.strip().strip('"') for each in rest.split(",")]
        return []


@dataclass(slots=True)
class Dialogue:
    """Collects one answer at a time. ``drops`` counts what was no line."""

    drops: Counter[str] = field(default_factory=Counter)
    _rest: bytearray = field(default_factory=bytearray)
    _lines: list[str] = field(default_factory=list)
    _is_skipping: bool = False

    def begin(self) -> None:
        """A command leaves now: whatever came before is no answer to it."""
        self._rest.clear()
        self._lines.clear()
        self._is_skipping = False

    def feed(self, received: bytes) -> Answer | None:
        """The answer that these bytes complete, or None while it is not whole. They may be cut anywhere."""
        for byte in received:
            if byte not in b"\r\n":
                self._take(byte)
                continue
            answer = self._end_line()
            if answer is not None:
                return answer
        return None

    def _take(self, byte: int) -> None:
        if self._is_skipping:
            return
        if len(self._rest) >= LINE_MAX_BYTES:
            self.drops["at_oversize"] += 1
            self._rest.clear()
            self._is_skipping = True
            return
        self._rest.append(byte)

    def _end_line(self) -> Answer | None:
        raw, self._rest = bytes(self._rest), bytearray()
        self._is_skipping = False
        if not raw.strip():
            return None
        if not raw.isascii() or not raw.decode("ascii").isprintable():
            self.drops["at_malformed"] += 1
            return None
        line = raw.decode("ascii").strip()
        if line in _FINAL_GOOD:
            return self._whole(is_good=True)
        if line in _FINAL_BAD or line.startswith(_FINAL_BAD_PREFIXES):
            return self._whole(is_good=False)
        if len(self._lines) < LINES_MAX:
            self._lines.append(line)
        else:
            self.drops["at_oversize"] += 1
        return None

    def _whole(self, *, is_good: bool) -> Answer:
        lines, self._lines = tuple(self._lines), []
        return Answer(lines=lines, is_good=is_good)
