"""GNSS receiver that plays a log of NMEA 0183 sentences, one epoch each period.

Source: NMEA 0183 as in published receiver logs (talkers GP, GN, GB, BD, PQ, ...): `$`, fields, `*`, XOR of all between
them in two hexadecimal digits, CR LF. The bytes of the log go out as they are, wrong ones as well.
"""

from collections.abc import Iterable
from typing import ClassVar

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.stand_in import COMMON_FAULTS, StandIn

_REPEATED = (b"GSV", b"GSA", b"TXT")  # sentence types that occur several times in one epoch
EPOCH_BYTES_MAX = 16_384


def epochs_of(log: bytes) -> list[bytes]:
    """Cut a log into epochs: each begins with the sentence type that the first one begins with.

    Lines that begin with `#` are comments; all others are played, sentence or not. Raises DeviceError when there is no
    sentence.
    """
    lines = [line for line in log.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    heads = [_head(line.lstrip()) for line in lines]
    first = next((head for head in heads if head and not head.endswith(_REPEATED)), None)
    if first is None:
        raise DeviceError(f"log of {len(lines)} lines: allowed is NMEA with one sentence at least that begins an epoch")
    epochs: list[bytes] = []
    for head, line in zip(heads, lines, strict=True):
        if head == first or not epochs:
            epochs.append(b"")
        epochs[-1] += line + b"\r\n"
    return epochs


class GnssReceiver(StandIn):
    """Says one epoch each ``1 / rate_hz`` seconds, from the moment of power on; over and over with ``loops``.

    What the baud rate cannot carry in a period is left out by whole epochs (``counts["overrun_epochs"]``), as
    receivers do. ``SILENT`` is a pause, ``WRONG_CHECKSUM`` spoils every sentence of an epoch. What the host sends is
    counted (``host_bytes``) and not obeyed.
    """

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS | {FaultKind.WRONG_CHECKSUM}

    def __init__(
        self,
        log: bytes,
        *,
        rate_hz: float = 1.0,
        baud_rate: int | None = 9600,
        loops: bool = True,
        faults: Iterable[Fault] = (),
        seed: int = 1,
    ) -> None:
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)
        if not 0.01 <= rate_hz <= 50:
            raise DeviceError(f"rate_hz {rate_hz}: allowed is 0.01 to 50")
        self._epochs = epochs_of(log)
        longest_bytes = max(len(epoch) for epoch in self._epochs)
        if longest_bytes > EPOCH_BYTES_MAX:
            raise DeviceError(f"log with an epoch of {longest_bytes} bytes: allowed is up to {EPOCH_BYTES_MAX}")
        self._loops = loops
        self._rate_hz = rate_hz
        self._started_s = 0.0
        self._periods = 0  # since the start: counted, so that the times do not drift
        self._number = 0

    def _next_wake_s(self) -> float | None:
        if self._number >= len(self._epochs) and not self._loops:
            return None
        return self._started_s + self._periods / self._rate_hz

    def _wake(self, now_s: float) -> None:
        while (due_s := self._next_wake_s()) is not None and due_s <= now_s:
            self._periods += 1
            epoch = self._epochs[self._number % len(self._epochs)]
            self._number += 1
            self._play(epoch, due_s)

    def _play(self, epoch: bytes, due_s: float) -> None:
        busy_until_s = self._outbox.idle_from_s()
        if busy_until_s > due_s:
            self._note("overrun_epochs")
            return
        if self._script.take(FaultKind.WRONG_CHECKSUM, due_s) is not None:
            self._note("wrong_checksum")
            epoch = b"".join(_spoiled(line) for line in epoch.splitlines(keepends=True))
        self.counts["epochs"] += 1
        self._say(epoch, after_s=due_s - self._now_s)

    def _receive(self, received: bytes, now_s: float) -> None:
        self.counts["host_bytes"] += len(received)

    def _restart(self, now_s: float) -> None:
        self._started_s, self._periods = now_s, 0


def _head(line: bytes) -> bytes:
    """Talker and type of a sentence; empty for a line that is none."""
    return line[1:].split(b",", 1)[0] if line.startswith((b"$", b"!")) else b""


def _spoiled(line: bytes) -> bytes:
    """The sentence with the last digit of its checksum changed."""
    body, star, digits = line.rstrip().rpartition(b"*")
    if not star or not digits:
        return line
    last = b"1" if digits[-1:] == b"0" else b"0"
    return body + star + digits[:-1] + last + b"\r\n"
