"""UDP traffic for the real-time rows: a sender in a process of its own, and a sink that the kernel stamps.

``python -m benchmarks.link_sim.udp_traffic SOURCE_PORT FRAME_BYTES RATE_BPS SECONDS PORT ...``: frames begin with the
time of ``time.monotonic_ns``; a rate of 0 means as fast as it can; several ports get the rate each.
"""

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

HOST = "127.0.0.1"
BUFFER_BYTES = 8 << 20
_STAMP = struct.Struct("=q")
_TURN_S = 0.002  # a paced sender sends what is due that often
_UNPACED_FRAMES = 16
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_SO_MEMINFO, _MEMINFO_BYTES, _DROPS_AT = 55, 36, 32  # the same; linux/sock_diag.h


@dataclass(slots=True)
class Arrivals:
    """Frames as the kernel put them into the sink: times on the clock of ``time.monotonic_ns``."""

    sent_ns: list[int] = field(default_factory=list)
    arrived_ns: list[int] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A bound socket with a buffer of its default size; nobody need read it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((HOST, 0))
        yield sink


@contextmanager
def recording(sink: socket.socket) -> Iterator[Arrivals]:
    """Note every arrival in a thread of its own until the block ends."""
    arrivals = Arrivals()
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sink.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    thread = Thread(target=_record, args=(sink, arrivals), name="sink")
    thread.start()
    try:
        yield arrivals
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", sink.getsockname())
        thread.join()


def _record(sink: socket.socket, arrivals: Arrivals) -> None:
    apart_ns = time.time_ns() - time.monotonic_ns()
    while True:
        frame, control, _, _ = sink.recvmsg(2048, 64)
        if not frame:
            return
        seconds, nanoseconds = struct.unpack("=qq", control[0][2])
        arrivals.arrived_ns.append(seconds * 1_000_000_000 + nanoseconds - apart_ns)
        arrivals.sent_ns.append(_STAMP.unpack_from(frame)[0])


class UnreadSink:
    """A sink that nobody reads: what finds it full has arrived as well."""

    def __init__(self, sink: socket.socket) -> None:
        self._sink = sink
        self._drained = 0
        sink.setblocking(False)

    def frames(self) -> int:
        """All that have arrived so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sink.recv(2048)
                self._drained += 1
        words = self._sink.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO_BYTES)
        return self._drained + int(struct.unpack_from("=I", words, _DROPS_AT)[0])


def free_port() -> int:
    """A port that nobody has now."""
    with listening() as probe:
        return int(probe.getsockname()[1])


def send(source_port: int, frame_bytes: int, rate_bps: int, seconds: float, ports: list[int]) -> None:
    """Send frames of ``frame_bytes`` to each port for so long."""
    tail, sent, started_s = bytes(frame_bytes - _STAMP.size), 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        source.bind((HOST, source_port))
        while (elapsed_s := time.monotonic() - started_s) < seconds:
            due = sent + _UNPACED_FRAMES if rate_bps == 0 else int(elapsed_s * rate_bps / 8 / frame_bytes)
            for _ in range(due - sent):
                for port in ports:
                    source.sendto(_STAMP.pack(time.monotonic_ns()) + tail, (HOST, port))
            sent = due
            if rate_bps:
                time.sleep(_TURN_S)


if __name__ == "__main__":
    send(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), [int(port) for port in sys.argv[5:]])
