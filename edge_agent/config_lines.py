"""Line numbers of the keys of a TOML text, because ``tomllib`` keeps none.

Works on texts that ``tomllib`` has accepted; grammar of TOML 1.0 (https://toml.io/en/v1.0.0).
"""

import re
from bisect import bisect_right

KeyPath = tuple[str | int, ...]
"""Where a value sits: ("link", 1, "rate_bps") is the key rate_bps of the second [[link]]."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")


def find_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every key, table header and array member of a valid TOML text. O(length)."""
    return _Walk(text).lines()


class _Walk:
    """One pass over a text; ``_at`` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._last_index: dict[KeyPath, int] = {}

    def lines(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        line = self._line()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        parts = self._dotted()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for part in parts[:-1]:
            path += (part,)
            if path in self._last_index:  # a header below [[x]] means the newest x
                path += (self._last_index[path],)
            self._lines.setdefault(path, line)
        path += (parts[-1],)
        self._lines.setdefault(path, line)
        if is_array:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path += (self._last_index[path],)
            # tables below an earlier member must not count on
            for stale in [each for each in self._last_index if len(each) > len(path) and each[: len(path)] == path]:
                del self._last_index[stale]
        self._lines[path] = line
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for part in self._dotted():
            path += (part,)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK)
        while self._text[self._at] != "]":
            self._lines[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _dotted(self) -> list[str]:
        """The parts of a dotted key; leaves ``_at`` behind the blanks that follow it."""
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                parts.append(_plain(self._skip(_STRING)))
            else:
                parts.append(self._skip(_BARE_KEY))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None or (match.end() == self._at and pattern not in (_BLANK, _SPACE)):
            raise ValueError(f"line {self._line()}: not valid TOML")  # else a wrong text would loop for ever
        self._at = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_right(self._breaks, self._at - 1) + 1 if self._at else 1


def _plain(quoted: str) -> str:
    """The key inside quotes. Rare escapes stay as they stand: no configuration of ours has such keys."""
    if quoted[0] == "'":
        return quoted[1:-1]
    return quoted[1:-1].replace('\\"', '"').replace("\\\\", "\\")
