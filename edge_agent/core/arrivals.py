"""Fragments in, whole bundles out: bounded reassembly, identity, and what the sender is told.

A bundle of at most 64 KiB is joined in memory and made durable whole; a larger one goes to its ``.part`` in runs, and
the sender learns which ranges are synced. Custody, delivery and the closed number follow ``complete(Persist)`` only;
what has surely expired on its way ends here: its number closes, its sender hears STORED, and nobody gets it.
"""

from collections import deque

from edge_agent.core.blocks import Fragment, Refused, Source, StoredPartly
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, MalformedError, Precedence
from edge_agent.core.closed_numbers import ClosedKey, ClosedNumbers
from edge_agent.core.effects import (
    ArrivalExpired,
    BundleDelivered,
    CameAgain,
    Erase,
    EraseReason,
    Failed,
    IdentityMismatch,
    Known,
    Outcome,
    Persist,
    Restored,
    StoredPart,
)
from edge_agent.core.errors import RefusalReason
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.known_headers import KnownHeaders
from edge_agent.core.outputs import Outputs
from edge_agent.core.partial import Partial
from edge_agent.core.payload_cache import CHUNK_BYTES
from edge_agent.core.peer import Peer, Reply
from edge_agent.core.receive_room import ReceiveRoom
from edge_agent.core.report import NodeSettings
from edge_agent.core.stored_headers import StoredHeaders
from edge_agent.core.withheld import Withheld

PARTIALS_MAX = 64
PARTIAL_BYTES_MAX = 8 << 20
"""Per peer: partials and bytes joined in memory; beyond it the lowest and oldest partial goes."""
SYNC_WAIT_S = 1.0
REPLY_WAIT_S = 0.012
"""How long word of custody may wait for company (an ACK waits as long)."""
RETRY_DROPPED_S = 5.0
RETRY_FULL_S = 30.0
_IMMEDIATE = Precedence.IMMEDIATE  # a member of an enum is slow to look up
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
UNSYNCED_BYTES_MAX = 256 << 10
"""Per peer: what may be in memory only for longer than SYNC_WAIT_S; a crash here costs the sender no more."""
TOLD_RANGES_MAX = 64
TELL_AGAIN_S = 0.5
"""A sender that repeats what is here is told once in such a time what is stored: a round trip of most links."""


