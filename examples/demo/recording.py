"""A GNSS recording played into a PTY at one fix a second, in a loop, with the time of now.

A recording tells the time of its day; replayed as it is, every position would be years old. Times are replaced and
checksums made anew; the second kit's coordinates are moved. Both are said on the demo's page.
"""

import asyncio
import os
import tty
from datetime import UTC, datetime
from pathlib import Path

TIME_FIELDS = {"GGA": 1, "GNS": 1, "RMC": 1}
PLACE_FIELDS = {"GGA": 2, "GNS": 2, "RMC": 3}
EPOCH_S = 1.0


def epochs(recording: Path) -> list[list[str]]:
    """Sentences of each instant that has a fix, without checksum."""
    groups: list[list[str]] = [[]]
    for line in recording.read_text("latin-1").splitlines():
        if not line.startswith("$"):
            continue
        groups[-1].append(line[1:].split("*")[0])
        if line[3:6] == "RMC":
            groups.append([])
    return [group for group in groups if any(each[2:5] == "RMC" and ",A," in each for each in group)]


def stamped(sentence: str, now: datetime, shift_deg: tuple[float, float]) -> bytes:
    """The sentence with the time of ``now``, moved by (latitude, longitude) degrees, with its checksum."""
    fields = sentence.split(",")
    kind = fields[0][2:5]
    if kind in TIME_FIELDS and fields[TIME_FIELDS[kind]]:
        fields[TIME_FIELDS[kind]] = f"{now:%H%M%S}.{now.microsecond // 10_000:02d}"
    if kind == "RMC":
        fields[9] = f"{now:%d%m%y}"
    at = PLACE_FIELDS.get(kind)
    if at is not None and fields[at]:
        fields[at] = moved(fields[at], 2, shift_deg[0])
        fields[at + 2] = moved(fields[at + 2], 3, shift_deg[1])
    text = ",".join(fields)
    checksum = 0
    for character in text.encode("ascii"):
        checksum ^= character
    return f"${text}*{checksum:02X}\r\n".encode("ascii")


def moved(field: str, degree_digits: int, shift_deg: float) -> str:
    """A coordinate field (degrees and minutes) moved by ``shift_deg``."""
    degrees = int(field[:degree_digits]) + float(field[degree_digits:]) / 60 + shift_deg
    whole = int(degrees)
    return f"{whole:0{degree_digits}d}{(degrees - whole) * 60:07.4f}"


class GnssPlayer:
    """One receiver: a PTY whose far end a gnss driver opens."""

    def __init__(self, recording: Path, shift_deg: tuple[float, float]) -> None:
        self._epochs = epochs(recording)
        self._shift_deg = shift_deg
        self._near, far = os.openpty()
        tty.setraw(far)
        self.port = os.ttyname(far)
        self._far = far  # kept open, or the port would hang up between two starts of the kit
        os.set_blocking(self._near, False)

    async def run(self) -> None:
        """Play for ever."""
        while True:
            for epoch in self._epochs:
                now = datetime.now(UTC)
                for sentence in epoch:
                    try:
                        os.write(self._near, stamped(sentence, now, self._shift_deg))
                    except BlockingIOError:
                        break  # nobody reads just now; a receiver does not wait either
                await asyncio.sleep(EPOCH_S)

    def close(self) -> None:
        """Hang up."""
        os.close(self._near)
        os.close(self._far)
