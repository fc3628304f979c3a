"""Log set-up: one line a change, as JSON for machines or plain for a terminal."""

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


class _Sink(Protocol):
    """What takes bytes at once, with no buffer that would keep, and fail again with, what it could not write."""

    def write(self, piece: bytes, /) -> int | None: ...


@dataclass(slots=True, eq=False, weakref_slot=True)  # structlog keeps a lock for each, by weak reference
class LogStream:
    """Where lines go. A full disk or a reader that is gone costs lines, which are counted, and never the agent."""

    sink: _Sink
    lost_lines: int = 0
    """Those that did not get out whole."""
    _told_lines: int = 0
    _is_torn: bool = False
    """What got out last is the beginning of a line."""

    def write(self, text: str) -> None:
        """Put one whole line, with its end."""
        left = (b"\n" if self._is_torn else b"") + text.encode("utf-8", "backslashreplace")
        with suppress(OSError):  # the next line is tried again, and carries the count
            while left:
                taken_bytes = self.sink.write(left)
                if not taken_bytes:  # a pipe that is full and does not block
                    break
                self._is_torn, left = True, left[taken_bytes:]
        if left:
            self.lost_lines += 1
        else:
            self._is_torn = False

    def flush(self) -> None:
        """Nothing waits here."""

    def add_loss(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        """The event; the first one after a loss says how many lines were lost so far. A processor of structlog."""
        if self.lost_lines > self._told_lines:
            event["log_lines_lost"] = self._told_lines = self.lost_lines
        return event


def set_up_logs(*, as_json: bool, is_verbose: bool = False) -> LogStream:
    """Send structlog to standard error; called once by the program, never by the library."""
    stream = LogStream(_standard_error())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        stream.add_loss,
        structlog.processors.format_exc_info,
    ]
    last = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=is_terminal())
    if not as_json:
        shared.pop()  # the console renderer lays out exceptions itself
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if is_verbose else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream)),  # it calls ``write`` and ``flush`` alone
        cache_logger_on_first_use=True,
    )
    return stream


def is_terminal() -> bool:
    """Whether a person reads standard error; Python has none where the program was started without."""
    return sys.stderr is not None and sys.stderr.isatty()


def _standard_error() -> _Sink:
    if sys.stderr is None:
        return open(os.devnull, "wb", buffering=0)  # for as long as the program runs
    buffer = sys.stderr.buffer
    return cast(_Sink, getattr(buffer, "raw", buffer))
