"""Send side of a stream: what waits, what flies, what is lost and when to try again.

A small TCP: cumulative and selective acknowledgement, loss by three later segments (RFC 6675 in spirit) or by a timer
(RFC 6298, Karn's rule), Reno's window (RFC 5681, first window of RFC 6928). Times are integer nanoseconds.
"""

from bisect import bisect_left
from collections import deque
from operator import attrgetter

from link_sim.link.services import NS_PER_S
from link_sim.virtual.endpoints.segment import Flag, StreamSettings

_LATER_SEGMENTS = 3  # RFC 5681's duplicate threshold
_FIRST_WINDOW_SEGMENTS = 10  # RFC 6928
_WINDOW_MAX_BYTES = 1 << 30  # what window scaling can tell (RFC 7323, section 2.3)
_seq = attrgetter("seq")


class Piece:
    """One segment's worth of the stream, from when it is sent until it is acknowledged."""

    __slots__ = ("end", "flags", "is_done", "is_lost", "order", "payload", "sent_ns", "seq", "tries")

    def __init__(self, seq: int, end: int, flags: int, payload: bytes, order: int, sent_ns: int) -> None:
        self.seq, self.end, self.flags, self.payload = seq, end, flags, payload
        self.order, self.sent_ns, self.tries = order, sent_ns, 1
        self.is_done = self.is_lost = False