class Arrivals:
    """All bundles coming in."""

    def __init__(self, settings: NodeSettings, outputs: Outputs, restored: Restored) -> None:
        self.settings = settings
        self.outputs = outputs
        self.room = ReceiveRoom(settings)
        self.closed = ClosedNumbers(restored.seen)
        self.withheld = Withheld()
        self.relayed: deque[tuple[BundleRecord, bytes | None]] = deque()
        """Durable here and bound for another node; Node hands them to custody."""
        self._partials: dict[BundleId, Partial] = {}
        self._incarnation = restored.incarnation
        self._parts = {part.bundle: part for part in restored.parts}
        self._stored = StoredHeaders()
        self._headers = KnownHeaders()

    def joining(self) -> int:
        """How many bundles have arrived in part and are not being made durable. O(partials)."""
        return sum(not partial.is_persisting for partial in self._partials.values())

    def is_seen(self, bundle: BundleId) -> bool:
        """Whether this bundle is durable here or was once, as far as that is in memory."""
        return bundle in self.closed

    def becoming_durable(self, key: ClosedKey) -> list[int]:
        """Numbers of bundles that are whole and on their way to the disk. O(partials)."""
        return [
            each.bundle.sequence for each in self._partials.values() if each.is_persisting and each.bundle[:3] == key
        ]

    def close_numbers(self, key: ClosedKey, ranges: IntervalSet) -> None:
        """The source will never send these numbers (again): nobody completes what came of them in part."""
        for start, end in ranges:
            self.closed.close(key, start, end)
        for partial in list(self._partials.values()):
            if not partial.is_persisting and partial.bundle[:3] == key and partial.bundle.sequence in ranges:
                self.outputs.drop("partial_closed")
                self._drop(partial)
        for bundle in [each for each in self._parts if each[:3] == key and each.sequence in ranges]:
            del self._parts[bundle]
            self._erase_part(bundle)

    def take(self, fragment: Fragment, peer: Peer, link: str, now_s: float) -> None:
        """One fragment from ``peer``. Never raises for what it holds."""
        if fragment.source is None:
            source, incarnation = peer.node_id, peer.incarnation
        else:
            source, incarnation = fragment.source
        bundle = _new_tuple(BundleId, (source, incarnation, fragment.precedence, fragment.sequence))
        if source == self.settings.node_id and incarnation == self._incarnation:
            # it began here: a second copy would take the place of the one in custody, and STORED would end the peer's
            self._refuse(bundle, peer, RefusalReason.NO_ROUTE, RETRY_FULL_S, now_s)
            return
        if self.is_seen(bundle):
            self.outputs.drop("bundle_duplicate")
            if fragment.header and self._stored.differs(bundle, fragment.header):
                self._alarm(bundle, peer)
            if self.withheld.is_on and bundle in self.withheld:
                return
            if bundle[:2] != peer.itself:
                self.outputs.events.append(CameAgain(bundle))
            peer.owe_custody(bundle, now_s + REPLY_WAIT_S)
            return
        self.room.note_fed(peer, len(fragment.payload), now_s)
        partial = self._partials.get(bundle)
        if partial is None:
            partial = self._open(bundle, fragment, peer, now_s)
            if partial is None:
                return
        if link not in partial.via:
            partial.via = tuple(sorted((*partial.via, link)))
        if partial.is_persisting or fragment.total_bytes != partial.payload_bytes:
            self.outputs.drop("fragment_late" if partial.is_persisting else "fragment_length_mismatch")
            return
        if fragment.header and not self._take_header(partial, fragment, peer, now_s):
            return
        partial.touched_s = now_s
        self._join(partial, fragment, now_s)

    def _open(self, bundle: BundleId, fragment: Fragment, peer: Peer, now_s: float) -> Partial | None:
        """Room for a bundle not heard of before; refuses it before its first byte when there is none."""
        length, precedence = fragment.total_bytes, bundle.precedence
        if precedence is not Precedence.FLASH or length > CHUNK_BYTES:  # the store keeps a reserve for calls for help
            if self.room.lacks_store(length, precedence):
                self._refuse(bundle, peer, RefusalReason.STORE_FULL, RETRY_FULL_S, now_s)
                self.room.has_turned_away = True
                peer.told_window_bytes = -1  # it hears what there is room for, and when there is more
                return None
            if self.room.lacks_memory(length, precedence):
                self._refuse(bundle, peer, RefusalReason.PARTIAL_DROPPED, self.room.retry_s(), now_s)
                return None
        partial = Partial(bundle, length, peer, now_s, now_s, self.room.take(peer, length))
        known = self._parts.pop(bundle, None) if self._parts else None
        if known is not None and known.payload_bytes == length:
            partial.is_file = True
            self.room.note_booked(partial)
            self._resume(partial, known, now_s)
        elif length <= CHUNK_BYTES and len(fragment.payload) < length:
            partial.buffer = bytearray(length)
        self._partials[bundle] = partial
        if len(fragment.payload) < length:  # one that is whole is not joined, so it takes no room from those that are
            self._make_room(peer, now_s)
        return partial if bundle in self._partials else None

    def _resume(self, partial: Partial, known: StoredPart, now_s: float) -> None:
        """Go on with a ``.part`` of an earlier start. Its first byte is asked for again: the header travels with it."""
        for ranges in (partial.ranges, partial.stored):
            for start, end in known.ranges:
                ranges.add(max(start, 1), end)
        self._tell_stored(partial, now_s)

    def _make_room(self, peer: Peer, now_s: float) -> None:
        """Keep the bounds per peer: the lowest precedence goes first, in it the one untouched for longest."""
        own = [each for each in self._partials.values() if each.peer is peer and not each.is_persisting]
        held_bytes = sum(each.memory_bytes for each in own)
        while len(own) > PARTIALS_MAX or held_bytes > PARTIAL_BYTES_MAX:
            victim = max(own, key=lambda each: (each.bundle.precedence, -each.touched_s))
            own.remove(victim)
            held_bytes -= victim.memory_bytes
            self._abandon(victim, RefusalReason.PARTIAL_DROPPED, RETRY_DROPPED_S, now_s)

    def abandon(self, bundle: BundleId, peer: Peer) -> None:
        """``peer`` will not send the rest of a bundle: what came of it goes, unless all of it is here."""
        partial = self._partials.get(bundle)
        if partial is None or partial.peer is not peer or partial.is_persisting:
            return
        self.outputs.drop("partial_abandoned")
        self._drop(partial)

    def _abandon(self, partial: Partial, reason: RefusalReason, retry_after_s: float, now_s: float) -> None:
        self.outputs.drop(reason.value)
        self._drop(partial)
        self._refuse(partial.bundle, partial.peer, reason, retry_after_s, now_s)

    def _drop(self, partial: Partial) -> None:
        """Nothing of it stays here."""
        self._forget(partial)
        if partial.is_file:
            self._erase_part(partial.bundle)

    def _erase_part(self, bundle: BundleId) -> None:
        effect_id = self.outputs.new_effect(lambda outcome, now_s: None, is_quiet=True)
        self.outputs.effects.append(Erase(effect_id=effect_id, bundles=(bundle,), reason=EraseReason.PARTIAL_DROPPED))

    def _forget(self, partial: Partial) -> None:
        if self._partials.get(partial.bundle) is partial:  # not one opened anew under the same name
            del self._partials[partial.bundle]
            self.room.give_back(partial)

    def _refuse(self, bundle: BundleId, peer: Peer, reason: RefusalReason, retry_after_s: float, now_s: float) -> None:
        self.outputs.drop(f"refused_{reason.value}")
        block = Refused(Source(*bundle[:2]), bundle.precedence, bundle.sequence, reason, retry_after_s)
        peer.owe(Reply(block, is_urgent=True), now_s)

    def _take_header(self, partial: Partial, fragment: Fragment, peer: Peer, now_s: float) -> bool:
        if partial.header is not None:
            if fragment.header != partial.header_packed:
                self._alarm(partial.bundle, peer)
                return False
            return True
        try:
            partial.header = fragment.known or self._headers.unpack(fragment.header)
        except MalformedError:
            self._abandon(partial, RefusalReason.MALFORMED, RETRY_FULL_S, now_s)
            return False
        partial.header_packed = fragment.header
        partial.age_low_s = fragment.age_low_ms / 1000
        partial.age_extra_s = fragment.age_extra_ms / 1000
        partial.aged_s = now_s
        if partial.age_low_s < partial.header.lifetime_s:
            return True
        self._bury(partial, now_s)
        return False

    def _bury(self, partial: Partial, now_s: float) -> None:
        """It has surely expired. Not made durable: whoever sends it again sends it older, and hears the same."""
        assert partial.header is not None
        self._drop(partial)
        self._close(partial, now_s)
        self.outputs.drop("arrival_expired")
        self.outputs.events.append(ArrivalExpired(self._record(partial, partial.header, now_s), partial.peer.node_id))

    def _alarm(self, bundle: BundleId, peer: Peer) -> None:
        self.outputs.drop("identity_mismatch")
        self.outputs.events.append(IdentityMismatch(bundle, peer.node_id))

    def _join(self, partial: Partial, fragment: Fragment, now_s: float) -> None:
        start, length = fragment.offset, len(fragment.payload)
        if length == partial.payload_bytes and not partial.is_file:
            self._finish(partial, 0, fragment.payload, now_s)
            return
        if partial.ranges.add(start, start + length) == 0:
            self.outputs.drop("fragment_duplicate")
            if partial.stored and now_s - partial.told_s >= TELL_AGAIN_S:
                partial.told_s = now_s
                self._tell_stored(partial, now_s)
            return
        is_whole = partial.ranges.total == partial.payload_bytes
        if partial.buffer is not None:
            partial.buffer[start : start + length] = fragment.payload
            if is_whole and partial.header is not None:
                self._finish(partial, 0, bytes(partial.buffer), now_s)
            return
        partial.add_run(start, fragment.payload)
        if partial.unsynced_s is None:
            partial.unsynced_s = now_s
        if is_whole or partial.run_bytes >= CHUNK_BYTES:
            self._flush(partial, now_s)

    def _flush(self, partial: Partial, now_s: float) -> None:
        """Send the runs in memory to the ``.part``; the last write of a whole bundle carries its record."""
        runs, partial.runs, partial.run_bytes, partial.unsynced_s = partial.runs, [], 0, None
        is_whole = partial.ranges.total == partial.payload_bytes and partial.header is not None
        if is_whole:
            last_offset, last_run = runs.pop() if runs else (partial.payload_bytes, bytearray())
        for offset, run in runs:
            self._write(partial, offset, bytes(run))
        if is_whole:
            self._finish(partial, last_offset, bytes(last_run), now_s)

    def _write(self, partial: Partial, offset: int, run: bytes) -> None:
        partial.is_file = True

        def written(outcome: Outcome, now_s: float) -> None:
            if self._partials.get(partial.bundle) is not partial:
                return
            if isinstance(outcome, Failed):
                self._abandon(partial, outcome.reason, RETRY_FULL_S, now_s)
                return
            partial.stored.add(offset, offset + len(run))
            self.room.note_booked(partial)
            self._tell_stored(partial, now_s)

        self.outputs.effects.append(
            Persist(
                effect_id=self.outputs.new_effect(written),
                bundle=partial.bundle,
                payload_bytes=partial.payload_bytes,
                record=None,
                offset=offset,
                payload=run,
                is_arrival=True,
            )
        )

    def _tell_stored(self, partial: Partial, now_s: float) -> None:
        _tell(partial.peer, partial.bundle, partial.stored, now_s)

    def tell_partials(self, peer: Peer, now_s: float) -> None:
        """``peer`` has started anew and knows nothing: tell it which ranges of its bundles are stored here."""
        for partial in self._partials.values():
            if partial.peer is peer and partial.stored and not partial.is_persisting:
                self._tell_stored(partial, now_s)
        for bundle, part in self._parts.items():
            if bundle.source == peer.node_id:
                ranges = IntervalSet(part.ranges)
                ranges.remove(0, 1)  # its first byte is asked for again: the header travels with it
                _tell(peer, bundle, ranges, now_s)

    def _finish(self, partial: Partial, offset: int, payload: bytes, now_s: float) -> None:
        """All bytes are here: make the bundle durable, then say so."""
        assert partial.header is not None
        record = self._record(partial, partial.header, now_s)
        if record.is_expired(now_s):
            self._bury(partial, now_s)
            return
        partial.is_persisting = True
        partial.buffer = None
        whole = payload if len(payload) == partial.payload_bytes else None

        def persisted(outcome: Outcome, now_s: float) -> None:
            self._forget(partial)
            if isinstance(outcome, Failed):
                self._refuse(partial.bundle, partial.peer, outcome.reason, RETRY_FULL_S, now_s)
                return
            if isinstance(outcome, Known):  # it was given out long ago, and the number forgotten here
                self.outputs.drop("bundle_duplicate")
                self._close(partial, now_s)
                return
            self._settle(partial, record, whole, now_s)

        self.outputs.effects.append(
            Persist(
                effect_id=self.outputs.new_effect(persisted),
                bundle=partial.bundle,
                payload_bytes=partial.payload_bytes,
                record=record,
                offset=offset,
                payload=payload,
                is_arrival=True,
                peer=partial.peer.node_id,
                via=partial.via,
            )
        )

    @staticmethod
    def _record(partial: Partial, header: BundleHeader, now_s: float) -> BundleRecord:
        """What is known of a bundle now."""
        age_low_s = partial.age_low_at(now_s)
        return BundleRecord(
            partial.bundle, header, partial.payload_bytes, now_s, age_low_s, age_low_s + partial.age_extra_s
        )

    def _settle(self, partial: Partial, record: BundleRecord, payload: bytes | None, now_s: float) -> None:
        withheld, is_told = self.withheld, True
        if withheld.is_on and record.header.destination == COMMAND and partial.peer.role != COMMAND:
            withheld.hold(partial.bundle, partial.peer, now_s)
            is_told = False
        self._close(partial, now_s, is_told=is_told)
        if self.settings.is_destination(record.header.destination):
            self.outputs.events.append(BundleDelivered(record, partial.peer.node_id, partial.via, payload))
        else:
            self.relayed.append((record, payload))

    def _close(self, partial: Partial, now_s: float, *, is_told: bool = True) -> None:
        """Nobody needs to send this one again: its number closes, and its sender is told, or told later."""
        bundle = partial.bundle
        key = (bundle.source, bundle.incarnation, bundle.precedence)
        if self.closed.close(key, bundle.sequence, bundle.sequence + 1):
            self._ask(key, partial.peer, now_s)
        self._stored.note(bundle, partial.header_packed)
        if not is_told:
            return
        peer = partial.peer
        is_urgent = bundle.precedence <= _IMMEDIATE
        peer.owe_custody(bundle, now_s if is_urgent else max(now_s, peer.answered_s + REPLY_WAIT_S))

    def _ask(self, key: ClosedKey, peer: Peer, now_s: float) -> None:
        """Many numbers of ``key`` have not come: its source says which never will. Nobody else knows."""
        if key[:2] == peer.itself and not self.settings.has_other_posts:  # what they took would seem closed
            question = self.closed.question(key, now_s)
            if question is not None:
                peer.owe(Reply(question, is_urgent=False), now_s + REPLY_WAIT_S)

    def sweep(self, now_s: float) -> None:
        """Write out what has waited SYNC_WAIT_S, end what has expired half-way, and share the room anew."""
        self.room.sweep(now_s)
        self.withheld.sweep(now_s)
        kept_bytes: dict[str, int] = {}
        for partial in reversed(list(self._partials.values())):  # the newest stay in memory
            if partial.is_persisting:
                continue
            if partial.header is not None and partial.age_low_at(now_s) >= partial.header.lifetime_s:
                self._bury(partial, now_s)
                continue
            if partial.buffer is not None and now_s - partial.opened_s >= SYNC_WAIT_S:
                name = partial.peer.node_id
                kept_bytes[name] = kept_bytes.get(name, 0) + partial.ranges.total
                if kept_bytes[name] > UNSYNCED_BYTES_MAX:
                    partial.spill()
                    self._flush(partial, now_s)
            elif partial.unsynced_s is not None and now_s - partial.unsynced_s >= SYNC_WAIT_S:
                self._flush(partial, now_s)

    def has_partials(self) -> bool:
        """Whether ``sweep`` may have work."""
        return bool(self._partials or self.withheld)


def _tell(peer: Peer, bundle: BundleId, stored: IntervalSet, now_s: float) -> None:
    """Say which bytes of a bundle are synced here."""
    block = StoredPartly(Source(*bundle[:2]), bundle.precedence, bundle.sequence, tuple(stored)[:TOLD_RANGES_MAX])
    peer.owe(Reply(block, is_urgent=False), now_s + REPLY_WAIT_S)
