"""Keeps transports and drivers running: one that is lost is marked, said once, and started again with backoff."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from edge_agent.ports import PluginLostError

RETRY_FIRST_S = 1.0
RETRY_LONGEST_S = 30.0  # a modem plugged in again is used within half a minute
STEADY_S = 60.0  # a plugin that ran this long was well: its next loss starts at the first retry again

log = structlog.get_logger()


async def keep_running(
    run: Callable[[], Awaitable[None]],
    *,
    what: str,
    name: str,
    mark_lost: Callable[[str], None],
) -> None:
    """Run one plugin for ever; ``mark_lost`` gets the reason of each loss.

    Cancellation is the only way out and is never caught here. Errors that are neither OSError nor PluginLostError
    are defects and end the task group. ``what`` is "link" or "device", for the log.
    """
    loop = asyncio.get_running_loop()
    retry_s, said = RETRY_FIRST_S, ""
    while True:
        started_s = loop.time()
        try:
            await run()
            reason = "ended"
        except (OSError, PluginLostError) as error:
            reason = _reason(error)
        if loop.time() - started_s > STEADY_S:
            retry_s, said = RETRY_FIRST_S, ""
        mark_lost(reason)
        if reason != said:
            log.warning("plugin_lost", what=what, name=name, reason=reason, retry_s=retry_s)
            said = reason
        await asyncio.sleep(retry_s)
        retry_s = min(RETRY_LONGEST_S, retry_s * 2)


def _reason(error: Exception) -> str:
    """What an operator reads: the error's own sentence, without Python's decoration."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and text.startswith("[Errno"):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return text or type(error).__name__
