"""Streams in virtual time: asyncio transports over a small model of TCP, whose segments go through a link.

What it has: a handshake, segments of at most the link's MTU, order, acknowledgements (delayed, cumulative, selective),
loss noticed by three later segments or a timer, Reno's congestion window, a receive window that reaches ``drain``,
half-close, reset, refusal, and giving up in the end. What it is not: no Nagle, no window scaling limits, no SACK of a
lost retransmission (the timer finds it), no ECN, no path change, no keep-alive, no TLS. See docs/link_sim.md.
"""

import asyncio
import contextvars
import errno
from collections.abc import Callable
from enum import Enum
from typing import Any

from link_sim.link.services import NS_PER_S
from link_sim.virtual.endpoints.link_end import LinkEnd, call_in
from link_sim.virtual.endpoints.receive_side import ReceiveSide
from link_sim.virtual.endpoints.segment import HEADER_BYTES, Flag, Segment, StreamSettings
from link_sim.virtual.endpoints.send_side import SendSide
from link_sim.virtual.endpoints.transport import BufferedTransport
from link_sim.virtual.handle import VirtualHandle
from link_sim.virtual.loop import VirtualLoop

_new = object.__new__
HIGH_WATER_BYTES = 65_536  # asyncio's own default


class State(Enum):
    """Where a stream stands; both ends close apart, which its two sides know."""

    CALLING = "calling"
    CALLED = "called"
    OPEN = "open"
    LINGERING = "lingering"
    """Both ends are through; late segments are still answered."""
    GONE = "gone"


_OPEN, _GONE = State.OPEN, State.GONE  # looked up once, as in link_sim.link.model


