"""A DriverPort that keeps what a driver did, and lets a test wait for it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.link_hint import LinkHint
from edge_agent.ports import REQUIRED, Reading, Setting, Table
from edge_agent.telemetry.payloads import Picture, Position

WAIT_S = 20.0  # far above what any step takes, so that only a hang reaches it


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One call of ``submit``."""

    payload: bytes
    flow: str | None
    precedence: Precedence | None
    captured_at_ms: int | None
    key: str


@dataclass(slots=True)
class RecordingPort:
    """Everything a driver told its node, in order. ``refuses``: the store is full."""

    data_dir: Path = Path("/nonexistent")
    name: str = "device-1"
    flow: str = "position"
    clock_ms: int = round(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
    granted: int = 100_000
    refuses: bool = False
    submitted: list[Submitted] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    hints: list[tuple[str, LinkHint]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, readings: Sequence[Reading]) -> None:
        self.readings += readings
        self._changed.set()

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
        self._changed.set()
        if self.refuses:
            raise RefusedError(RefusalReason.STORE_FULL, "0 bytes free")
        self.submitted.append(
            Submitted(payload=payload, flow=flow, precedence=precedence, captured_at_ms=captured_at_ms, key=key)
        )
        return BundleId("kit-1", 1, precedence or Precedence.ROUTINE, len(self.submitted))

    def available(self) -> None:
        self.states.append("available")
        self._changed.set()

    def unavailable(self, reason: str) -> None:
        self.states.append(reason)
        self._changed.set()

    def granted_bytes(self, interval_s: float) -> int:
        return self.granted

    def hint_link(self, link: str, hint: LinkHint) -> None:
        assert hint.is_sound, hint
        self.hints.append((link, hint))
        self._changed.set()

    def now_ms(self) -> int:
        return self.clock_ms

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number
        self._changed.set()

    @property
    def positions(self) -> list[Position]:
        return [Position.unpack(each.payload) for each in self.submitted]

    @property
    def pictures(self) -> list[Picture]:
        return [Picture.unpack(each.payload) for each in self.submitted]

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until ``fact`` holds; it is asked after every call of the driver."""
        async with asyncio.timeout(WAIT_S):
            while not fact():
                self._changed.clear()
                await self._changed.wait()


def full_table(settings: Mapping[str, Setting], **given: object) -> Table:
    """A driver's table with every default filled in, as the registry hands it over."""
    table = {name: setting.default for name, setting in settings.items()}
    unknown = given.keys() - table.keys()
    assert not unknown, f"no such setting: {unknown}"
    table |= given
    for name, setting in settings.items():
        assert table[name] is not REQUIRED, f"{name} must be given"
        assert setting.accepts is None or setting.accepts(table[name]), f"{name}: {setting.allowed}"
    return table


async def stopped(run: "asyncio.Task[None]") -> None:
    """Cancel a driver and see that it takes no time over it."""
    run.cancel()
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(asyncio.CancelledError):
            await run
