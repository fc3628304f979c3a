"""A node small enough to be seen right at a glance, with faults that can be planted, to test the world itself on.

One frame a bundle, sent again each ``RESEND_S`` over the next link until the peer says STORED.
"""

import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

import msgpack

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import (
    BundleAccepted,
    BundleDelivered,
    Done,
    Effect,
    Erase,
    EraseReason,
    Event,
    Fetch,
    Fetched,
    Known,
    Loaded,
    LoadWindow,
    Outcome,
    Persist,
    Restored,
    Transmit,
)
from edge_agent.core.frame import LinkKeys
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import NodeReport, NodeSettings

RESEND_S = 1.5


@dataclass
class Waiting:
    record: BundleRecord
    payload: bytes
    due_s: float
    tries: int = 0


class ToyNode:
    """Honest by default. ``fault``: "early_stored", "accepts_early", "no_memory", "stuck" or ""."""

    def __init__(
        self,
        settings: NodeSettings,
        keys: LinkKeys,
        rng: random.Random,
        restored: Restored,
        now_s: float,
        fault: str = "",
    ) -> None:
        self.fault = fault
        self.settings = settings
        self.restored = restored
        self.next_sequences = list(restored.next_sequences)
        self.seen = {key: numbers.copy() for key, numbers in restored.seen}
        self.links: list[str] = []
        self.waiting: dict[BundleId, Waiting] = {}
        self.arriving: set[BundleId] = set()
        self.transmits: deque[Transmit] = deque()
        self.effects: deque[Effect] = deque()
        self.events: deque[Event] = deque()
        self.effects_asked = 0
        self.under_way: dict[int, tuple[Effect, tuple[str, Hashable | None]]] = {}
        self.loaded: list[BundleRecord] = []
        for count in restored.queues:
            self._ask(
                LoadWindow(effect_id=self._new_id(), queue=count.queue, after=None, newest_first=False, count=10**6)
            )

    def _ask(self, effect: Effect, back: tuple[str, Hashable | None] = ("", None)) -> None:
        self.under_way[effect.effect_id] = (effect, back)
        self.effects.append(effect)

    def _new_id(self) -> int:
        self.effects_asked += 1
        return self.effects_asked

    def submit(self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float) -> BundleId:
        sequence = self.next_sequences[precedence]
        self.next_sequences[precedence] += 1
        bundle = BundleId(self.settings.node_id, self.restored.incarnation, precedence, sequence)
        record = BundleRecord(id=bundle, header=header, payload_bytes=len(payload), as_of_s=now_s)
        self._persist(record, payload, is_arrival=False)
        if self.fault == "accepts_early":
            self.events.append(BundleAccepted(bundle))
        return bundle

    def _persist(
        self, record: BundleRecord, payload: bytes, *, is_arrival: bool, back: tuple[str, Hashable | None] = ("", None)
    ) -> None:
        persist = Persist(
            effect_id=self._new_id(),
            bundle=record.id,
            payload_bytes=len(payload),
            record=record,
            offset=0,
            payload=payload,
            is_arrival=is_arrival,
        )
        self._ask(persist, back)

    def receive(self, link: str, source: Hashable | None, frame: bytes, now_s: float) -> None:
        kind, name, packed, payload = msgpack.unpackb(frame)
        bundle = BundleId.parse(name)
        if kind == "stored":
            if self.waiting.pop(bundle, None):
                self._ask(Erase(effect_id=self._new_id(), bundles=(bundle,), reason=EraseReason.FORWARDED))
            return
        if bundle in self.arriving:
            return
        is_known = bundle.sequence in self.seen.get(bundle[:3], IntervalSet()) and self.fault != "no_memory"
        if is_known or self.fault == "early_stored":
            self._send(link, source, "stored", bundle)
        if is_known:
            return
        self.arriving.add(bundle)
        header = BundleHeader.unpack(packed)
        record = BundleRecord(id=bundle, header=header, payload_bytes=len(payload), as_of_s=now_s)
        self._persist(record, payload, is_arrival=True, back=(link, source))

    def _send(
        self, link: str, to: Hashable | None, kind: str, bundle: BundleId, header: bytes = b"", payload: bytes = b""
    ) -> None:
        self.transmits.append(Transmit(link, to, msgpack.packb([kind, str(bundle), header, payload])))

    def set_link(
        self,
        link: str,
        now_s: float,
        *,
        limits: LinkLimits | None,
        policy: LinkPolicy = LinkPolicy(),  # noqa: B008  # frozen
        is_listener: bool = False,
        reason: str = "",
    ) -> None:
        if link in self.links:
            self.links.remove(link)
        if limits is not None and not is_listener:
            self.links.append(link)

    def set_busy(self, link: str, now_s: float, *, is_busy: bool) -> None:
        pass

    def set_store_rate(self, store_bps: float) -> None:
        """Its disk is always fast enough."""

    def handle_timeout(self, now_s: float) -> None:
        for each in self.waiting.values():
            if each.due_s <= now_s and self.fault != "stuck":
                if self.links:
                    link = self.links[each.tries % len(self.links)]
                    self._send(link, None, "bundle", each.record.id, each.record.header.pack(), each.payload)
                each.tries += 1
                each.due_s = now_s + RESEND_S

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None:
        effect, (link, source) = self.under_way.pop(effect_id)
        if isinstance(effect, Persist) and isinstance(outcome, Done | Known):
            assert effect.record is not None
            if not effect.is_arrival:
                if self.fault != "accepts_early":
                    self.events.append(BundleAccepted(effect.bundle))
                self.waiting[effect.bundle] = Waiting(effect.record, effect.payload, now_s)
                return
            self.arriving.discard(effect.bundle)
            self.seen.setdefault(effect.bundle[:3], IntervalSet()).add(
                effect.bundle.sequence, effect.bundle.sequence + 1
            )
            self.events.append(BundleDelivered(effect.record, effect.bundle.source, (link,), effect.payload))
            self._send(link, source, "stored", effect.bundle)
        elif isinstance(outcome, Loaded):
            for record in outcome.records:
                self.loaded.append(record)
                self._ask(Fetch(effect_id=self._new_id(), bundle=record.id, offset=0, length=record.payload_bytes))
        elif isinstance(outcome, Fetched):
            record = self.loaded.pop(0)
            self.waiting[record.id] = Waiting(record, outcome.payload, now_s)

    def poll_transmit(self, now_s: float) -> Transmit | None:
        return self.transmits.popleft() if self.transmits else None

    def poll_effect(self) -> Effect | None:
        return self.effects.popleft() if self.effects else None

    def poll_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def next_wakeup(self) -> float | None:
        return min((each.due_s for each in self.waiting.values()), default=None)

    def report(self, now_s: float) -> NodeReport:
        return NodeReport(links=(), queues=(), last_heard_s={}, peer_roles={}, counters={})
