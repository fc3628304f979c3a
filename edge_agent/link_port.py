"""What one transport is given to run with: the doors of ``ports.TransportPort``, onto the runner."""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import structlog

from edge_agent.config import LinkConfig
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.ports import FrameMarker, FrameSender, FramesSender
from edge_agent.runner import Runner

COUNTS_SAID_S = 1.0  # repeated drops are logged at most this often

log = structlog.get_logger()


class DropCounter:
    """Counts drops by name and logs the growth at most once a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **where: str) -> None:
        self.totals: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()
        self._loop = loop
        self._where = where
        self._timer: asyncio.TimerHandle | None = None

    def count(self, name: str, number: int = 1) -> None:
        """Add to one name."""
        self.totals[name] += number
        self._fresh[name] += number
        if self._timer is None:
            self._timer = self._loop.call_later(COUNTS_SAID_S, self._say)

    def close(self) -> None:
        """Say what was not said yet, and nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._say()

    def _say(self) -> None:
        self._timer = None
        log.info("input_dropped", **self._where, **self._fresh)
        self._fresh.clear()


class LinkPort:
    """One link between its transport and the node. ``lost_reason`` is empty while the transport has its way."""

    def __init__(self, config: LinkConfig, runner: Runner, loop: asyncio.AbstractEventLoop) -> None:
        self.link = config.name
        self.config = config
        self.lost_reason = "starting"
        self.drops = DropCounter(loop, link=config.name)
        self.is_burst = False
        self.policy = config.policy
        """What holds now (``link_terms``)."""
        self.policy_of: Callable[[LinkPort, bool], LinkPolicy] = lambda port, is_burst: port.policy
        """What holds for a link of a transport that is, or is not, a burst one."""
        self._runner = runner

    def link_up(
        self,
        limits: LinkLimits,
        send: FrameSender,
        send_many: FramesSender | None = None,
        mark: FrameMarker | None = None,
    ) -> None:
        if self.config.rate_bps is not None:
            limits = replace(limits, rate_bps=self.config.rate_bps)
        if self.lost_reason:
            log.info("link_opened", link=self.link, transport=self.config.transport)
        self.lost_reason = ""
        self.is_burst = limits.is_burst
        self.policy = self.policy_of(self, limits.is_burst)
        self._runner.link_up(
            self.link, limits, self.policy, send, is_listener=self.config.is_listener, send_many=send_many, mark=mark
        )

    def link_down(self, reason: str) -> None:
        """The transport has lost its way, and why."""
        if not self.lost_reason:
            log.warning("link_lost", link=self.link, reason=reason)
        self.lost_reason = reason
        self._runner.link_down(self.link, self.policy, reason, is_listener=self.config.is_listener)

    def link_busy(self, *, is_busy: bool) -> None:
        self._runner.set_busy(self.link, is_busy=is_busy)

    def frames_received(self, frames: Sequence[tuple[Hashable | None, bytes]]) -> None:
        self._runner.receive(self.link, frames)

    def count(self, name: str, number: int = 1) -> None:
        self.drops.count(name, number)
