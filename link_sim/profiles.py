"""Named links, each number with its source, and profiles read from a TOML file.

"up" is the way from the kit to the command post, or from PTY a to PTY b.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from link_sim.model import LinkProfile, ProfileError

UDP_IPV4_OVERHEAD_BYTES = 28  # RFC 791 header without options, 20; RFC 768, 8
SERIAL_FRAMING_BYTES = 8  # COBS code and end, 2; CRC, 4; a second code byte beyond 254 bytes and a flag, 2
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
    allowed = {each.name for each in fields(LinkProfile)}
    numbers = {each.name: getattr(base, each.name) for each in fields(LinkProfile)}
    for name, value in table.items():
        if name not in allowed:
            raise ProfileError(f"{where}: {name} is not known; allowed are {', '.join(sorted(allowed))}")
        is_whole = not name.endswith(("_s", "_ratio"))
        if value is None and name in ("rate_bps", "mtu_bytes"):
            numbers[name] = None
        elif isinstance(value, bool) or not isinstance(value, int if is_whole else (int, float)):
            raise ProfileError(f"{where}: {name} {value!r} is not {'a whole number' if is_whole else 'a number'}")
        else:
            numbers[name] = value
    try:
        return LinkProfile(**numbers)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error
