"""Drives one ``Node`` on asyncio: frames and completions in, frames, effects and events out, one timer.

Nothing here makes a task: a batch of frames costs one call, a batch of completions one call, and the timer is armed
once for the node's next deadline. A turn of the pump is bounded, so that sockets and pages get their time in a flood.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import (
    BundleAccepted,
    BundleAdopted,
    BundleRefused,
    Effect,
    Event,
    Evicted,
    Outcome,
    Staged,
    Transmit,
)
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import Explanation, NodeReport
from edge_agent.ports import FrameSender

FRAMES_A_TURN = 64  # as many as a transport drains at a time; about 1 ms of work
EFFECTS_A_TURN = 256
EVENTS_A_TURN = 256
TIMER_SLACK_S = 0.0001  # deadlines this close together share one wake-up


class NodeDoor(Protocol):
    """The verbs of ``edge_agent.core.node.Node`` that a runner uses."""

    def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float, staged: Staged | None = None
    ) -> BundleId: ...
    def cancel(self, bundle: BundleId, now_s: float) -> bool: ...
    def settle(self, bundle: BundleId, now_s: float) -> bool: ...
    def promote(self, bundle: BundleId, now_s: float) -> bool: ...
    def adopt(self, record: BundleRecord, payload: bytes, now_s: float) -> None: ...
    def explain(self, bundle: BundleId, now_s: float, header: BundleHeader | None = None) -> Explanation | None: ...
    def receive(self, link: str, source: Hashable | None, frame: bytes, now_s: float) -> None: ...
    def set_link(
        self,
        link: str,
        now_s: float,
        *,
        limits: LinkLimits | None,
        policy: LinkPolicy,
        is_listener: bool = False,
        reason: str = "",
    ) -> None: ...
    def set_busy(self, link: str, now_s: float, *, is_busy: bool) -> None: ...
    def handle_timeout(self, now_s: float) -> None: ...
    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None: ...
    def poll_transmit(self, now_s: float) -> Transmit | None: ...
    def poll_effect(self) -> Effect | None: ...
    def poll_event(self) -> Event | None: ...
    def next_wakeup(self) -> float | None: ...
    def report(self, now_s: float) -> NodeReport: ...
    def set_free_bytes(self, free_bytes: int) -> None: ...
    def set_store_rate(self, store_bps: float) -> None: ...
    def evict(self, given_up: Iterable[Evicted], now_s: float) -> None: ...


class Runner:
    """One node at work. All methods are called on the loop's own thread."""

    def __init__(
        self,
        node: NodeDoor,
        *,
        execute: Callable[[Effect], None],
        on_event: Callable[[Event], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._node = node
        self._execute = execute
        self._on_event = on_event
        self._loop = loop
        self._senders: dict[str, FrameSender] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_pumping = False
        self._is_scheduled = False
        self._is_closed = False
        self._waiting: dict[BundleId, asyncio.Future[None]] = {}
        self._adopting: dict[BundleId, asyncio.Future[BundleAdopted]] = {}
        self.unsent_frames = 0  # frames for a link that went down between decision and sending

    def receive(self, link: str, frames: Sequence[tuple[Hashable | None, bytes]]) -> None:
        """Everything one wake-up of a transport drained."""
        now_s = self._loop.time()
        for source, frame in frames:
            self._node.receive(link, source, frame, now_s)
        self.pump()

    def complete(
        self, outcomes: Iterable[tuple[int, Outcome]], free_bytes: int, store_bps: float | None = None
    ) -> None:
        """A batch of closed effects, with what the store can take now, and how fast where that is known."""
        now_s = self._loop.time()
        self._node.set_free_bytes(free_bytes)
        if store_bps is not None:
            self._node.set_store_rate(store_bps)
        for effect_id, outcome in outcomes:
            self._node.complete(effect_id, outcome, now_s)
        self.pump()

    def link_up(
        self, link: str, limits: LinkLimits, policy: LinkPolicy, send: FrameSender, *, is_listener: bool
    ) -> None:
        """Frames of ``link`` leave by ``send`` from now on."""
        self._senders[link] = send
        self._node.set_link(link, self._loop.time(), limits=limits, policy=policy, is_listener=is_listener)
        self.pump()

    def link_down(self, link: str, policy: LinkPolicy, reason: str, *, is_listener: bool) -> None:
        """Nothing leaves by ``link`` any more; ``reason`` is for people."""
        self._senders.pop(link, None)
        self._node.set_link(link, self._loop.time(), limits=None, policy=policy, is_listener=is_listener, reason=reason)
        self.pump()

    def set_busy(self, link: str, *, is_busy: bool) -> None:
        """Whether the medium of ``link`` takes no frame for now."""
        self._node.set_busy(link, self._loop.time(), is_busy=is_busy)
        self.pump()

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: Staged | None = None
    ) -> BundleId:
        """The id of a bundle that is on disk; ``staged``: its payload came there before. Raises RefusedError."""
        if self._is_closed:
            raise RefusedError(RefusalReason.STORE_FAILED, "the agent is stopping")
        bundle = self._node.submit(header, precedence, payload, self._loop.time(), staged)
        accepted: asyncio.Future[None] = self._loop.create_future()
        self._waiting[bundle] = accepted
        self.pump()
        try:
            await accepted
        finally:
            self._waiting.pop(bundle, None)
        return bundle

    async def submit_many(
        self, header: BundleHeader, precedence: Precedence, payloads: Sequence[bytes]
    ) -> list[BundleId | RefusedError]:
        """For each payload the id of a bundle that is on disk, or why it was not taken. One turn for all."""
        if self._is_closed:
            raise RefusedError(RefusalReason.STORE_FAILED, "the agent is stopping")
        now_s = self._loop.time()
        results: list[BundleId | RefusedError] = []
        for payload in payloads:
            try:
                bundle = self._node.submit(header, precedence, payload, now_s)
            except RefusedError as error:
                results.append(error)
                continue
            self._waiting[bundle] = self._loop.create_future()
            results.append(bundle)
        self.pump()
        try:
            for at, told in enumerate(results):
                if not isinstance(told, RefusedError):
                    try:
                        await self._waiting[told]
                    except RefusedError as error:
                        results[at] = error
        finally:
            for told in results:
                if not isinstance(told, RefusedError):
                    self._waiting.pop(told, None)
        return results

    def cancel(self, bundle: BundleId) -> bool:
        """Withdraw a bundle of which nothing has left; False when it is too late."""
        is_cancelled = self._node.cancel(bundle, self._loop.time())
        self.pump()
        return is_cancelled

    def settle(self, bundles: Iterable[BundleId]) -> None:
        """Receipts say that these arrived: end copies that still wait here."""
        now_s = self._loop.time()
        for bundle in bundles:
            self._node.settle(bundle, now_s)
        self.pump()

    def promote(self, bundle: BundleId) -> bool:
        """Let a waiting bundle go next of its class; False when it does not wait here."""
        is_here = self._node.promote(bundle, self._loop.time())
        self.pump()
        return is_here

    def evict(self, given_up: Sequence[Evicted]) -> None:
        """The store has given up waiting bundles for room."""
        self._node.evict(given_up, self._loop.time())
        self.pump()

    def explain(self, bundle: BundleId, header: BundleHeader) -> Explanation | None:
        """Why a bundle that waits here has not left, by its header also one that the node does not hold in memory."""
        return self._node.explain(bundle, self._loop.time(), header)

    async def adopt(self, record: BundleRecord, payload: bytes) -> BundleAdopted:
        """What came of a bundle carried here by hand. Give each name once at a time."""
        if self._is_closed:
            raise RefusedError(RefusalReason.STORE_FAILED, "the agent is stopping")
        adopted: asyncio.Future[BundleAdopted] = self._loop.create_future()
        self._adopting[record.id] = adopted
        self._node.adopt(record, payload, self._loop.time())
        self.pump()
        try:
            return await adopted
        finally:
            self._adopting.pop(record.id, None)

    def report(self) -> NodeReport:
        """What the node says of itself now."""
        return self._node.report(self._loop.time())

    def close(self) -> None:
        """No more timers, and an answer for everyone who waits."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        unanswered: list[asyncio.Future[Any]] = [
            *self._waiting.values(),
            *self._adopting.values(),
        ]  # Any: their results
        for waiting in unanswered:
            if not waiting.done():
                waiting.set_exception(
                    RefusedError(RefusalReason.STORE_FAILED, "the agent stopped before it was on disk")
                )

    def pump(self) -> None:
        """Move everything the node has ready, at most one turn's worth; the rest follows in the next turn."""
        if self._is_pumping or self._is_closed:
            return  # called from an event: the loop below sees what it brought
        self._is_pumping = True
        try:
            has_more = self._move_turn()
        finally:
            self._is_pumping = False
        if has_more:
            self._schedule()
        else:
            self._arm()

    def _move_turn(self) -> bool:
        """Move one bounded turn; True when something may be left. FLASH leaves first because frames come first."""
        frames_left, effects_left, events_left = FRAMES_A_TURN, EFFECTS_A_TURN, EVENTS_A_TURN
        has_moved = True
        while has_moved:
            has_moved = False
            now_s = self._loop.time()
            while frames_left and (transmit := self._node.poll_transmit(now_s)) is not None:
                frames_left -= 1
                self._send(transmit)
            while effects_left and (effect := self._node.poll_effect()) is not None:
                effects_left -= 1
                self._execute(effect)
            while events_left and (event := self._node.poll_event()) is not None:
                events_left -= 1
                has_moved = True  # what an event sets off may have frames of its own
                self._tell(event)
            if not (frames_left and effects_left and events_left):
                return True
        return False

    def _send(self, transmit: Transmit) -> None:
        sender = self._senders.get(transmit.link)
        if sender is None:
            self.unsent_frames += 1
        else:
            sender(transmit.to, transmit.frame)

    def _tell(self, event: Event) -> None:
        if isinstance(event, BundleAccepted):
            waiting = self._waiting.get(event.bundle)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif isinstance(event, BundleAdopted):
            adopting = self._adopting.get(event.bundle)
            if adopting is not None and not adopting.done():
                adopting.set_result(event)
        elif isinstance(event, BundleRefused) and event.peer is None:
            waiting = self._waiting.get(event.bundle)
            if waiting is not None and not waiting.done():
                waiting.set_exception(RefusedError(event.reason, event.detail))
        self._on_event(event)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._is_scheduled = False
        self.pump()

    def _arm(self) -> None:
        wakeup_s = self._node.next_wakeup()
        if wakeup_s is None:
            return
        if self._timer is not None:
            if self._timer.when() <= wakeup_s + TIMER_SLACK_S:
                return  # it fires early, finds nothing due and is armed anew: cheaper than cancelling at each frame
            self._timer.cancel()
        self._timer = self._loop.call_at(wakeup_s, self._wake)

    def _wake(self) -> None:
        # asyncio runs readers that were ready before timers that are due, so every socket is drained by now
        self._timer = None
        self._node.handle_timeout(self._loop.time())
        self.pump()
