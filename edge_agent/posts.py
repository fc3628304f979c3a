"""Copies between command nodes: what one of them took, each of the others shows (docs/adr/0041-several-posts.md).

``core.posts.PostExchange`` decides. What is still to be copied to a post is a durable cursor over this node's
deliveries; a copy is a bundle of its own to that post, and what it holds is adopted there under its first name.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from edge_agent.core.bundle import COMMAND, BundleId, MalformedError, Origin, Precedence
from edge_agent.core.effects import Adopted, BundleClosed, BundleDelivered, BundlesForwarded, EraseReason, LinkState
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.post_words import (
    ACT_FLOW,
    COPY_FLOW,
    HAVE_FLOW,
    POST_FLOWS,
    Copy,
    HaveWord,
    pack_copies,
    read_copies,
)
from edge_agent.core.posts import Arrived, Due, PostExchange
from edge_agent.disk.consumers import COPIER_PREFIX
from edge_agent.disk.store import Disk
from edge_agent.disk.types import DamagedError, Delivery, Start, StoreError, UnknownBundleError
from edge_agent.runner import Runner
from edge_agent.sender import BundleSender

LOOK_S = 1.0
"""How often links are looked at and cursors written."""
WORD_LIFETIME_S = 60.0
RETRY_S = 5.0
TOGETHER = 32
"""Words taken that share a commit."""
DUES_TOGETHER = 192
GROUP_BYTES = 48 << 10
"""Copies of one post and class share a bundle up to here, which then stays below a file."""
TOGETHER_BYTES = 4 << 20
COPY_MAX_BYTES = 64 << 20
"""A larger payload is not copied: it would have to be in memory whole."""
ROWS_KEPT = 128
"""Deliveries kept between being read and being copied."""
SILENT_MAX = 65_536
_IN = "posts.in"
_REACHED = (LinkState.UP, LinkState.DEGRADED)

log = structlog.get_logger()


@dataclass(slots=True)
class _Group:
    """Copies that travel together."""

    dues: list[Due] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    payload_bytes: int = 0


class PostCopies:
    """One node's side. ``drops`` counts by name what was not copied or not believed."""

    def __init__(
        self,
        *,
        level: str,
        posts: Sequence[str],
        disk: Disk,
        runner: Runner,
        sender: BundleSender,
        now_s: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._posts = tuple(posts)
        self._disk = disk
        self._runner = runner
        self._sender = sender
        self._now_s = now_s
        self._now_ms = now_ms
        self._exchange = PostExchange(level, posts, runner.closed_numbers)
        self._news = asyncio.Event()
        self._words = asyncio.Event()
        self._under_way: dict[BundleId, list[Due]] = {}
        self._silent: dict[BundleId, None] = {}
        self._rows: dict[int, Delivery] = {}
        self._cursors: dict[str, int] = {}
        self._is_shared = False
        self._strangers: set[str] = set()
        self._unknown_levels: set[tuple[str, ...]] = set()
        self.drops: Counter[str] = Counter()

    def delivered(self, event: BundleDelivered) -> None:
        """Something for this node is on its disk."""
        header = event.record.header
        if header.destination == COMMAND:
            self._news.set()
        if header.flow in (ACT_FLOW, *POST_FLOWS):
            self._words.set()

    def forwarded(self, event: BundlesForwarded) -> None:
        """Another node has taken custody of these."""
        for bundle in event.bundles:
            for due in self._under_way.pop(bundle, ()):
                if due.post == event.peer:
                    self._exchange.taken(due.post, due.bundle)
                    self._news.set()

    def closed(self, event: BundleClosed) -> None:
        """A bundle that waited here will not leave."""
        for due in self._under_way.pop(event.bundle, ()):
            if event.reason is EraseReason.EVICTED:
                self._exchange.lost(due, self._now_s())

    def is_silent(self, bundle: BundleId) -> bool:
        """Whether another post sends the receipt for this one."""
        return bundle in self._silent

    def shows(self, delivery: Delivery) -> bool:
        """Whether people and programs here see a delivery; what they do not, its own levels show and answer."""
        bundle, levels = delivery.record.id, delivery.record.header.levels
        if levels and not self._exchange.knows(levels) and levels not in self._unknown_levels:
            self._unknown_levels.add(levels)
            log.warning(
                "level_unknown", levels=levels, source=bundle.source, hint="no post that is known here is of it"
            )
        if self._exchange.shows(bundle, delivery.position, levels):
            return True
        self._be_silent(bundle)
        return False

    def _be_silent(self, bundle: BundleId) -> None:
        self._silent[bundle] = None
        if len(self._silent) > SILENT_MAX:
            del self._silent[next(iter(self._silent))]

    async def run(self) -> None:
        """Copy and take copies, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(), name="posts:take")
            group.create_task(self._give(), name="posts:give")

    async def _give(self) -> None:
        for post in self._posts:
            self._cursors[post] = await self._disk.consumer_open(COPIER_PREFIX + post, "*", Start.ALL)
            await self._disk.consumer_detach(COPIER_PREFIX + post)  # a post that is away holds back no receipt
            self._exchange.start_at(post, self._cursors[post])
        looked_s = -LOOK_S
        while True:
            self._news.clear()
            now_s = self._now_s()
            is_time = now_s - looked_s >= LOOK_S
            if is_time:
                looked_s = now_s
                self._exchange.see(self._reached(), now_s)
            try:
                await self._tell()
                has_more = await self._copy()
                self._share()
                if is_time:
                    await self._keep_cursors()
            except (RefusedError, StoreError) as error:  # as when the disk is full: what is not copied stays due
                log.warning("posts_waiting", reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            if not has_more:
                await self._wait(looked_s + LOOK_S - self._now_s())

    def _share(self) -> None:
        safe, is_shared = self._exchange.safe(), self._exchange.is_shared
        if safe or is_shared is not self._is_shared:
            self._is_shared = is_shared
            self._runner.share(safe, is_on=is_shared)

    async def _wait(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, longest_s)):
                await self._news.wait()
        except TimeoutError:
            pass  # time to look at the links

    def _reached(self) -> set[str]:
        links = self._runner.report().links
        return {each.peer for each in links if each.peer in self._posts and each.state in _REACHED}

    async def _tell(self) -> None:
        for post, word in self._exchange.words(self._now_s()):
            await self._sender.submit(
                word.pack(), flow=HAVE_FLOW, to=post, precedence=Precedence.IMMEDIATE, lifetime_s=WORD_LIFETIME_S
            )

    async def _copy(self) -> bool:
        """Read what came, and copy what is due; True when there may be more."""
        has_more = False
        for post in self._posts:
            after = self._exchange.wants_rows(post)
            if after is not None:
                has_more |= await self._read(post, after)
        dues = self._exchange.due(self._now_s())
        for at in range(0, len(dues), DUES_TOGETHER):
            await self._copy_some(dues[at : at + DUES_TOGETHER])
        return has_more

    async def _copy_some(self, dues: Sequence[Due]) -> None:
        """Those of one post and class share a bundle; each is durable here before it counts as made."""
        groups: dict[tuple[str, Precedence, Origin], _Group] = {}
        leaving: list[_Group] = []
        for due in dues:
            copy = await self._read_copy(due)
            if copy is None:
                continue
            key = (due.post, due.bundle.precedence, copy.record.header.origin)
            group = groups.setdefault(key, _Group())
            group.dues.append(due)
            group.copies.append(copy)
            group.payload_bytes += len(copy.payload)
            if group.payload_bytes >= GROUP_BYTES:
                leaving.append(groups.pop(key))
        await asyncio.gather(*(self._send(group) for group in (*leaving, *groups.values())))

    async def _read(self, post: str, after: int) -> bool:
        found = await self._disk.consumer_next(COPIER_PREFIX + post, after)
        if not found:
            return False
        offset_s = self._now_s() - self._now_ms() / 1000
        arrived = []
        for each in found:
            header = each.record.header
            if header.destination == COMMAND:
                giver = each.peer if each.peer in self._posts else ""
                at_s = each.received_at_ms / 1000 + offset_s
                arrived.append(Arrived(each.position, each.record.id, giver, at_s, header.levels))
                self._rows[each.position] = each
        while len(self._rows) > ROWS_KEPT:
            del self._rows[next(iter(self._rows))]
        self._exchange.offer(post, arrived, found[-1].position)
        return True

    async def _read_copy(self, due: Due) -> Copy | None:
        """What a copy is made of; None when it cannot be read now, or there is nothing to copy any more."""
        try:
            delivery = await self._delivery(due)
            payload = None if delivery is None else await self._payload(delivery)
        except StoreError as error:
            log.warning("copy_unread", bundle=str(due.bundle), reason=str(error))
            self._exchange.failed(due)
            return None
        if delivery is None or payload is None or delivery.record.is_expired(self._now_s()):
            self._exchange.copied(due)
            return None
        return Copy(record=delivery.record, payload=payload, answers=due.answers)

    async def _send(self, group: "_Group") -> None:
        now_s, first = self._now_s(), group.dues[0]
        left_s = max(each.record.header.lifetime_s - each.record.age_low_at(now_s) for each in group.copies)
        try:
            bundle = await self._sender.submit(
                pack_copies(group.copies, now_s),
                flow=COPY_FLOW,
                to=first.post,
                precedence=first.bundle.precedence,
                lifetime_s=max(left_s, LOOK_S),
                origin=group.copies[0].record.header.origin,
            )
        except RefusedError as error:
            log.warning("copies_refused", bundles=len(group.dues), to=first.post, reason=str(error))
            for due in group.dues:
                self._exchange.failed(due)
            return
        self._under_way[bundle] = group.dues
        for due in group.dues:
            self._exchange.copied(due)

    async def _delivery(self, due: Due) -> Delivery | None:
        kept = self._rows.get(due.position)
        if kept is not None:
            return kept
        found = await self._disk.consumer_next(COPIER_PREFIX + due.post, due.position - 1, 1)
        return found[0] if found and found[0].position == due.position else None

    async def _payload(self, delivery: Delivery) -> bytes | None:
        """The whole payload; None when it is gone, or too large."""
        if delivery.payload is not None:
            return delivery.payload
        bundle = delivery.record.id
        if delivery.record.payload_bytes > COPY_MAX_BYTES:
            self.drops["copy_too_large"] += 1
            log.warning("copy_too_large", bundle=str(bundle), payload_bytes=delivery.record.payload_bytes)
            return None
        try:
            return await self._disk.read_payload(bundle)
        except (UnknownBundleError, DamagedError):
            self.drops["copy_gone"] += 1  # given up for room, or set aside, since its row was read
            return None

    async def _keep_cursors(self) -> None:
        for post in self._posts:
            cursor = self._exchange.cursor(post)
            if cursor > self._cursors[post]:
                await self._disk.consumer_ack(COPIER_PREFIX + post, cursor)
                self._cursors[post] = cursor

    async def _take(self) -> None:
        """Take words and copies in the order they came; each is done with once what it holds is on disk."""
        await self._disk.consumer_open(_IN, "posts.*", Start.ALL)
        while True:
            self._words.clear()
            try:
                has_taken = await self._take_some()
            except (RefusedError, StoreError) as error:  # they are on the disk: they are taken later
                log.warning("copies_waiting", reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            if not has_taken:
                await self._words.wait()

    async def _take_some(self) -> bool:
        deliveries = await self._disk.consumer_next(_IN, None, TOGETHER)
        if not deliveries:
            return False
        together: dict[BundleId, tuple[str, Copy]] = {}
        held_bytes, last = 0, 0
        for delivery in deliveries:
            for copy in await self._read_words(delivery):
                together.setdefault(copy.record.id, (delivery.record.id.source, copy))
                held_bytes += len(copy.payload)
            last = delivery.position
            if held_bytes >= TOGETHER_BYTES:
                break
        await asyncio.gather(*(self._adopt(copy, giver) for giver, copy in together.values()))
        await self._disk.consumer_ack(_IN, last)
        self._news.set()
        return True

    async def _read_words(self, delivery: Delivery) -> list[Copy]:
        """The copies that a post sent; what it says of itself is worked in."""
        giver, record = delivery.record.id.source, delivery.record
        if record.header.flow not in POST_FLOWS:
            return []  # an act, which is for the board
        if giver not in self._posts:
            if giver not in self._strangers:
                self._strangers.add(giver)
                log.warning("post_unknown", post=giver, hint="[command] copies_to of this node does not name it")
            self.drops["post_unknown"] += 1
            return []
        try:
            payload = delivery.payload
            if payload is None:
                payload = await self._disk.read_payload(record.id)
            if record.header.flow == HAVE_FLOW:
                self._exchange.take_word(giver, HaveWord.unpack(payload), self._now_s())
                return []
            copies = read_copies(payload, record, self._now_s())
        except (MalformedError, UnknownBundleError, DamagedError) as error:
            self.drops["post_word_unreadable"] += 1
            log.warning("post_word_unreadable", post=giver, reason=str(error))
            return []
        for_command = [each for each in copies if each.record.header.destination == COMMAND]
        self.drops["copy_not_for_command"] += len(copies) - len(for_command)
        return for_command

    async def _adopt(self, copy: Copy, giver: str) -> None:
        """Raises RefusedError where the store does not take it: it is tried again."""
        bundle = copy.record.id
        known = self._runner.closed_numbers().get(bundle[:3])
        if not copy.answers and (known is None or bundle.sequence not in known):
            self._be_silent(bundle)
        told = await self._runner.adopt(copy.record, copy.payload, giver)
        if told.adopted is Adopted.REFUSED:
            raise RefusedError(RefusalReason.STORE_FAILED, told.detail)
        if told.adopted in (Adopted.STORED, Adopted.KNOWN):
            self._exchange.took_copy(bundle, giver)
