"""Serial ports in virtual time: bytes in pieces, each out when its last bit would have arrived.

No order is restored and nothing is sent again: what the link loses is lost, what it spoils comes spoiled. A writer
waits while the profile's ``queue_bytes`` are full.
"""

import asyncio
import contextvars
import random
from collections import deque

from link_sim.link.services import NS_PER_S
from link_sim.virtual.endpoints.link_end import LinkEnd, SerialPiece, call_in
from link_sim.virtual.endpoints.transport import BufferedTransport
from link_sim.virtual.handle import VirtualHandle
from link_sim.virtual.loop import VirtualLoop

PIECE_S = 0.004  # as in link_sim.real_time.pty_proxy: a piece is what the line carries in that time
_PIECE_MAX_BYTES = 4096
HIGH_WATER_BYTES = 4096


class SerialPort(BufferedTransport):
    """One end of a serial line; a transport for the protocols of pyserial-asyncio and of asyncio's streams."""

    def __init__(self, loop: VirtualLoop, end: LinkEnd, protocol: asyncio.BaseProtocol, noise: random.Random) -> None:
        super().__init__(
            loop, contextvars.copy_context(), {"port": f"{end.node}/{end.link}"}, high_bytes=HIGH_WATER_BYTES
        )
        self._end = end
        self._protocol = protocol
        self._noise = noise
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._waiting: deque[bytes] = deque()
        self._timer: VirtualHandle | None = None
        end.serial = self
        end.out.on_change.append(self._pump)

    def start(self) -> None:
        """Tell the protocol that the port is open."""
        call_in(self._context, self._tell, self._protocol.connection_made, self)

    def receive(self, frame: SerialPiece, _: LinkEnd) -> None:
        """Bytes came."""
        if self._is_reading_paused:
            self._waiting.append(frame.payload)
        else:
            call_in(self._context, self._tell, self._protocol.data_received, frame.payload)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped once the port is closed."""
        if self._is_closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        self._pump()
        self._pause_above(self._unsent_bytes)

    def _pump(self) -> None:
        """Offer what the line's queue has room for; come again when there is room."""
        line, now_ns = self._end.out.line, self._loop.now_ns
        rate_bps = line.profile.rate_bps
        piece_bytes = _PIECE_MAX_BYTES if rate_bps is None else max(1, round(rate_bps * PIECE_S / 8))
        piece_bytes = min(piece_bytes, line.profile.mtu_bytes or piece_bytes)
        while self._unsent:
            room_bytes = line.profile.queue_bytes - line.model.waiting_bytes(now_ns)
            if room_bytes < min(piece_bytes + line.profile.overhead_bytes, line.profile.queue_bytes):
                self._come_again()
                return
            payload = self._spoil(self._cut(min(piece_bytes, room_bytes)), line.profile.noise_ratio)
            self._end.out.offer(SerialPiece(payload), len(payload))
        self._resume_below(self._unsent_bytes)

    def _come_again(self) -> None:
        if self._timer is None:
            self._timer = self._loop.ring_at_ns(self._loop.now_ns + round(PIECE_S * NS_PER_S), self._ring)
        self._resume_below(self._unsent_bytes)

    def _ring(self) -> None:
        self._timer = None
        if self._end.out.line.model.held_ns is not None:  # in a hold nothing moves until a change, which pumps
            self._pump()

    def _cut(self, most_bytes: int) -> bytes:
        first = self._unsent.popleft()
        if len(first) > most_bytes:
            self._unsent.appendleft(first[most_bytes:])
            first = first[:most_bytes]
        self._unsent_bytes -= len(first)
        return first

    def _spoil(self, piece: bytes, noise_ratio: float) -> bytes:
        if not noise_ratio:
            return piece
        noise = self._noise
        return bytes(byte ^ noise.randrange(1, 256) if noise.random() < noise_ratio else byte for byte in piece)

    def close(self) -> None:
        """Free the port; bytes that have not left are gone, those that fly arrive."""
        if self._is_closing:
            return
        self._is_closing = True
        self._unsent.clear()
        self._unsent_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
        self._end.out.on_change.remove(self._pump)
        self._end.serial = None
        self._loop.call_soon(self._protocol.connection_lost, None, context=self._context)

    def abort(self) -> None:
        """As ``close``."""
        self.close()

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Read what waits."""
        self._is_reading_paused = False
        self._loop.call_soon(self._catch_up, context=self._context.copy())  # the protocol may be in its own context now

    def _catch_up(self) -> None:
        while self._waiting and not self._is_reading_paused:
            call_in(self._context, self._tell, self._protocol.data_received, self._waiting.popleft())

    def can_write_eof(self) -> bool:
        """A serial line has no end of file."""
        return False

    def get_write_buffer_size(self) -> int:
        """Bytes that the line's queue has not taken yet."""
        return self._unsent_bytes

    def _tell(self, error: BaseException) -> None:
        message = f"serial port {self.get_extra_info('port')}: its protocol raised"
        self._loop.call_exception_handler({"message": message, "exception": error, "transport": self})
