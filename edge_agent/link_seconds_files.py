"""Files of raw seconds: one a link, peer and day in UTC, under ``link-seconds/LINK/PEER/`` of the data folder.

A day that is over is compressed; 40 days are kept, at most ``TOTAL_BYTES_MAX`` of them, the oldest go first. Nothing
is synced: a killed process loses what it had not written, a power cut also what the system had not.
"""

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from edge_agent.link_seconds import COLUMNS, HEADER, Place, SecondRow, Taken, read_row, row_text

FOLDER = "link-seconds"
NOBODY = "_"
"""The peer's folder while nobody was heard on a link; no node has such an id."""
DAY_S = 86_400
DAYS_KEPT = 40
FILE_BYTES_MAX = 6 << 20
"""Of one day before it is compressed: 86,400 rows of a busy link take less; what is beyond is not written, and so
counts as unobserved."""
TOTAL_BYTES_MAX = 256 << 20
CLOCK_STEP_S = 1.0
"""By so much the wall clock may be off what the last ``run`` line says before another one is written."""
GRACE_S = 3600
"""A day is compressed so long after its end: rows of its last seconds come late."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """UTC seconds less seconds of the node's clock, whole ones, and whether somebody had set the wall clock."""

    offset_s: int
    is_set: bool


def next_offset(before: ClockOffset | None, now_s: float, wall_s: float, *, is_set: bool) -> ClockOffset:
    """What holds from now on: as before, unless the wall clock was set, or drifted by more than a second."""
    exact_s = wall_s - now_s
    if before is None or before.is_set != is_set or abs(exact_s - before.offset_s) > CLOCK_STEP_S:
        return ClockOffset(round(exact_s), is_set)
    return before


@dataclass(slots=True)
class _Open:
    """A file this process has written to: what its last ``run`` line says, and how long it is."""

    from_second: int
    clock: ClockOffset
    size_bytes: int


@dataclass(slots=True)
class SecondFiles:
    """Writes rows. All calls block for the disk and raise OSError. ``run`` tells one process from the next."""

    folder: Path
    node_id: str
    run: str
    transports: dict[str, str]
    dropped_rows: int = 0
    """Rows beyond FILE_BYTES_MAX."""
    _files: dict[Path, _Open] = field(default_factory=dict)

    def write(self, rows: list[Taken], clock: ClockOffset) -> None:
        """Append rows, each to the file of its day."""
        by_path: dict[Path, list[Taken]] = {}
        for row in rows:
            day = datetime.fromtimestamp(row.second + clock.offset_s, UTC).date()
            by_path.setdefault(self._path(row.place, day), []).append(row)
        for path, of_file in by_path.items():
            self._append(path, of_file, clock)

    def _path(self, place: Place, day: date) -> Path:
        return self.folder / place.link / (place.peer or NOBODY) / f"{day.isoformat()}.csv"

    def _append(self, path: Path, rows: list[Taken], clock: ClockOffset) -> None:
        text = ""
        known = self._files.get(path)
        if known is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            size_bytes = path.stat().st_size if path.exists() else 0
            known = _Open(rows[0].second, clock, size_bytes)
            place = rows[0].place
            text = (
                "\n"  # ends a line that a power cut tore
                if size_bytes
                else f"{HEADER}\nlink,{self.node_id},{place.link},{place.peer},{self.transports.get(place.link, '')}\n"
                f"# {COLUMNS}\n"
            )
        if text or known.clock != clock:
            known.from_second, known.clock = rows[0].second, clock
            settled = "set" if clock.is_set else "unset"
            text += f"run,{self.run},{known.from_second},{known.from_second + clock.offset_s},{settled}\n"
        text += "".join(f"{row_text(row, known.from_second)}\n" for row in rows)
        if known.size_bytes + len(text) > FILE_BYTES_MAX:
            self.dropped_rows += len(rows)
            return
        with path.open("a", encoding="ascii") as file:
            file.write(text)
        known.size_bytes += len(text)
        self._files[path] = known

    def tidy(self, wall_s: float) -> None:
        """Compress days that are over, and remove what is too old or too much."""
        ended = datetime.fromtimestamp(wall_s - GRACE_S, UTC).date().isoformat()
        for path in sorted(self.folder.glob("*/*/*.csv")):
            if path.stem < ended:
                packed, part = path.with_suffix(".csv.gz"), path.with_suffix(".csv.gz.part")
                part.write_bytes(gzip.compress(_whole(path)))
                os.replace(part, packed)
                path.unlink()
                self._files.pop(path, None)
        first = (datetime.fromtimestamp(wall_s, UTC).date() - timedelta(days=DAYS_KEPT - 1)).isoformat()
        kept = sorted(self.folder.glob("*/*/*.csv*"), key=lambda each: each.name[:10], reverse=True)
        total_bytes = 0
        for path in kept:
            total_bytes += path.stat().st_size
            if path.name[:10] < first or total_bytes > TOTAL_BYTES_MAX:
                path.unlink()


def _whole(path: Path) -> bytes:
    """All there is of a day, by its name before it is compressed: the compressed part, and what came later."""
    packed = path.with_suffix(".csv.gz")
    earlier = gzip.decompress(packed.read_bytes()) if packed.exists() else b""
    later = path.read_bytes() if path.exists() else b""
    return earlier if earlier.endswith(later) else earlier + later  # killed between the two, it is in both


@dataclass(slots=True)
class DaySeconds:
    """What the files say of one link and peer on one day.

    ``rows``: of each second in UTC one for each run and moment that claims it: more than one where a clock went back.
    """

    place: Place
    rows: dict[int, dict[tuple[str, int], list[SecondRow]]] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    unset_rows: int = 0
    """Written while nobody had set the clock: the day may be another one."""
    unread_lines: int = 0


def read_day(folder: Path, place: Place, day: date) -> DaySeconds:
    """The rows of a day; empty where there is no file. Raises OSError."""
    read = DaySeconds(place)
    path = folder / place.link / (place.peer or NOBODY) / f"{day.isoformat()}.csv"
    _read_lines(read, _whole(path).decode("ascii", "replace").split("\n"))
    return read


def _read_lines(read: DaySeconds, lines: list[str]) -> None:
    run, from_second, offset_s, is_set = "", 0, 0, True
    for line in lines[:-1]:  # the last one has no end: being written, or torn
        if not line or line[0] == "#" or line == HEADER or line.startswith("link,"):
            continue
        try:
            if line.startswith("run,"):
                _, run, first, wall, settled = line.split(",")
                from_second, offset_s, is_set = int(first), int(wall) - int(first), settled == "set"
                read.runs.add(run)
                continue
            row = read_row(line)
        except ValueError:
            read.unread_lines += 1
            continue
        second = from_second + row.second
        read.rows.setdefault(second + offset_s, {}).setdefault((run, second), []).append(row)
        read.unset_rows += not is_set


def places_of(folder: Path, day: date) -> list[Place]:
    """Links and peers of which there is a file of this day."""
    found = {path.parent for path in folder.glob(f"*/*/{day.isoformat()}.csv*") if not path.name.endswith(".part")}
    return sorted(Place(each.parent.name, "" if each.name == NOBODY else each.name) for each in found)


def days_of(folder: Path) -> Iterator[str]:
    """Days of which there is any file, oldest first."""
    yield from sorted({path.name[:10] for path in folder.glob("*/*/*.csv*")})
