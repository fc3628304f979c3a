"""Log set-up: one line a change, as JSON for machines or plain for a terminal."""

import logging
import sys

import structlog
from structlog.typing import Processor


def set_up_logs(*, as_json: bool, is_verbose: bool = False) -> None:
    """Send structlog to standard error; called once by the program, never by the library."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if not as_json:
        shared.pop()  # the console renderer lays out exceptions itself
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if is_verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
