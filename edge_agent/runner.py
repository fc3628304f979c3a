"""Drives one ``Node`` on asyncio: frames and completions in, frames, effects and events out, one timer.

Nothing here makes a task: a batch of frames costs one call, a batch of completions one call, and the timer is armed
once for the node's next deadline. A turn of the pump is bounded, so that sockets and pages get their time in a flood.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from edge_agent.core.adoption import CARRIER
from edge_agent.core.budgets import Spent
from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.closed_numbers import ClosedKey
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
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.link_hint import LinkHint
from edge_agent.core.report import Explanation, NodeReport
from edge_agent.core.tally import LinkSeconds
from edge_agent.ports import FrameMarker, FrameSender, FramesSender

FRAMES_A_TURN = 64  # as many as a transport drains at a time; about 1 ms of work
FRAMES_TOGETHER = 16  # wait for each other: the first one for half a millisecond of building the rest
EFFECTS_A_TURN = 256
EVENTS_A_TURN = 256
_IMMEDIATE = Precedence.IMMEDIATE  # a member of an enum is slow to look up
TIMER_SLACK_S = 0.0001  # deadlines this close together share one wake-up


class NodeDoor(Protocol):
    """The verbs of ``edge_agent.core.node.Node`` that a runner uses."""

    def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float, staged: Staged | None = None
    ) -> BundleId: ...
    def cancel(self, bundle: BundleId, now_s: float) -> bool: ...
    def settle(self, bundle: BundleId, now_s: float) -> bool: ...
    def promote(self, bundle: BundleId, now_s: float) -> bool: ...
    def adopt(self, record: BundleRecord, payload: bytes, now_s: float, giver: str = CARRIER) -> None: ...
    def share(self, bundles: Iterable[BundleId], now_s: float, *, is_on: bool) -> None: ...
    def closed_numbers(self) -> Mapping[ClosedKey, IntervalSet]: ...
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
    def set_terms(self, link: str, now_s: float, *, policy: LinkPolicy, spent: Spent | None = None) -> None: ...
    def spent_columns(self) -> Mapping[str, Sequence[int]]: ...
    def set_busy(self, link: str, now_s: float, *, is_busy: bool) -> None: ...
    def hint_link(self, link: str, source: str, hint: LinkHint, now_s: float) -> bool: ...
    def handle_timeout(self, now_s: float) -> None: ...
    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None: ...
    def poll_transmit(self, now_s: float) -> Transmit | None: ...
    def poll_effect(self) -> Effect | None: ...
    def poll_event(self) -> Event | None: ...
    def next_wakeup(self) -> float | None: ...
    def report(self, now_s: float) -> NodeReport: ...
    def take_seconds(self, before_s: float) -> list[LinkSeconds]: ...
    def set_free_bytes(self, free_bytes: int) -> None: ...
    def set_store_rate(self, store_bps: float) -> None: ...
    def evict(self, given_up: Iterable[Evicted], now_s: float) -> None: ...


class Runner:
    """One node at work. All methods are called on the loop's own thread."""

    def __init__(
        self,
        node: NodeDoor,
        *,
        execute: Callable[[Sequence[Effect]], None],
        on_event: Callable[[Event], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._node = node
        self._execute = execute
        self._on_event = on_event
        self._loop = loop
        self._senders: dict[str, tuple[FrameSender, FramesSender | None, FrameMarker | None]] = {}
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
        self,
        link: str,
        limits: LinkLimits,
        policy: LinkPolicy,
        send: FrameSender,
        *,
        is_listener: bool,
        send_many: FramesSender | None = None,
        mark: FrameMarker | None = None,
    ) -> None:
        """Frames of ``link`` leave by ``send`` from now on, several at once by ``send_many`` where there is one.

        ``mark`` is told the class of the next ones.
        """
        self._senders[link] = send, send_many, mark
        self._node.set_link(link, self._loop.time(), limits=limits, policy=policy, is_listener=is_listener)
        self.pump()

    def link_down(self, link: str, policy: LinkPolicy, reason: str, *, is_listener: bool) -> None:
        """Nothing leaves by ``link`` any more; ``reason`` is for people."""
        self._senders.pop(link, None)
        self._node.set_link(link, self._loop.time(), limits=None, policy=policy, is_listener=is_listener, reason=reason)
        self.pump()

    def set_terms(self, link: str, policy: LinkPolicy, spent: Spent | None) -> None:
        """What ``link`` may carry from now on; ``spent`` None: as the node counted itself."""
        self._node.set_terms(link, self._loop.time(), policy=policy, spent=spent)
        self.pump()

    def spent_columns(self) -> Mapping[str, Sequence[int]]:
        """Wire bytes of each link since this start, by the columns of ``core.budgets``."""
        return self._node.spent_columns()

    def set_busy(self, link: str, *, is_busy: bool) -> None:
        """Whether the medium of ``link`` takes no frame for now."""
        self._node.set_busy(link, self._loop.time(), is_busy=is_busy)
        self.pump()

    def hint_link(self, link: str, source: str, hint: LinkHint) -> bool:
        """What a device says of ``link``; False where the node does not take it."""
        is_taken = self._node.hint_link(link, source, hint, self._loop.time())
        self.pump()
        return is_taken

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: Staged | None = None
    ) -> BundleId:
        """The id of a bundle that is on disk; ``staged``: its payload came there before. Raises RefusedError."""
        if self._is_closed:
            raise RefusedError(RefusalReason.STORE_FAILED, "the agent is stopping")
        bundle = self._node.submit(header, precedence, payload, self._loop.time(), staged)
        accepted: asyncio.Future[None] = self._loop.create_future()
        self._waiting[bundle] = accepted
        if precedence <= _IMMEDIATE:
            self.pump()
        else:
            self._schedule()  # one turn of the pump for all that is handed in in a turn of the loop
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

    async def adopt(self, record: BundleRecord, payload: bytes, giver: str = CARRIER) -> BundleAdopted:
        """What came of a bundle carried or copied here by ``giver``. Give each name once at a time."""
        if self._is_closed:
            raise RefusedError(RefusalReason.STORE_FAILED, "the agent is stopping")
        adopted: asyncio.Future[BundleAdopted] = self._loop.create_future()
        self._adopting[record.id] = adopted
        self._node.adopt(record, payload, self._loop.time(), giver)
        self.pump()
        try:
            return await adopted
        finally:
            self._adopting.pop(record.id, None)

    def share(self, bundles: Iterable[BundleId], *, is_on: bool) -> None:
        """A second post has these; ``is_on``: whether senders hear of custody only then."""
        self._node.share(bundles, self._loop.time(), is_on=is_on)
        self.pump()

    def closed_numbers(self) -> Mapping[ClosedKey, IntervalSet]:
        """Numbers of bundles that are or were here, as far as that is in memory; not to be changed."""
        return self._node.closed_numbers()

    def report(self) -> NodeReport:
        """What the node says of itself now."""
        return self._node.report(self._loop.time())

    def take_seconds(self, before_s: float) -> list[LinkSeconds]:
        """What links did in the seconds that ended at ``before_s`` or sooner; each count is given once."""
        return self._node.take_seconds(before_s)

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
            frames_left -= self._send_frames(frames_left, now_s)
            effects: list[Effect] = []
            while len(effects) < effects_left and (effect := self._node.poll_effect()) is not None:
                effects.append(effect)
            if effects:
                effects_left -= len(effects)
                self._execute(effects)
            while events_left and (event := self._node.poll_event()) is not None:
                events_left -= 1
                has_moved = True  # what an event sets off may have frames of its own
                self._tell(event)
            if not (frames_left and effects_left and events_left):
                return True
        return False

    def _send_frames(self, frames_left: int, now_s: float) -> int:
        """Send what the node has, at most ``frames_left``; gives back how many. Frames of one way leave together."""
        poll, run, sent = self._node.poll_transmit, list[bytes](), 0
        link, to, precedence = "", None, None
        while sent < frames_left and (transmit := poll(now_s)) is not None:
            sent += 1
            next_link, next_to, frame, next_precedence = transmit
            is_other = next_precedence is not precedence or next_link != link or next_to != to
            if run and (is_other or len(run) >= FRAMES_TOGETHER):
                self._send(link, to, run, precedence)
                run = []
            link, to, precedence = next_link, next_to, next_precedence
            run.append(frame)
        if run:
            self._send(link, to, run, precedence)
        return sent

    def _send(self, link: str, to: Hashable | None, frames: list[bytes], precedence: Precedence | None) -> None:
        senders = self._senders.get(link)
        if senders is None:
            self.unsent_frames += len(frames)
            return
        send, send_many, mark = senders
        if mark is not None:
            mark(precedence)
        if send_many is not None and len(frames) > 1:
            send_many(to, frames)
        else:
            for frame in frames:
                send(to, frame)

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
