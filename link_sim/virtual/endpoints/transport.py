"""What transports of byte streams share: protocol, context and the two marks of their write buffer."""

import asyncio
import contextvars
from typing import Any

from link_sim.virtual.loop import VirtualLoop


class BufferedTransport(asyncio.Transport):
    """A transport that pauses its writer above a high mark and lets it go on below a low one."""

    def __init__(
        self, loop: VirtualLoop, context: contextvars.Context, extra: dict[str, Any], *, high_bytes: int
    ) -> None:
        """``extra``: what ``get_extra_info`` tells, of any type."""
        super().__init__(extra)
        self._loop = loop
        self._context = context
        self._protocol: Any = None  # whatever the program made; asyncio's transports take it likewise
        self._default_high_bytes = high_bytes
        self._high_bytes, self._low_bytes = high_bytes, high_bytes // 4
        self._is_closing = self._is_reading_paused = self._is_writing_paused = False

    def _pause_above(self, unsent_bytes: int) -> None:
        if unsent_bytes > self._high_bytes and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def _resume_below(self, unsent_bytes: int) -> None:
        if self._is_writing_paused and unsent_bytes <= self._low_bytes:
            self._is_writing_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high mark, in bytes."""
        return self._low_bytes, self._high_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When writers are paused and resumed. Raises ValueError."""
        if high is None:
            high = self._default_high_bytes if low is None else 4 * low
        low = high // 4 if low is None else low
        if not 0 <= low <= high:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high_bytes, self._low_bytes = high, low

    def is_closing(self) -> bool:
        """Whether ``close`` was called or the connection is lost."""
        return self._is_closing

    def is_reading(self) -> bool:
        """Whether bytes are handed over as they come."""
        return not self._is_reading_paused and not self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol
