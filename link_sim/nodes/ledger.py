"""Ledger: what a simulated world promised and what became of it, checked at every step from outside the nodes.

Nothing accepted is lost, nothing is delivered twice, and what arrives is what was sent. A step costs O(1); ``audit``
compares the whole state.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import BundleDelivered, Effect, Erase, EraseReason, Outcome, Persist
from edge_agent.core.errors import EdgeAgentError
from link_sim.nodes.disk import NodeDisk

_ROUNDING_S = 1e-6  # a node may add the same ages in another order


class BrokenPromiseError(EdgeAgentError):
    """A simulated node lost, doubled or changed a bundle; the message names the bundle, node, time and seed."""


class Delivery(NamedTuple):
    """One bundle that reached its destination. ``payload`` is None when it was too large to come with the event."""

    t_s: float
    node: str
    record: BundleRecord
    payload: bytes | None
    via: tuple[str, ...]

    @property
    def bundle(self) -> BundleId:
        """Its name."""
        return self.record.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of durable bundles: accepted = delivered + waiting + expired + superseded + cancelled + lost."""

    accepted: int
    delivered: int
    expired: int
    superseded: int
    cancelled: int
    lost: int
    doubled: int

    @property
    def waiting(self) -> int:
        """Accepted and on somebody's disk, not yet at its destination."""
        return self.accepted - self.delivered - self.expired - self.superseded - self.cancelled - self.lost


@dataclass(slots=True)
class _Entry:
    payload: bytes
    expires_s: float
    is_accepted: bool = False
    is_delivered: bool = False
    closed: EraseReason | None = None
    is_recalled: bool = False
    holders: int = 0  # disks that have the whole bundle
    stored_at: tuple[str, ...] = ()  # nodes on whose disk it is or was
    delivered_at: tuple[str, ...] = ()


