"""Guard: what belongs to the real world raises at once inside a virtual loop, in place of hanging there.

One audit hook for the process (PEP 578), which looks at nothing but the few events below; Python cannot remove it.
Threads that are started by hand, not by an executor, are seen from Python 3.12 on.
"""

import asyncio
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from edge_agent.core.errors import EdgeAgentError


class NotVirtualError(EdgeAgentError):
    """Code inside a virtual loop asked for a real resource; the message says which, and what to use instead."""


_SOCKET = "asyncio.open_connection, start_server or create_datagram_endpoint, which a Net answers"
_PROCESS = "a task that plays the process, or real time (UdpProxy, link-sim proxy)"
_THREAD = "a task; VirtualLoop(runs_inline=True) lets run_in_executor and to_thread run their functions on the spot"
_REFUSED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "socket.__new__": ("a real socket", _SOCKET),
        "subprocess.Popen": ("a real process", _PROCESS),
        "os.fork": ("a real process", _PROCESS),
        "os.posix_spawn": ("a real process", _PROCESS),
        "os.system": ("a real process", _PROCESS),
        "_thread.start_new_thread": ("a real thread", _THREAD),
        "_thread.start_joinable_thread": ("a real thread", _THREAD),
    }
)


def refusal(what: str, instead: str) -> NotVirtualError:
    """The error for ``what`` inside a virtual loop."""
    return NotVirtualError(f"{what} inside a virtual loop, whose clock would not wait for it; use {instead}")


@cache
def install_guard() -> None:
    """Refuse from now on, wherever the running loop says that it ``is_guarded``. Once for the process."""
    sys.addaudithook(_judge)


def _judge(event: str, _: object) -> None:
    if event in _REFUSED:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing runs in this thread
            return
        if getattr(loop, "is_guarded", False):
            raise refusal(*_REFUSED[event])
