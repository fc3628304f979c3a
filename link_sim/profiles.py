"""Named links, each number with its source, and profiles read from a TOML file.

"up" is the way from the kit to the command post, or from PTY a to PTY b.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from link_sim.delays import JitterShape
from link_sim.errors import ProfileError
from link_sim.link_profile import LinkProfile
from link_sim.queues import QueueKind
from link_sim.traces import LinkTrace

UDP_IPV4_OVERHEAD_BYTES = 28  # RFC 791 header without options, 20; RFC 768, 8
SERIAL_FRAMING_BYTES = 8  # COBS code and end, 2; CRC, 4; a second code byte beyond 254 bytes and a flag, 2
_ENUMS: Mapping[str, type[JitterShape] | type[QueueKind]] = MappingProxyType(
    {"jitter_shape": JitterShape, "queue_kind": QueueKind}
)
_MAY_BE_NONE = frozenset(
    ("rate_bps", "mtu_bytes", "trace", "schedule_period_s", "interval_s", "poll_s", "step_period_s", "queue_s")
)
BITS_PER_SERIAL_BYTE = 10  # 8N1: one start bit, eight of data, one stop bit


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProfile:
    """Both directions of a link."""

    name: str
    up: LinkProfile
    down: LinkProfile


def serial_rate_bps(baud_rate: int) -> int:
    """Payload bits a second of an 8N1 line: 9600 baud carry 960 bytes, 7,680 bit, a second."""
    return baud_rate * 8 // BITS_PER_SERIAL_BYTE


def serial_profile(baud_rate: int, *, overhead_bytes: int = 0) -> LinkProfile:
    """One direction of a serial line or of a radio that is as fast as its port.

    The queue is the buffer of a modem: 4 KiB, as N_TTY_BUF_SIZE of the Linux tty layer.
    """
    return LinkProfile(rate_bps=serial_rate_bps(baud_rate), queue_bytes=4096, overhead_bytes=overhead_bytes)


def _both(name: str, profile: LinkProfile) -> PathProfile:
    return PathProfile(name=name, up=profile, down=profile)


def _named() -> Mapping[str, PathProfile]:
    four_g = LinkProfile(
        rate_bps=10_000_000,  # scenario A of the project's bonding comparison ("4g-good")
        delay_s=0.025,  # the same: RTT 50 ms, split evenly
        queue_bytes=250_000,  # the same: 200 ms of queue at 10 Mbit/s
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )
    vsat_up = LinkProfile(
        rate_bps=512_000,  # scenario A ("vsat-geo"): the usual uplink of a portable satellite station
        delay_s=0.300,  # RTT 600 ms: two passes of 35,786 km or more give 550 ms and up, then access (Merlach 2026)
        queue_bytes=51_200,  # 800 ms of queue at 512 kbit/s, scenario A
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )
    vsat_down = LinkProfile(
        rate_bps=2_000_000,  # forward carriers are shared and faster; the project's own choice
        delay_s=0.300,
        queue_bytes=200_000,  # 800 ms of queue at 2 Mbit/s
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )
    made = (
        _both("clean", LinkProfile()),
        _both("4g", four_g),
        PathProfile(name="vsat", up=vsat_up, down=vsat_down),
        _both("radio9600", serial_profile(9600, overhead_bytes=SERIAL_FRAMING_BYTES)),
    )
    return MappingProxyType({each.name: each for each in made})


NAMED = _named()


def profile(name_or_file: str) -> PathProfile:
    """A named profile, or one from a TOML file. Raises ProfileError naming what is wrong and what is allowed."""
    if name_or_file in NAMED:
        return NAMED[name_or_file]
    path = Path(name_or_file)
    if path.suffix == ".toml":
        return _from_file(path)
    raise ProfileError(f"profile {name_or_file!r}: allowed is {', '.join(NAMED)} or a file *.toml")


def _from_file(path: Path) -> PathProfile:
    """Keys of LinkProfile, in ``[up]`` and ``[down]``, or at the top for both directions."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    ways = {name: table.pop(name, {}) for name in ("up", "down")}
    directions = {name: profile_from(f"{path} [{name}]", {**table, **way}) for name, way in ways.items()}
    return PathProfile(name=path.stem, up=directions["up"], down=directions["down"])


def profile_from(where: str, table: Mapping[str, Any], base: LinkProfile | None = None) -> LinkProfile:
    """``base`` with the numbers of ``table``, which may hold anything. Raises ProfileError naming field and value."""
    base = base or LinkProfile()
    numbers = {each.name: getattr(base, each.name) for each in fields(LinkProfile)}
    for name, value in table.items():
        if name not in numbers:
            raise ProfileError(f"{where}: {name} is not known; allowed are {', '.join(sorted(numbers))}")
        try:
            numbers[name] = _read(name, value)
        except ProfileError as error:
            raise ProfileError(f"{where}: {name} {value!r} {error}") from error
    try:
        return LinkProfile(**numbers)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error


def _read(name: str, value: object) -> object:
    """One value as LinkProfile has it. Raises ProfileError saying what it is not."""
    if value is None and name in _MAY_BE_NONE:
        return None
    if name in _ENUMS:
        kind = _ENUMS[name]
        try:
            return kind(value)
        except ValueError as error:
            raise ProfileError(f"is not one of {', '.join(each.value for each in kind)}") from error
    if name == "reorders":
        if not isinstance(value, bool):
            raise ProfileError("is neither true nor false")
        return value
    if name == "lost_frames":
        if not isinstance(value, (list, tuple)) or not all(type(each) is int for each in value):
            raise ProfileError("is not a list of whole numbers")
        return tuple(value)
    if name == "rate_schedule":
        return _read_schedule(value)
    if name == "trace":
        if not isinstance(value, LinkTrace):
            raise ProfileError("is not a trace")
        return value
    is_whole = not name.endswith(("_s", "_ratio")) and name != "price_per_frame"
    if isinstance(value, bool) or not isinstance(value, int if is_whole else (int, float)):
        raise ProfileError(f"is not {'a whole number' if is_whole else 'a number'}")
    return value


def _read_schedule(value: object) -> tuple[tuple[float, int], ...]:
    if isinstance(value, (list, tuple)):
        pairs = [tuple(each) for each in value if isinstance(each, (list, tuple)) and len(each) == 2]
        if len(pairs) == len(value) and all(type(at) in (int, float) and type(bps) is int for at, bps in pairs):
            return tuple((float(at), bps) for at, bps in pairs)
    raise ProfileError("is not a list of [from seconds, bit/s], such as [[0, 64000], [12.5, 9600]]")


def profile_table(numbers: LinkProfile) -> dict[str, object]:
    """A profile as a table of plain values, as ``profile_from`` takes it; a trace by its name."""
    table: dict[str, object] = {each.name: getattr(numbers, each.name) for each in fields(LinkProfile)}
    table |= {name: getattr(numbers, name).value for name in _ENUMS}
    table["trace"] = None if numbers.trace is None else numbers.trace.name
    return table