@dataclass(slots=True)
class Ledger:
    """Entries for every bundle submitted, for the length of the run. ``seed`` is said in every complaint."""

    seed: int
    _entries: dict[BundleId, _Entry] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def submitted(self, bundle: BundleId, node: str, payload: bytes, t_s: float, lifetime_s: float = math.inf) -> None:
        """A node gave this id to this payload, which is useless ``lifetime_s`` later."""
        if bundle in self._entries:
            self._complain("an id is given twice", bundle, node, t_s)
        self._entries[bundle] = _Entry(payload, t_s + lifetime_s)

    def recalled(self, bundle: BundleId) -> None:
        """Its source cancelled it and was told that it cannot have arrived."""
        self._entries[bundle].is_recalled = True

    def accepted(self, bundle: BundleId, node: str, disk: NodeDisk, t_s: float) -> None:
        """The node said that it is on its disk."""
        entry = self._entry(bundle, node, t_s)
        if bundle not in disk:
            self._complain("accepted and not on disk", bundle, node, t_s)
        if not entry.is_accepted:
            entry.is_accepted = True
            self._counts["accepted"] += 1

    def delivered(self, event: BundleDelivered, node: str, disk: NodeDisk, t_s: float) -> None:
        """The node handed it to its consumer."""
        bundle = event.record.id
        entry = self._entry(bundle, node, t_s)
        if node in entry.delivered_at:
            self._counts["doubled"] += 1
            self._complain("delivered twice", bundle, node, t_s)
        if entry.is_recalled:
            self._complain("delivered and told to be cancelled", bundle, node, t_s)
        is_perishable = event.record.header.deadline_s > 0
        if not is_perishable and bundle not in disk:
            self._complain("delivered and not on disk", bundle, node, t_s)
        payload = event.payload if event.payload is not None else disk.payload(bundle)
        if payload != entry.payload:
            self._complain("delivered with another payload", bundle, node, t_s)
        entry.delivered_at += (node,)
        if not entry.is_delivered and not is_perishable:
            entry.is_delivered = True
            self._counts["delivered"] += 1
            if entry.closed is not None:  # the copy that expired was not the only one
                self._counts[entry.closed.value] -= 1
                entry.closed = None

    def watch(self, effect: Effect, node: str, disk: NodeDisk, t_s: float) -> Outcome:
        """Let ``disk`` make ``effect`` true, and note what it has and has no longer."""
        if isinstance(effect, Persist):
            was_there = effect.bundle in disk
            outcome = disk.execute(effect)
            if not was_there and effect.bundle in disk:
                entry = self._entry(effect.bundle, node, t_s)
                entry.stored_at += (node,)
                entry.holders += 1
            return outcome
        if isinstance(effect, Erase):
            records = [record for bundle in effect.bundles if (record := disk.record(bundle)) is not None]
            outcome = disk.execute(effect)
            self._erased(effect, records, node, t_s)
            return outcome
        return disk.execute(effect)

    def _erased(self, effect: Erase, records: Iterable[BundleRecord], node: str, t_s: float) -> None:
        for record in records:
            entry = self._entry(record.id, node, t_s)
            entry.holders -= 1
            if entry.holders > 0 or entry.is_delivered:
                continue
            reason = effect.reason
            if reason is EraseReason.FORWARDED and self.has_expired(record.id, t_s):  # on arrival at the next node
                reason = EraseReason.EXPIRED
            if not self._may_close(record, reason, t_s):
                self._counts["lost"] += 1
                self._complain(f"erased as {reason.value}, the last copy", record.id, node, t_s)
            if entry.is_accepted and entry.closed is None:
                entry.closed = reason
                self._counts[reason.value] += 1

    @staticmethod
    def _may_close(record: BundleRecord, reason: EraseReason, t_s: float) -> bool:
        if reason is EraseReason.EXPIRED:
            return record.is_expired(t_s + _ROUNDING_S)
        if reason is EraseReason.SUPERSEDED:
            return record.header.order is FlowOrder.LATEST
        return reason is EraseReason.CANCELLED

    def audit(self, disks: Iterable[NodeDisk], t_s: float) -> None:
        """Compare every entry with every disk. O(everything)."""
        held: Counter[BundleId] = Counter()
        for disk in disks:
            held.update(disk.bundles())
        for bundle, entry in self._entries.items():
            holders = held.get(bundle, 0)
            if not holders and entry.is_accepted and not entry.is_delivered and entry.closed is None:
                self._complain("accepted and on no disk", bundle, bundle.source, t_s)
            if holders != entry.holders:
                self._complain(f"on {holders} disks, {entry.holders} counted", bundle, bundle.source, t_s)

    def has_stored(self, bundle: BundleId, node: str) -> bool:
        """Whether the whole bundle is or was on the node's disk."""
        entry = self._entries.get(bundle)
        return entry is not None and node in entry.stored_at

    def has_expired(self, bundle: BundleId, t_s: float) -> bool:
        """Whether the lifetime of a bundle has passed, as seen from outside."""
        entry = self._entries.get(bundle)
        return entry is not None and entry.expires_s <= t_s + _ROUNDING_S

    def called_expired(self, bundle: BundleId, node: str, t_s: float) -> None:
        """A node gave nobody a bundle that came to it, because it was too old."""
        if not self.has_expired(bundle, t_s):
            self._complain("called expired inside its lifetime", bundle, node, t_s)

    def tally(self) -> Tally:
        """The counts so far."""
        counts = self._counts
        return Tally(
            accepted=counts["accepted"],
            delivered=counts["delivered"],
            expired=counts["expired"],
            superseded=counts["superseded"],
            cancelled=counts["cancelled"],
            lost=counts["lost"],
            doubled=counts["doubled"],
        )

    def waiting(self, precedence: Precedence | None = None) -> list[BundleId]:
        """Accepted bundles that neither arrived nor were closed. O(everything)."""
        return [
            bundle
            for bundle, entry in self._entries.items()
            if entry.is_accepted
            and not entry.is_delivered
            and entry.closed is None
            and precedence in (None, bundle.precedence)
        ]

    def _entry(self, bundle: BundleId, node: str, t_s: float) -> _Entry:
        entry = self._entries.get(bundle)
        if entry is None:
            self._complain("never submitted", bundle, node, t_s)
        return entry

    def _complain(self, what: str, bundle: BundleId, node: str, t_s: float) -> NoReturn:
        raise BrokenPromiseError(f"seed {self.seed}, t {t_s:.9f} s, node {node}: bundle {bundle}: {what}")
