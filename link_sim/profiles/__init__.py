"""Named links, each number with its source, and profiles read from TOML or from plain values.

"up" is the way from the kit to the command post, or from PTY a to PTY b.
"""

from link_sim.profiles.catalogue import NAMED, Catalogue, ProfileCard, card, profile
from link_sim.profiles.measured import find_trace, shipped_traces
from link_sim.profiles.path import (
    BITS_PER_SERIAL_BYTE,
    SERIAL_FRAMING_BYTES,
    UDP_IPV4_OVERHEAD_BYTES,
    PathProfile,
    serial_profile,
    serial_rate_bps,
)
from link_sim.profiles.tables import profile_from, profile_table
from link_sim.profiles.varied import varied_schedule

__all__ = [
    "BITS_PER_SERIAL_BYTE",
    "NAMED",
    "SERIAL_FRAMING_BYTES",
    "UDP_IPV4_OVERHEAD_BYTES",
    "Catalogue",
    "PathProfile",
    "ProfileCard",
    "card",
    "find_trace",
    "profile",
    "profile_from",
    "profile_table",
    "serial_profile",
    "serial_rate_bps",
    "shipped_traces",
    "varied_schedule",
]
