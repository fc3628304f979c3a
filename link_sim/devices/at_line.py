"""AT command line: the part that modems of every kind have in common.

Source: ITU-T V.250, sections 5.2 (command line, several commands in one, basic and extended syntax), 5.7 (result codes)
and 6.2 (E, Q, V). A command that takes time holds up the next; what is received meanwhile waits.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.stand_in import StandIn

HEARD_BYTES_MAX = 8192  # what waits behind a slow command; the rest is lost, as in a device's own buffer
LINE_CHARACTERS_MAX = 1024
_EXTENDED = re.compile(r"(?P<name>[+*^%$#-][A-Z0-9]+)(?P<form>=\?|\?|=)?(?P<value>.*)", re.IGNORECASE | re.DOTALL)
_BASIC = re.compile(r"&?[A-Z]\d*(?:=\d+|\?)?", re.IGNORECASE)
_NUMERIC = {"OK": "0", "ERROR": "4"}


class Form(Enum):
    """How a command is asked: ``+X``, ``+X=1``, ``+X?``, ``+X=?``."""

    EXECUTE = ""
    SET = "="
    READ = "?"
    TEST = "=?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a command says: ``text`` as it stands, then the result code (None: it is still to come).

    With ``then`` the command takes ``after_s`` seconds and says what ``then`` returns at their end.
    """

    text: bytes = b""
    result: str | None = "OK"
    after_s: float = 0.0
    then: "Callable[[], Reply] | None" = None


OK = Reply()
ERROR = Reply(result="ERROR")
Command = Callable[[Form, str], Reply]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A command that takes time, and what its line said before."""

    due_s: float
    then: Callable[[], Reply]
    said: bytes
    request: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Data after a prompt: ``take`` consumes from what was heard and says when it is done (no data mode any more)."""

    take: Callable[[bytearray], Reply | None]
    request: str
    until_s: float
    too_late: Reply
    has_echo: bool


def line(text: str) -> bytes:
    """One line of an answer in verbose form (V1)."""
    return f"\r\n{text}\r\n".encode("latin-1", "replace")


