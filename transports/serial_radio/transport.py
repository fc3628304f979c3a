"""The serial line itself: settings, the open port, and frames in and out without ever waiting.

The rate counts every byte of a frame on the wire (stuffing, CRC and delimiters too) as 8 bits; start and stop bits are
in the default already: 9600 baud 8N1 carries 960 bytes, that is 7680 bit/s. It is a ceiling the node paces by, because
a port takes several kilobytes before it pushes back, and each of them would delay FLASH by a millisecond.
"""

import asyncio
import contextlib
import os
import random
import termios
from collections.abc import Hashable, Mapping
from typing import ClassVar

import serial

from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.stream_framing import StreamDeframer, StreamFrame, StreamFramer
from edge_agent.ports import PluginLostError, Setting, Table, TransportPort
from transports.serial_radio.turns import Line, TurnKeeper

BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
MTU_MIN_BYTES = 128  # LinkLimits takes no less; 4.5 s at 300 baud
MTU_MAX_BYTES = 4096
FRAME_S = 0.25  # DESIGN section 2: a fragment is at most this long on its link

_BITS_A_BYTE_8N1 = 10  # a start bit, 8 of data, a stop bit
_PAUSE_S = 0.1  # after this long without writing, noise may stand in the peer's buffer
_READ_MAX_BYTES = 4096


def default_mtu_bytes(rate_bps: float) -> int:
    """The longest frame that is at most 250 ms on the air, framing included, from 128 to 1400 bytes."""
    wire_bytes = int(rate_bps * FRAME_S / 8)
    mtu_bytes = wire_bytes - StreamFramer(mtu_bytes=wire_bytes).overhead_bytes
    return max(MTU_MIN_BYTES, min(1400, mtu_bytes))


