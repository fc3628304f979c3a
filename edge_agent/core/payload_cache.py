"""Payload bytes in memory, in chunks, bounded: small bundles right after Persist, large ones just ahead of a link."""

from collections import OrderedDict
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId
from edge_agent.core.effects import Failed, Fetch, Fetched, Outcome
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.scheduler import Scheduler

CHUNK_BYTES = 65_536
"""Unit of Fetch; also the largest payload that is a row and not a file (DESIGN section 5)."""
FETCHED_BYTES = 1 << 20
"""Room for chunks that links have asked for, beyond what was kept after Persist."""


@dataclass(slots=True)
class PayloadCache:
    """Chunks by (bundle, number of the chunk), oldest use first; never more than ``limit_bytes``."""

    outputs: Outputs
    scheduler: Scheduler
    limit_bytes: int
    held_bytes: int = 0
    _chunks: OrderedDict[tuple[BundleId, int], bytes] = field(default_factory=OrderedDict)
    _fetching: set[tuple[BundleId, int]] = field(default_factory=set)
    _unreadable: set[tuple[BundleId, int]] = field(default_factory=set)

    def put(self, bundle: BundleId, payload: bytes) -> None:
        """Keep a whole small payload while there is room; what came first is sent first, so it stays."""
        if len(payload) <= CHUNK_BYTES and self.held_bytes + len(payload) <= self.limit_bytes:
            self._keep((bundle, 0), payload)

    def read(self, outgoing: Outgoing, start: int, end: int) -> bytes | None:
        """Payload bytes [start, end), cut at the chunk's end; None while they are being fetched.

        Asks for the next chunk ahead once half of this one is sent.
        """
        bundle, length = outgoing.record.id, outgoing.record.payload_bytes
        if length == 0:
            return b""
        index = start // CHUNK_BYTES if length > CHUNK_BYTES else 0
        chunk = self._chunks.get((bundle, index))
        if chunk is None:
            self._fetch(bundle, index, length)
            return None
        if length > CHUNK_BYTES:
            self._chunks.move_to_end((bundle, index))
            base = index * CHUNK_BYTES
            if start - base > CHUNK_BYTES // 2 and base + CHUNK_BYTES < length:
                following = (bundle, index + 1)
                if following not in self._chunks:
                    self._fetch(bundle, index + 1, length)
            return chunk[start - base : end - base]
        return chunk[start:end]

    def holds(self, outgoing: Outgoing, start: int) -> bool:
        """Whether ``read`` from ``start`` on would give bytes at once; asks for nothing."""
        record = outgoing.record
        return record.payload_bytes == 0 or (record.id, start // CHUNK_BYTES) in self._chunks

    def is_coming(self, outgoing: Outgoing, start: int) -> bool:
        """Whether the store is being asked for ``start`` and has not failed to read it before."""
        key = (outgoing.record.id, start // CHUNK_BYTES)
        return key in self._fetching and key not in self._unreadable

    def forget(self, bundle: BundleId, length: int) -> None:
        """Drop what is held of a bundle whose custody ended."""
        for index in range(-(-length // CHUNK_BYTES) if length > CHUNK_BYTES else 1):
            if self._unreadable:
                self._unreadable.discard((bundle, index))
            chunk = self._chunks.pop((bundle, index), None)
            if chunk is not None:
                self.held_bytes -= len(chunk)

    def _keep(self, key: tuple[BundleId, int], chunk: bytes) -> None:
        if key in self._chunks:
            return
        self._chunks[key] = chunk
        self.held_bytes += len(chunk)
        while self.held_bytes > self.limit_bytes + FETCHED_BYTES and len(self._chunks) > 1:
            _, oldest = self._chunks.popitem(last=False)
            self.held_bytes -= len(oldest)

    def _fetch(self, bundle: BundleId, index: int, length: int) -> None:
        key = (bundle, index)
        if key in self._fetching:
            return
        self._fetching.add(key)

        def fetched(outcome: Outcome, now_s: float) -> None:
            self._fetching.discard(key)
            if isinstance(outcome, Fetched):
                self._unreadable.discard(key)
                self._keep(key, outcome.payload)
                self.scheduler.version += 1  # links that found nothing to send look again
            elif isinstance(outcome, Failed):
                self._unreadable.add(key)
                self.outputs.drop("fetch_failed")

        offset = index * CHUNK_BYTES
        self.outputs.effects.append(
            Fetch(
                effect_id=self.outputs.new_effect(fetched),
                bundle=bundle,
                offset=offset,
                length=min(CHUNK_BYTES, length - offset),
            )
        )