class AtStandIn(StandIn):
    """A device with a command line. Faults match the text of the line, ``"AT+CSQ"``."""

    RAW_COMMANDS: ClassVar[tuple[str, ...]] = ()  # what follows these is text to the end of the line, semicolons too

    def __init__(self, *, baud_rate: int | None, faults: Iterable[Fault] = (), seed: int = 1) -> None:
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)
        self._has_echo, self._is_verbose, self._is_quiet = True, True, False
        self._heard = bytearray()
        self._line = bytearray()
        self._busy_until_s = 0.0
        self._pending: _Pending | None = None
        self._wanted: _Wanted | None = None
        self._table = self._commands()

    @abstractmethod
    def _commands(self) -> dict[str, Command]:
        """The extended commands by name, ``"+CSQ"``; upper case."""

    @abstractmethod
    def _refused(self, request: str, code: int) -> Reply:
        """The answer of a command that the script refuses with a code."""

    def _unknown(self, name: str) -> Reply:
        """The answer to a command that the device does not have."""
        return ERROR

    def _basic(self, name: str, value: str) -> Reply:
        """A basic command: a letter and a number. Those that a stand-in has no use for are accepted."""
        match name:
            case "E":
                self._has_echo = value != "0"
            case "V":
                self._is_verbose = value != "0"
            case "Q":
                self._is_quiet = value == "1"
            case "Z" | "&F":
                self._has_echo, self._is_verbose, self._is_quiet = True, True, False
        return OK

    def _receive(self, received: bytes, now_s: float) -> None:
        room_bytes = HEARD_BYTES_MAX - len(self._heard)
        if len(received) > room_bytes:
            self._note("overflow", f"{len(received) - room_bytes} bytes")
        self._heard += received[:room_bytes]
        self._work(now_s)

    def _wake(self, now_s: float) -> None:
        self._work(now_s)

    def _next_wake_s(self) -> float | None:
        if self._pending is not None:
            return self._pending.due_s
        if self._heard and self._busy_until_s > self._now_s:
            return self._busy_until_s
        return None if self._wanted is None else self._wanted.until_s

    def _restart(self, now_s: float) -> None:
        self._basic("Z", "")
        self._heard.clear()
        self._line.clear()
        self._pending = self._wanted = None
        self._busy_until_s = now_s

    def _work(self, now_s: float) -> None:
        """Go on with what was heard, as far as the commands before it are done."""
        while True:
            if self._pending is not None:
                if now_s < self._pending.due_s:
                    return
                pending, self._pending = self._pending, None
                self._conclude(pending.then(), pending.request, pending.said)
            elif self._wanted is not None:
                if not self._work_on_data(now_s, self._wanted):
                    return
            elif self._heard and now_s >= self._busy_until_s:
                self._hear(self._heard.pop(0))
            else:
                return

    def _work_on_data(self, now_s: float, wanted: _Wanted) -> bool:
        """Whether the data are complete or too late."""
        before = bytes(self._heard)
        reply = wanted.take(self._heard)
        if wanted.has_echo:
            self._echo(before[: len(before) - len(self._heard)])
        if reply is None and now_s >= wanted.until_s:
            reply = wanted.too_late
            self._note("data_too_late", wanted.request)
        if reply is None:
            return False
        self._wanted = None
        self._conclude(reply, wanted.request, b"")
        return True

    def _want(
        self,
        request: str,
        take: Callable[[bytearray], Reply | None],
        *,
        for_s: float,
        too_late: Reply,
        has_echo: bool,
    ) -> None:
        """What comes next are data. The caller's reply is the prompt, with no result."""
        self._wanted = _Wanted(take, request, self._now_s + for_s, too_late, has_echo)

    def _hear(self, byte: int) -> None:
        self._echo(bytes((byte,)))
        if byte == 0x0D:  # S3
            text, self._line = self._line.decode("latin-1"), bytearray()
            self._take_line(text.strip())
        elif byte == 0x08:  # S5
            del self._line[-1:]
        elif byte != 0x0A and len(self._line) < LINE_CHARACTERS_MAX:
            self._line.append(byte)

    def _echo(self, heard: bytes) -> None:
        if self._has_echo and heard and not self._script.is_on(FaultKind.SILENT, self._now_s):
            self._outbox.put(self._now_s, heard)

    def _take_line(self, text: str) -> None:
        at = text.upper().find("AT")
        if at < 0:
            if text:
                self._note("not_a_command", text)
            return
        request = text[at:]
        self._note("command", request)
        said = b""
        for part in split_commands(request[2:], self.RAW_COMMANDS):
            refusal = self._script.take(FaultKind.REFUSE, self._now_s, request)
            reply = self._refused(request, int(refusal.value)) if refusal is not None else self._run(part)
            if reply.result != "OK" or reply.then is not None:
                self._conclude(reply, request, said)
                return
            said += reply.text
        self._conclude(OK, request, said)

    def _run(self, part: str) -> Reply:
        extended = _EXTENDED.fullmatch(part)
        if extended is None:
            name = part.rstrip("0123456789=?").upper()
            return self._basic(name, part[len(name) :])
        name = extended["name"].upper()
        command = self._table.get(name)
        if command is None:
            self._note("unknown_command", part)
            return self._unknown(name)
        return command(Form(extended["form"] or ""), extended["value"].strip())

    def _conclude(self, reply: Reply, request: str, said: bytes) -> None:
        """Say a reply, or begin to wait for it."""
        if reply.then is not None:
            self._pending = _Pending(self._now_s + reply.after_s, reply.then, said + reply.text, request)
            return
        text = said + reply.text
        if reply.result is not None and not self._is_quiet:
            text += line(reply.result) if self._is_verbose else _NUMERIC.get(reply.result, "4").encode() + b"\r"
        if reply.result not in (None, "OK"):
            self._note("error", f"{request} {reply.result}")
        self._busy_until_s = self._say(text, request=request, after_s=reply.after_s)

    def _announce(self, text: bytes) -> None:
        """Say an unsolicited result, now: it comes between a slow command and its answer."""
        self._note("unsolicited", text.decode("latin-1").strip())
        self._say(text, request="unsolicited")


def split_commands(body: str, raw: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands of one line without its ``AT``: ``E0V1+CMEE=2;+CSCS?`` are four. Semicolons in quotes are text."""
    at = 0
    while at < len(body):
        if body[at] in "; ":
            at += 1
            continue
        basic = _BASIC.match(body, at)
        if basic is not None and body[at] not in "Dd":
            end = basic.end()
        elif body[at] not in "+*^%$#-" or body[at:].upper().startswith(raw):
            end = len(body)
        else:
            end = at
            is_quoted = False
            while end < len(body) and (is_quoted or body[end] != ";"):
                is_quoted ^= body[end] == '"'
                end += 1
        yield body[at:end]
        at = end