class StreamTransport(BufferedTransport):
    """One end of a stream. Made by ``call`` or by a listener."""

    def __init__(
        self,
        loop: VirtualLoop,
        end: LinkEnd,
        ports: tuple[int, int],
        settings: StreamSettings,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        context: contextvars.Context,
    ) -> None:
        extra = {"sockname": (end.node, ports[0]), "peername": (end.peer_address, ports[1])}
        super().__init__(loop, context, extra, high_bytes=HIGH_WATER_BYTES)
        self._end = end
        self._port, self._peer_port = ports
        self._settings = settings
        self._make_protocol = make_protocol
        self._state = State.CALLED
        self._send = SendSide(settings, self._mss_bytes(), settings.window_bytes)
        self._take = ReceiveSide(settings.window_bytes)
        self._is_lost_told = self._is_end_told = False
        self._unacked_segments = 0
        self._ack_due_ns: int | None = None
        self._delay_ack_ns = round(settings.delayed_ack_s * NS_PER_S)
        self._told_window_bytes = settings.window_bytes
        self._timer: VirtualHandle | None = None
        self._timer_ns = 0
        self._hello_ns: int | None = None
        self._hellos = 0
        self.opened: asyncio.Future[None] | None = None
        """Done when a called stream stands, or failed as it did."""
        self.on_gone: Callable[[], None] | None = None
        end.streams[ports] = self

    def _mss_bytes(self) -> int:
        mtu_bytes = self._end.out.line.profile.mtu_bytes
        if mtu_bytes is None:
            return self._settings.mss_bytes
        if mtu_bytes <= HEADER_BYTES:
            text = f"link {self._end.link}: mtu_bytes {mtu_bytes} has no room for a stream's header of {HEADER_BYTES}"
            raise OSError(errno.EMSGSIZE, text)
        return min(self._settings.mss_bytes, mtu_bytes - HEADER_BYTES)

    def call(self) -> "asyncio.Future[None]":
        """Ask the other end to open; done when it has."""
        self._state = State.CALLING
        self.opened = self._loop.create_future()
        self._hello()
        return self.opened

    def answer(self) -> None:
        """Tell the caller that this end opens."""
        self._hello()

    def _hello(self) -> None:
        """Send the first segment, again and again until the other end is heard."""
        if self._hellos >= self._settings.connect_tries:
            self._fail(TimeoutError(errno.ETIMEDOUT, f"{self._names()}: no answer after {self._hellos} tries"))
            return
        wait_s = min(self._settings.first_timeout_s * 2**self._hellos, self._settings.longest_timeout_s)
        self._hellos += 1
        self._hello_ns = self._loop.now_ns + round(wait_s * NS_PER_S)
        self._emit(Flag.SYN, 0, b"", ack=1 if self._state is State.CALLED else 0)
        self._arm()

    def _names(self) -> str:
        return f"stream {self._end.node}:{self._port} to {self._end.peer_address}:{self._peer_port}"

    def receive(self, frame: Segment, _: LinkEnd) -> None:
        """A segment came."""
        flags, state = frame.flags, self._state
        if not flags and state is _OPEN:  # what nearly every segment is
            self._accept(frame)
            return
        if flags & Flag.RST:
            self._reset()
            return
        if state is State.GONE:
            return
        if flags & Flag.SYN:
            if state is State.CALLED and not frame.ack:  # the caller did not hear the answer
                self._emit(Flag.SYN, 0, b"", ack=1)
                return
            if state is State.CALLING:
                self._open()
            self._emit_ack()
            return
        if state is State.CALLED:
            self._open()
        elif state is State.CALLING:
            return
        self._accept(frame)

    def _open(self) -> None:
        self._state, self._hello_ns = State.OPEN, None
        try:
            self._protocol = self._context.run(self._make_protocol)
        except BaseException as error:
            self._fail(ConnectionAbortedError(errno.ECONNABORTED, f"{self._names()}: no protocol"))
            if self.opened is None:
                self._tell(error)
                return
            raise
        self._in_context(self._protocol.connection_made, self)
        if self.opened is not None and not self.opened.done():
            self.opened.set_result(None)

    def _accept(self, frame: Segment) -> None:
        send = self._send
        send.acknowledge(frame.ack, frame.window_bytes, frame.sacks, self._loop.now_ns)
        if frame.payload or frame.flags:
            self._accept_bytes(frame)
        if self._state is _GONE:
            return
        if send.unsent_bytes or send.has_more:
            self._pump()
        if self._is_writing_paused:
            self._resume_below(send.unsent_bytes)
        if send.is_ending or self._is_closing:
            self._settle()

    def _accept_bytes(self, frame: Segment) -> None:
        take = self._take
        if frame.flags & Flag.PROBE:
            self._emit_ack()
            return
        if self._is_closing and frame.payload and frame.seq >= take.next_seq:
            self._abandon()  # bytes for a program that has closed: Linux resets too
            return
        had_gap = bool(take.early)
        in_order = take.accept(frame)
        self._unacked_segments += 2 if not in_order or had_gap or frame.flags else 1
        if in_order and not self._is_reading_paused:
            self._hand_over()
        if self._unacked_segments >= 2:
            self._emit_ack()
        elif self._unacked_segments and self._ack_due_ns is None:
            self._ack_due_ns = self._loop.now_ns + self._delay_ack_ns
            self._arm()

    def _hand_over(self) -> None:
        """Give the program what came in order, and the end of it."""
        take = self._take
        while take.waiting_bytes and not self._is_reading_paused and not self._is_closing:
            call_in(self._context, self._tell_and_abort, self._protocol.data_received, take.take())
        if take.end_seq >= 0 and take.is_ended and not (take.waiting_bytes or self._is_end_told or self._is_closing):
            self._is_end_told = True
            if not self._in_context(self._protocol.eof_received):
                self.close()

    def _pump(self) -> None:
        """Send what may leave."""
        send, now_ns = self._send, self._loop.now_ns
        while (piece := send.next_piece(now_ns)) is not None:
            self._emit(piece.flags, piece.seq, piece.payload)
        deadline_ns = send.deadline_ns
        if deadline_ns is not None and (self._timer is None or deadline_ns < self._timer_ns):
            self._arm()

    def _emit(self, flags: int, seq: int, payload: bytes, *, ack: int | None = None) -> None:
        take = self._take
        self._told_window_bytes = window_bytes = take.capacity_bytes - take.waiting_bytes
        if ack is None:
            ack = take.next_seq
        sacks = take.sacks if take.early else ()
        segment = _new(Segment)  # half of what Segment(...) costs
        segment.source_port, segment.port, segment.flags = self._port, self._peer_port, flags
        segment.seq, segment.ack, segment.window_bytes = seq, ack, window_bytes
        segment.payload, segment.sacks = payload, sacks
        self._unacked_segments, self._ack_due_ns = 0, None
        self._end.out.offer(segment, len(payload) + HEADER_BYTES)

    def _emit_ack(self) -> None:
        self._emit(Flag.NONE, self._send.next_seq, b"")

    def _arm(self) -> None:
        """One timer for all that has a time; one that comes too early looks again."""
        due_ns, ack_due_ns, hello_ns = self._send.deadline_ns, self._ack_due_ns, self._hello_ns
        if ack_due_ns is not None and (due_ns is None or ack_due_ns < due_ns):
            due_ns = ack_due_ns
        if hello_ns is not None and (due_ns is None or hello_ns < due_ns):
            due_ns = hello_ns
        if due_ns is None:
            return
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer = self._loop.ring_at_ns(due_ns, self._ring)
        self._timer_ns = due_ns

    def _ring(self) -> None:
        self._timer = None
        now_ns, send = self._loop.now_ns, self._send
        if self._hello_ns is not None and self._hello_ns <= now_ns:
            self._hello()
        if self._ack_due_ns is not None and self._ack_due_ns <= now_ns:
            self._emit_ack()
        if send.deadline_ns is not None and send.deadline_ns <= now_ns:
            if send.tries + 1 >= self._settings.send_tries:
                self._fail(TimeoutError(errno.ETIMEDOUT, f"{self._names()}: no answer after {send.tries + 1} tries"))
                return
            if send.expire(now_ns):
                self._emit(Flag.PROBE, send.next_seq, b"")
            self._pump()
        if self._state is not State.GONE:
            self._arm()

    def _settle(self) -> None:
        """Notice that the program's or both ends' work is through."""
        if self._is_closing and not self._is_lost_told and not self._send.unsent_bytes:
            self._lose(None)
        if self._send.is_finished and self._take.is_ended and self._state is State.OPEN:
            self._state = State.LINGERING
            linger_ns = round(self._settings.linger_s * NS_PER_S)
            self._loop.ring_at_ns(self._loop.now_ns + linger_ns, self._leave)

    def _reset(self) -> None:
        if self._state is State.CALLING:
            self._fail(ConnectionRefusedError(errno.ECONNREFUSED, f"{self._names()}: nobody listens"))
        else:
            self._fail(ConnectionResetError(errno.ECONNRESET, f"{self._names()}: reset by the other end"))

    def _abandon(self) -> None:
        self._emit(Flag.RST, self._send.next_seq, b"")
        self._lose(None)
        self._leave()

    def _fail(self, error: OSError) -> None:
        if self.opened is not None and not self.opened.done():
            self.opened.set_exception(error)
        self._leave()
        self._lose(error)

    def _leave(self) -> None:
        """The node forgets the stream."""
        if self._state is State.GONE:
            return
        self._state = State.GONE
        self._hello_ns = self._ack_due_ns = self._send.deadline_ns = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end.streams.pop((self._port, self._peer_port), None)

    def _lose(self, error: OSError | None) -> None:
        """Tell the program once that its end is over."""
        self._is_closing = True
        if self._is_lost_told:
            return
        self._is_lost_told = True
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)
        if self.on_gone is not None:
            self._loop.call_soon(self.on_gone, context=self._context)

    def _in_context(self, call: Callable[..., Any], *args: Any) -> Any:  # Any: as call_in
        return call_in(self._context, self._tell_and_abort, call, *args)

    def _tell_and_abort(self, error: BaseException) -> None:
        self._tell(error)
        self.abort()

    def _tell(self, error: BaseException) -> None:
        context = {"message": f"{self._names()}: its protocol raised", "exception": error, "transport": self}
        self._loop.call_exception_handler(context)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. After the connection is lost they are dropped, as asyncio does."""
        if self._send.is_ending:
            if self._is_closing:
                return
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_lost_told or not data:
            return
        send = self._send
        send.write(bytes(data))
        self._pump()
        self._pause_above(send.unsent_bytes)

    def write_eof(self) -> None:
        """End this direction once everything is sent; the other one goes on."""
        if not self._send.is_ending and not self._is_lost_told:
            self._send.finish()
            self._pump()

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Send what was written, then end; nothing is read any more."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._take.waiting_bytes:  # bytes nobody read: Linux resets
            self._abandon()
            return
        self._send.finish()
        self._pump()
        self._settle()

    def abort(self) -> None:
        """End at once; the other end is reset."""
        if self._state is not State.GONE:
            self._abandon()
        else:
            self._lose(None)

    def pause_reading(self) -> None:
        """Let what comes wait; the window closes as it does."""
        self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Read what waits, and open the window again."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._loop.call_soon(self._catch_up, context=self._context.copy())

    def _catch_up(self) -> None:
        if self._is_closing or self._is_reading_paused or self._protocol is None:
            return
        self._hand_over()
        opened_bytes = self._take.window_bytes - self._told_window_bytes
        if self._state is State.OPEN and opened_bytes >= self._settings.mss_bytes:
            self._emit_ack()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left yet, those that fly apart."""
        return self._send.unsent_bytes

    def __repr__(self) -> str:
        return f"<{self._names()} {self._state.value}{' closing' if self._is_closing else ''}>"