class SerialRadioTransport:
    """One serial port to one other side, full duplex unless ``half_duplex``."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "port": Setting(kind=str, allowed="the path of a serial device, such as /dev/ttyUSB0", accepts=bool),
        "baud_rate": Setting(
            kind=int,
            allowed=f"one of {', '.join(map(str, BAUD_RATES))}",
            default=9600,
            accepts=lambda baud_rate: baud_rate in BAUD_RATES,
        ),
        "rate_bps": Setting(
            kind=float,
            allowed="bits a second in the air, 50 up to 0.8 of baud_rate",
            default=0.0,
            accepts=lambda rate_bps: rate_bps >= 50,
        ),
        "half_duplex": Setting(kind=bool, allowed="true when only one side can send at a time", default=False),
        "turnaround_s": Setting(
            kind=float,
            allowed="0 to 5 seconds that the radio needs from hearing to sending",
            default=0.05,
            accepts=lambda turnaround_s: 0 <= turnaround_s <= 5,
        ),
        "mtu_bytes": Setting(
            kind=int,
            allowed=f"{MTU_MIN_BYTES} to {MTU_MAX_BYTES} bytes; left out: 250 ms of the rate",
            default=0,
            accepts=lambda mtu_bytes: MTU_MIN_BYTES <= mtu_bytes <= MTU_MAX_BYTES,
        ),
        "rtscts": Setting(kind=bool, allowed="true when the modem stops us by RTS/CTS", default=False),
    }

    def __init__(self, table: Table) -> None:
        self._path: str = table["port"]
        self._baud_rate: int = table["baud_rate"]
        self._rtscts: bool = table["rtscts"]
        port_bps = self._baud_rate * 8 / _BITS_A_BYTE_8N1
        rate_bps = table["rate_bps"] or port_bps
        if rate_bps > port_bps:
            raise ValueError(
                f"rate_bps {rate_bps:g} is more than {self._baud_rate} baud 8N1 carries ({port_bps:g} bit/s)"
            )
        mtu_bytes = table["mtu_bytes"] or default_mtu_bytes(rate_bps)
        self._is_half_duplex: bool = table["half_duplex"]
        self._framer = StreamFramer(mtu_bytes=mtu_bytes)
        self._limits = LinkLimits(
            shape=LinkShape.STREAM,
            mtu_bytes=mtu_bytes,
            overhead_bytes=self._framer.overhead_bytes,
            rate_bps=rate_bps,
            rate_is_ceiling=True,
            half_duplex=self._is_half_duplex,
            turnaround_s=table["turnaround_s"] if self._is_half_duplex else 0.0,
        )

    async def run(self, port: TransportPort) -> None:
        """Carry frames until cancelled. Raises PluginLostError when the device is missing, busy or unplugged."""
        device = self._open()
        try:
            if self._is_half_duplex:
                await _HalfDuplexLine(device, port, self._framer, self._limits).run()
            else:
                await _SerialLine(device, port, self._framer, self._limits).run()
        finally:
            _discard_and_close(device)

    def _open(self) -> serial.Serial:
        try:
            return serial.Serial(
                self._path, self._baud_rate, timeout=0, write_timeout=0, rtscts=self._rtscts, exclusive=True
            )
        except (OSError, ValueError, termios.error) as error:
            raise PluginLostError(f"serial port {self._path}: {_open_reason(error)}") from error


class _SerialLine:
    """An open port at work. Between the node and the device stands at most one frame."""

    def __init__(self, device: serial.Serial, port: TransportPort, framer: StreamFramer, limits: LinkLimits) -> None:
        self._device = device
        self._fd: int = device.fileno()
        self._port = port
        self._framer = framer
        self._limits = limits
        self._byte_s = 8 / (limits.rate_bps or float(device.baudrate))
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._deframer = StreamDeframer(frame_max_bytes=MTU_MAX_BYTES, count=port.count)
        self._pending = b""
        self._told_busy = False
        self._retry: asyncio.TimerHandle | None = None
        self._written_at_s = -_PAUSE_S

    async def run(self) -> None:
        """Return never: raise PluginLostError when the device is gone."""
        try:
            self._loop.add_reader(self._fd, self._read)
            self._port.link_up(self._limits, self.send)
            raise PluginLostError(f"serial port {self._device.port}: {await asyncio.shield(self._lost)}")
        finally:
            self._stop()

    def send(self, address: Hashable | None, frame: bytes) -> None:
        """Write one frame now, or keep it when the frame before is still in the port; what exceeds that is dropped."""
        if len(frame) > self._limits.mtu_bytes:
            self._port.count("oversize_frame")
        elif self._lost.done():
            self._port.count("send_failed")
        else:
            self._submit(frame)

    def _submit(self, frame: bytes) -> None:
        self._write_frame(frame, is_last=False)

    def _frames_arrived(self, frames: list[StreamFrame]) -> None:
        batch = [(None, each.frame) for each in frames if each.frame]
        if batch:
            self._port.frames_received(batch)

    def _stop(self) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._retry is not None:
            self._retry.cancel()
        if not self._lost.done():
            self._lost.set_result("closed")

    def _read(self) -> None:
        try:
            received = os.read(self._fd, _READ_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if not received:  # readable without bytes: hung up
            self._lose("unplugged or hung up")
            return
        self._receive(received)

    def _receive(self, received: bytes) -> None:
        frames = self._deframer.feed(received)
        if any(each.is_last for each in frames):
            self._port.count("peer_is_half_duplex")  # both sides need the same setting
        self._frames_arrived(frames)

    def _write_frame(self, frame: bytes, *, is_last: bool) -> None:
        if self._pending:
            self._port.count("send_buffer_full")
            return
        now_s = self._loop.time()
        after_pause = now_s - self._written_at_s >= _PAUSE_S
        self._pending = self._framer.encode(frame, is_last=is_last, after_pause=after_pause)
        self._write_pending()

    @property
    def _is_busy(self) -> bool:
        return bool(self._pending)

    def _tell_busy(self) -> None:
        """Let the node keep its frames while this line takes none. It may send from inside this call."""
        if self._is_busy is not self._told_busy and not self._lost.done():
            self._told_busy = self._is_busy
            self._port.link_busy(is_busy=self._told_busy)

    def _write_pending(self) -> None:
        """Write what waits, and say so when the port takes no more."""
        self._write_some()
        self._tell_busy()

    def _write_some(self) -> None:
        """Write once the frame before has left the port: a UART may run 2 % slower than it says."""
        self._retry = None
        try:
            unsent_bytes = self._device.out_waiting
            if unsent_bytes > self._limits.mtu_bytes:
                self._loop.remove_writer(self._fd)  # it would fire without end
                self._retry = self._loop.call_later(unsent_bytes * self._byte_s / 2, self._write_pending)
                return
            written_bytes = os.write(self._fd, self._pending)
        except BlockingIOError:
            written_bytes = 0
        except OSError as error:
            self._pending = b""
            self._lose(error.strerror or str(error))
            return
        self._written_at_s = self._loop.time()
        self._pending = self._pending[written_bytes:]
        if self._pending:
            self._loop.add_writer(self._fd, self._write_pending)
        else:
            self._loop.remove_writer(self._fd)

    def _lose(self, reason: str) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if not self._lost.done():
            self._lost.set_result(reason)


class _HalfDuplexLine(_SerialLine):
    """The same, sending only in its own turns."""

    def __init__(self, device: serial.Serial, port: TransportPort, framer: StreamFramer, limits: LinkLimits) -> None:
        super().__init__(device, port, framer, limits)
        line = Line(
            byte_s=self._byte_s,
            overhead_bytes=framer.overhead_bytes,
            mtu_bytes=limits.mtu_bytes,
            turnaround_s=limits.turnaround_s,
        )
        self._turns = TurnKeeper(line, random.Random())  # the two sides must differ, so from the system's entropy
        self._timer: asyncio.TimerHandle | None = None

    def _submit(self, frame: bytes) -> None:
        if not self._turns.offer(frame):
            self._port.count("turn_queue_full")
        self._take_turn()

    @property
    def _is_busy(self) -> bool:
        return bool(self._pending) or not self._turns.wants_frame

    def _receive(self, received: bytes) -> None:
        now_s = self._loop.time()
        self._turns.hear(now_s)
        frames = self._deframer.feed(received)
        for frame, is_last in frames:
            self._turns.receive(is_last=is_last, is_empty=not frame, now_s=now_s)
        self._frames_arrived(frames)
        self._take_turn()

    def _take_turn(self) -> None:
        while (write := self._turns.poll(self._loop.time())) is not None:
            self._write_frame(write.frame, is_last=write.is_last)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wakeup_s = self._turns.next_wakeup()
        if wakeup_s is not None and not self._lost.done():
            self._timer = self._loop.call_at(wakeup_s, self._take_turn)
        self._tell_busy()

    def _stop(self) -> None:
        super()._stop()
        if self._timer is not None:
            self._timer.cancel()


def _open_reason(error: Exception) -> str:
    """What an operator can act on, without pyserial's and the system's repetition."""
    code = getattr(error, "errno", None)
    if isinstance(error, serial.SerialException) and "lock" in str(error):
        return "in use by another program"
    if code is not None:
        return os.strerror(code)
    return "not a serial device" if "configure port" in str(error) else str(error)


def _discard_and_close(device: serial.Serial) -> None:
    """Close without waiting for the device to send what is left: the kernel would wait up to 30 s."""
    with contextlib.suppress(OSError, termios.error):  # unplugged: nothing is left to discard
        device.reset_output_buffer()
    device.close()
