"""What a victim said before it died, and whether the store still holds all of it."""

import asyncio
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId, Origin
from edge_agent.disk.types import FateState
from tests.disk.bench import PEER_INCARNATION, Store, pattern
from tests.disk.victim import MASK


@dataclass(slots=True)
class Promises:
    """What the victims said before they died."""

    stored: dict[BundleId, int] = field(default_factory=dict)
    erasing: set[BundleId] = field(default_factory=set)
    erased: set[BundleId] = field(default_factory=set)
    parts: dict[BundleId, list[tuple[int, int]]] = field(default_factory=dict)
    staged: dict[BundleId, tuple[int, int]] = field(default_factory=dict)
    """Size, and how many bytes of it were handed in."""
    lapsed: set[BundleId] = field(default_factory=set)
    telling: set[BundleId] = field(default_factory=set)
    acked: int = 0
    session: int = 0
    leased: int = 0
    windows: dict[int, int] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        word, *rest = line.split()
        if word == "opened":
            assert int(rest[0]) > self.session
            self.session = int(rest[0])
            assert int(rest[1]) >= self.leased, "numbers that may have been used are given again"
            return
        if word == "leased":
            self.leased = int(rest[0])
            return
        if word == "window":
            self.windows[int(rest[0])] = int(rest[1])
            return
        if word == "acked":
            self.acked = max(self.acked, int(rest[0]))
            return
        bundle = BundleId.parse(rest[0])
        if word == "stored":
            assert bundle not in self.stored, "a number was given twice"
            self.stored[bundle] = int(rest[1])
            self.parts.pop(bundle, None)
            self.staged.pop(bundle, None)
        elif word == "staged":
            self.staged[bundle] = (int(rest[1]), int(rest[2]))
        elif word in ("lapsed", "telling"):
            (self.lapsed if word == "lapsed" else self.telling).add(bundle)
        elif word == "part":
            self.parts.setdefault(bundle, []).append((int(rest[2]), int(rest[3])))
        else:
            (self.erasing if word == "erasing" else self.erased).add(bundle)

    async def check(self, store: Store) -> None:
        """Compare the store with all that was ever promised."""
        kept = [bundle for bundle in self.stored if bundle not in self.erasing]
        for bundle in kept:
            expected = pattern(self.stored[bundle], bundle.sequence)
            assert await store.disk.read_payload(bundle) == expected, bundle
        for bundle in self.erased:
            outcome = await store.disk.fate(bundle)
            assert outcome is not None
            assert outcome.forwarded_ms is not None, bundle
        seen = dict(store.restored.seen)
        for bundle in self.stored:
            if bundle.source == store.node_id:
                assert bundle.sequence < store.restored.next_sequences[bundle.precedence]
            else:
                assert bundle.sequence in seen[bundle.source, bundle.incarnation, bundle.precedence]
        self.check_parts(store)
        await self.check_staged(store)
        assert store.restored.session_number > self.session
        assert not store.disk.report().was_copied  # a kill is no restore, wherever it met the count
        self.check_bursts(store)
        await self.check_lapsed(store)
        assert await store.disk.consumer_open("board") >= self.acked
        waiting = sum(count.bundles for count in store.restored.queues)
        own = sum(bundle.source == store.node_id for bundle in kept)
        assert waiting >= own
        assert await store.disk.verify() == []

    async def check_lapsed(self, store: Store) -> None:
        """What was ended here because nobody took it: its source is told, now or before."""
        await asyncio.sleep(0)
        owed = {each.bundle for each in store.acked if each.state is FateState.EXPIRED_THERE}
        assert self.lapsed - self.telling <= owed
        for bundle in self.lapsed:
            fate = await store.disk.fate(bundle)
            assert fate is not None
            assert fate.state is FateState.EXPIRED_THERE, bundle

    def check_bursts(self, store: Store) -> None:
        assert store.restored.burst_leased >= self.leased
        if not self.windows:
            return
        (window,) = store.restored.burst_windows
        assert (window.sender_number, window.incarnation) == (7, PEER_INCARNATION)
        highest = max(self.windows)
        assert window.highest >= highest
        behind = window.highest - highest
        assert window.mask >> behind == self.windows[highest] & (MASK >> behind), "what was taken is open again"

    async def check_staged(self, store: Store) -> None:
        for bundle, (size, end) in self.staged.items():
            found = await store.disk.staging.open(str(bundle), size, bundle.precedence, Origin.MACHINE)
            store.disk.staging.close(found.part)
            if found.bundle is not None:
                continue  # whole before the kill, the word of it unsaid
            assert found.offset >= end, bundle
            content = store.disk._store.files.part_path(found.part).read_bytes()
            assert content[: found.offset] == pattern(size, bundle.sequence)[: found.offset], bundle

    def check_parts(self, store: Store) -> None:
        parts = {part.bundle: part for part in store.restored.parts}
        for bundle, ranges in self.parts.items():
            seen = dict(store.restored.seen).get((bundle.source, bundle.incarnation, bundle.precedence))
            if seen is not None and bundle.sequence in seen:
                continue  # whole before the kill, the word of it unsaid
            known = parts[bundle].ranges
            path = store.disk._store.files.part_path(bundle)
            content, expected = path.read_bytes(), pattern(parts[bundle].payload_bytes, bundle.sequence)
            for start, end in ranges:
                assert any(left <= start and end <= right for left, right in known), bundle
                assert content[start:end] == expected[start:end], bundle
