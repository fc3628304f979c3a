"""What a driver and a transport are given, and what they must be. Built-in ones and a stranger's use the same doors.

A transport or driver is a class named by an entry point (``edge_agent.transports``, ``edge_agent.drivers``): built
with its validated table, then run as one coroutine. Cancelling ``run`` stops it, returning ends it, raising
``OSError`` or ``PluginLostError`` loses it: the supervisor says so once, marks the link or device down with the
reason, and starts it again with backoff.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.limits import LinkLimits
from edge_agent.core.link_hint import LinkHint

REQUIRED: Any = object()  # Any: a marker that is no value of any setting
"""Default of a setting that must be given."""


class PluginLostError(EdgeAgentError):
    """A transport or driver cannot go on; the message says why, for operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key of a plugin's configuration table.

    ``kind`` is the TOML type (``float`` also takes integers). ``allowed`` is said in the error when ``kind`` or
    ``accepts`` refuses the value. ``is_path``: a relative value counts from the configuration file.
    """

    kind: type
    allowed: str
    default: Any = REQUIRED  # Any: whatever ``kind`` is
    accepts: Callable[[Any], bool] | None = None  # Any: whatever ``kind`` is
    is_path: bool = False
    takes_one: bool = False
    """Of a list of texts: a single one may stand without its brackets."""
    names_link: bool = False
    """Of a driver's text: it names a ``[[link]]``, and must, but for "" and where links are made as interfaces come."""


Table = Mapping[str, Any]  # Any: values are of the kinds that the plugin's own Settings state
FrameSender = Callable[[Hashable | None, bytes], None]
"""Send one frame now: to an address this transport reported, or None for its configured remote. Never blocks, never
raises for the network's sake: a frame that cannot leave is lost and counted by the transport."""


FramesSender = Callable[[Hashable | None, Sequence[bytes]], None]
"""Send several frames to one address now, in their order; else as FrameSender."""


FrameMarker = Callable[[Precedence | None], None]
"""The frames sent from now on are of this class; None: words between nodes."""


class TransportPort(Protocol):
    """What one transport is given to run with."""

    link: str

    def link_up(
        self,
        limits: LinkLimits,
        send: FrameSender,
        send_many: FramesSender | None = None,
        mark: FrameMarker | None = None,
    ) -> None:
        """The way is open; from now on the node calls ``send``. Calling again replaces the limits (a changed rate).

        ``send_many``: of a transport that sends several frames at once for less than each of them costs alone.
        ``mark``: of one whose frames can say to the network how urgent they are.
        """

    def link_down(self, reason: str) -> None:
        """Nothing can leave for now, and why; the transport goes on waiting for its way, and calls ``link_up`` again.

        Its end does the same: a transport that raises need not call this.
        """

    def link_busy(self, *, is_busy: bool) -> None:
        """Whether the medium takes no frame for now (the other side's turn, a modem that pushes back).

        While it does not the node keeps its frames, so that an urgent one can still go first. A link begins free.
        """

    def frames_received(self, frames: Sequence[tuple[Hashable | None, bytes]]) -> None:
        """Hand over everything one wake-up drained, as (address, frame); the address is None on a ``remote`` link."""

    def count(self, name: str, number: int = 1) -> None:
        """Count a drop of the medium or of a stranger by name (``cobs_error``, ``crc_error``, ``oversize_frame``)."""


class Transport(Protocol):
    """One way of leaving."""

    SETTINGS: ClassVar[Mapping[str, Setting]]

    def __init__(self, table: Table) -> None: ...

    async def run(self, port: TransportPort) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measured value. ``value`` None says missing or invalid, never invented; ``quality`` says why or "good"."""

    series: str
    value: float | None
    unit: str
    captured_at_ms: int
    quality: str = "good"


class DriverPort(Protocol):
    """What one driver is given to run with. Its bundles leave under the flow of its configuration."""

    name: str
    flow: str
    data_dir: Path
    """A folder of this driver's own, for recordings; it exists."""

    async def publish(self, readings: Sequence[Reading]) -> None:
        """Send readings as the node's batching sees fit."""

    async def submit(
        self,
        payload: bytes,
        *,
        flow: str | None = None,
        precedence: Precedence | None = None,
        lifetime_s: float | None = None,
        key: str = "",
        captured_at_ms: int | None = None,
        origin: Origin = Origin.MACHINE,
    ) -> BundleId:
        """Send one payload; returns once it is on disk. None: what the flow's configuration says.

        Raises RefusedError with the reason, which the driver may show; it never retries in a tight loop.
        """

    def available(self) -> None:
        """The device works; clears ``unavailable``."""

    def unavailable(self, reason: str) -> None:
        """The device does not work now, and why; shown on pages and in ``status``."""

    def granted_bytes(self, interval_s: float) -> int:
        """How many payload bytes the links would carry for this flow in ``interval_s``; 0 when none is up."""

    def hint_link(self, link: str, hint: LinkHint) -> None:
        """Say what the device knows of a link of this node, by its name, each few seconds while it knows it.

        A hint is a warning (docs/adr/0044-a-hint-is-a-warning.md). One of a link that is not there, and one that cannot
        be, are counted as ``link_hint_refused``.
        """

    def now_ms(self) -> int:
        """UTC milliseconds since 1970 by this node's clock, for ``captured_at_ms``."""

    def count(self, name: str, number: int = 1) -> None:
        """Count bad input by name (``nmea_checksum``, ``payload_not_json``)."""


class Driver(Protocol):
    """One kind of device."""

    SETTINGS: ClassVar[Mapping[str, Setting]]

    def __init__(self, table: Table) -> None: ...

    async def run(self, port: DriverPort) -> None: ...