class SendSide:
    """``write`` bytes, take ``next_piece`` until None, ``acknowledge``; ``expire`` is due at ``deadline_ns``."""

    __slots__ = (
        "_backoff",
        "_flight",
        "_highest_order",
        "_is_fin_asked",
        "_is_fin_sent",
        "_least_ns",
        "_longest_ns",
        "_lost",
        "_mss",
        "_order",
        "_pipe_bytes",
        "_recover",
        "_rto_ns",
        "_slow_start_bytes",
        "_srtt_ns",
        "_unjudged",
        "_unsent",
        "_var_ns",
        "acked",
        "cwnd_bytes",
        "deadline_ns",
        "next_seq",
        "right_edge",
        "tries",
        "unsent_bytes",
    )

    def __init__(self, settings: StreamSettings, mss_bytes: int, window_bytes: int) -> None:
        self.acked = self.next_seq = 0
        self.right_edge = window_bytes
        """How far the other end lets us go."""
        self.unsent_bytes = 0
        self.deadline_ns: int | None = None
        self.tries = 0
        """Timers that ran out since the other end was heard of last."""
        self.cwnd_bytes = _FIRST_WINDOW_SEGMENTS * mss_bytes
        self._slow_start_bytes = 1 << 40
        self._mss = mss_bytes
        self._unsent: deque[bytes] = deque()
        self._flight: deque[Piece] = deque()  # in order of the stream
        self._unjudged: deque[Piece] = deque()  # in order of their first transmission
        self._lost: deque[Piece] = deque()
        self._pipe_bytes = 0
        self._order = 0
        self._highest_order = -1
        self._recover = 0
        self._is_fin_asked = self._is_fin_sent = False
        self._least_ns = round(settings.least_timeout_s * NS_PER_S)
        self._longest_ns = round(settings.longest_timeout_s * NS_PER_S)
        self._rto_ns = round(settings.first_timeout_s * NS_PER_S)
        self._backoff = 0
        self._srtt_ns = self._var_ns = 0

    @property
    def has_more(self) -> bool:
        """Whether anything waits for its turn, sent before or not."""
        return bool(self.unsent_bytes or self._lost or (self._is_fin_asked and not self._is_fin_sent))

    @property
    def is_finished(self) -> bool:
        """Whether the end of the stream is acknowledged."""
        return self._is_fin_sent and not self._flight

    @property
    def is_ending(self) -> bool:
        """Whether ``finish`` was called."""
        return self._is_fin_asked

    def write(self, payload: bytes) -> None:
        """Bytes to send, in order."""
        self._unsent.append(payload)
        self.unsent_bytes += len(payload)

    def finish(self) -> None:
        """Nothing comes after what was written."""
        self._is_fin_asked = True

    def next_piece(self, now_ns: int) -> Piece | None:
        """What may leave now, or None."""
        while self._lost:
            sent = self._lost[0]
            if sent.is_done or not sent.is_lost:
                self._lost.popleft()
                continue
            if self._pipe_bytes and self._pipe_bytes + len(sent.payload) > self.cwnd_bytes:
                return None
            self._lost.popleft()
            return self._again(sent, now_ns)
        if self.unsent_bytes:
            return self._fresh(now_ns)
        if self._is_fin_asked and not self._is_fin_sent:
            self._is_fin_sent = True
            return self._launch(b"", Flag.FIN, 1, now_ns)
        return None

    def _fresh(self, now_ns: int) -> Piece | None:
        length = self._mss if self.unsent_bytes > self._mss else self.unsent_bytes
        allowed_bytes = self.right_edge - self.next_seq
        if allowed_bytes < length or self.cwnd_bytes - self._pipe_bytes < length:
            if self._flight or allowed_bytes < 1:  # else silly windows: wait for more room
                if self.deadline_ns is None:  # a closed window: ask for it from time to time
                    self._arm(now_ns)
                return None
            length = max(1, min(length, allowed_bytes))
        return self._launch(self._cut(length), Flag.NONE, length, now_ns)

    def _cut(self, length: int) -> bytes:
        """The first bytes that wait."""
        self.unsent_bytes -= length
        first = self._unsent[0]
        if len(first) == length:
            return self._unsent.popleft()
        if len(first) > length:
            self._unsent[0] = first[length:] if len(first) < 65_536 else self._split(first, length)
            return first[:length]
        pieces, left_bytes = [], length
        while left_bytes:
            first = self._unsent.popleft()
            if len(first) > left_bytes:
                self._unsent.appendleft(first[left_bytes:])
                first = first[:left_bytes]
            pieces.append(first)
            left_bytes -= len(first)
        return b"".join(pieces)

    def _split(self, first: bytes, length: int) -> bytes:
        """What is left of a long write, in parts, so that cutting it up is not quadratic."""
        step = 32_768
        self._unsent.popleft()
        self._unsent.extendleft(reversed([first[at : at + step] for at in range(length, len(first), step)]))
        return self._unsent[0]

    def _launch(self, payload: bytes, flags: int, length: int, now_ns: int) -> Piece:
        seq = self.next_seq
        self.next_seq = end = seq + length
        self._order = order = self._order + 1
        sent = Piece(seq, end, flags, payload, order, now_ns)
        self._flight.append(sent)
        self._unjudged.append(sent)
        self._pipe_bytes += len(payload)
        if self.deadline_ns is None:
            self._arm(now_ns)
        return sent

    def _again(self, sent: Piece, now_ns: int) -> Piece:
        self._order += 1
        sent.order, sent.sent_ns, sent.is_lost = self._order, now_ns, False
        sent.tries += 1
        self._pipe_bytes += len(sent.payload)
        self._arm(now_ns)
        return sent

    def _arm(self, now_ns: int) -> None:
        self.deadline_ns = now_ns + min(self._rto_ns << self._backoff, self._longest_ns)

    def acknowledge(self, ack: int, window_bytes: int, sacks: tuple[int, ...], now_ns: int) -> None:
        """The other end has all before ``ack``, and the segments that start at ``sacks``."""
        if ack > self.next_seq:
            return
        flight, edge = self._flight, ack + window_bytes
        if not flight:  # a closed window that is told again and again is an other end that lives
            self.tries = 0
        if ack <= self.acked and edge <= self.right_edge and not sacks:  # bytes came, and nothing else is new
            return
        if edge > self.right_edge:
            self.right_edge = edge
            if not flight:
                self.deadline_ns, self._backoff = None, 0
        rtt_ns = -1
        if ack > self.acked:
            while flight and flight[0].end <= ack:
                rtt_ns = self._done(flight.popleft(), now_ns, rtt_ns)
            self._grow(ack - self.acked)
            self.acked = ack
            self._backoff = self.tries = 0
            if flight or self._lost:
                self._arm(now_ns)
            else:
                self.deadline_ns = None
        for seq in sacks:
            at = bisect_left(flight, seq, key=_seq)
            if at < len(flight) and flight[at].seq == seq:
                rtt_ns = self._done(flight[at], now_ns, rtt_ns)
        if rtt_ns >= 0:
            self._learn(rtt_ns)
        if self._unjudged and self._unjudged[0].order <= self._highest_order - _LATER_SEGMENTS:
            self._judge()

    def _done(self, sent: Piece, now_ns: int, rtt_ns: int) -> int:
        """The other end has it; the newest round-trip time known so far."""
        if sent.is_done:
            return rtt_ns
        sent.is_done = True
        if not sent.is_lost:
            self._pipe_bytes -= len(sent.payload)
        if sent.tries > 1:  # Karn: nobody knows which of them was heard
            return rtt_ns
        if sent.order > self._highest_order:
            self._highest_order = sent.order
        return now_ns - sent.sent_ns

    def _grow(self, acked_bytes: int) -> None:
        if self.cwnd_bytes < self._slow_start_bytes:
            self.cwnd_bytes += acked_bytes
        elif self.acked >= self._recover:
            self.cwnd_bytes += max(1, self._mss * acked_bytes // self.cwnd_bytes)
        if self.cwnd_bytes > _WINDOW_MAX_BYTES:
            self.cwnd_bytes = _WINDOW_MAX_BYTES

    def _learn(self, rtt_ns: int) -> None:
        """RFC 6298, section 2, in integers."""
        if not self._srtt_ns:
            self._srtt_ns, self._var_ns = rtt_ns, rtt_ns // 2
        else:
            self._var_ns += (abs(self._srtt_ns - rtt_ns) - self._var_ns) // 4
            self._srtt_ns += (rtt_ns - self._srtt_ns) // 8
        self._rto_ns = min(self._longest_ns, max(self._least_ns, self._srtt_ns + 4 * self._var_ns))

    def _judge(self) -> None:
        """Segments that three later ones overtook are lost."""
        limit, unjudged = self._highest_order - _LATER_SEGMENTS, self._unjudged
        while unjudged and unjudged[0].order <= limit:
            sent = unjudged.popleft()
            if not sent.is_done and sent.tries == 1 and not sent.is_lost:
                self._lose(sent)
                if sent.seq >= self._recover:
                    self._slow_start_bytes = self.cwnd_bytes = max(2 * self._mss, self.cwnd_bytes // 2)
                    self._recover = self.next_seq

    def _lose(self, sent: Piece) -> None:
        sent.is_lost = True
        self._pipe_bytes -= len(sent.payload)
        self._lost.append(sent)

    def expire(self, now_ns: int) -> bool:
        """The timer ran out: all that flies is lost. Whether a probe of a closed window shall leave."""
        self.tries += 1
        self._backoff = min(self._backoff + 1, 16)
        self._arm(now_ns)
        if not self._flight:
            return bool(self.unsent_bytes)
        if self.tries == 1:
            self._slow_start_bytes = max(2 * self._mss, self._pipe_bytes // 2)
        self.cwnd_bytes = self._mss
        self._recover = self.next_seq
        self._lost.clear()
        self._unjudged.clear()
        for sent in self._flight:
            if not sent.is_done:
                if sent.is_lost:
                    self._lost.append(sent)
                else:
                    self._lose(sent)
        return False
