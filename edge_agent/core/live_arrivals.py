"""Perishable bundles coming in: joined in memory, repaired where repairs came, handed on once and at once."""

from dataclasses import dataclass, field

from edge_agent.core.blocks import Fragment, Live, Repair
from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, MalformedError
from edge_agent.core.codec import read_live
from edge_agent.core.effects import BundleDelivered
from edge_agent.core.fec import LENGTH_BYTES, SYMBOL_MAX_BYTES, WINDOW_MAX, Decoder, Recovered, symbol_of
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.known_headers import KnownHeaders
from edge_agent.core.live import DEADLINE_MAX_S, LIVE_MAX_BYTES, LiveSender
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer
from edge_agent.core.report import NodeSettings
from edge_agent.core.session import Session
from edge_agent.core.varint import ByteReader

PARTIALS_MAX, PARTIAL_BYTES_MAX = 32, 512 << 10
"""Per peer; beyond it the oldest goes: a later frame of a picture is worth more."""
JOIN_MAX_S = DEADLINE_MAX_S
REMEMBERED = 4096
"""Numbers that a source's bundles are remembered by: a copy comes within its deadline, and no flow sends so many."""
FAR = 1 << 29
"""A number so far below the newest is of another start of its source, of which the numbers begin anew."""
SOURCES_MAX = 1024


@dataclass(slots=True)
class _Seen:
    """Live bundles of one source and class that came lately."""

    newest: int = -1
    numbers: set[int] = field(default_factory=set)

    def is_new(self, number: int) -> bool:
        """Whether a bundle of this number may still be handed on."""
        return number not in self.numbers and not self.newest - FAR < number <= self.newest - REMEMBERED

    def note(self, number: int) -> None:
        """It is handed on."""
        if number > self.newest or number <= self.newest - FAR:
            self.newest = number
        self.numbers.add(number)
        if len(self.numbers) > 2 * REMEMBERED:
            floor = self.newest - REMEMBERED
            self.numbers = {each for each in self.numbers if floor < each <= self.newest}


@dataclass(slots=True, eq=False)
class _Joining:
    """A live bundle of which some fragments have come."""

    peer: Peer
    buffer: bytearray
    opened_s: float
    first: Fragment | None = None
    ranges: IntervalSet = field(default_factory=IntervalSet)
    via: tuple[str, ...] = ()


@dataclass(slots=True)
class LiveArrivals:
    """All live bundles coming in; those for other nodes go on to ``sender``."""

    settings: NodeSettings
    outputs: Outputs
    sender: LiveSender
    joining: dict[BundleId, _Joining] = field(default_factory=dict)
    _seen: dict[tuple[object, ...], _Seen] = field(default_factory=dict)
    _headers: KnownHeaders = field(default_factory=KnownHeaders)

    def take(self, block: Live, session: Session, peer: Peer, link: str, now_s: float) -> None:
        """One block from ``peer``. Never raises for what it holds."""
        self._take_fragment(block.fragment, peer, link, now_s)
        if not block.number:
            return
        if len(block.content) > SYMBOL_MAX_BYTES:
            self.outputs.drop("live_not_coverable")
            return
        if session.live_blocks is None:
            session.live_blocks = Decoder()
        recovered = session.live_blocks.take(block.number, symbol_of(block.content))
        if recovered:
            self._take_recovered(recovered, peer, link, now_s)

    def take_repair(self, block: Repair, session: Session, peer: Peer, link: str, now_s: float) -> None:
        """A sum of blocks, of which some may not have come."""
        if session.live_blocks is None:  # not one of the blocks came, or none was sent
            session.live_blocks = Decoder()
        reader = ByteReader(block.content)
        try:
            first, count, repair = reader.varints(3)
        except MalformedError:
            self.outputs.drop("repair_malformed")
            return
        total = reader.take(reader.end - reader.at)
        if not 0 < count <= WINDOW_MAX or not LENGTH_BYTES < len(total) <= SYMBOL_MAX_BYTES + LENGTH_BYTES:
            self.outputs.drop("repair_malformed")
            return
        recovered = session.live_blocks.take_repair(first, count, repair, total)
        if recovered is None:
            self.outputs.drop("repair_unused")
        else:
            self._take_recovered(recovered, peer, link, now_s)

    def _take_recovered(self, recovered: list[Recovered], peer: Peer, link: str, now_s: float) -> None:
        for _, content in recovered:
            try:
                fragment = read_live(content) if content is not None else None
            except MalformedError:
                fragment = None
            if fragment is None:
                self.outputs.drop("repair_of_no_block")
            else:
                self.outputs.drop("live_repaired")
                self._take_fragment(fragment, peer, link, now_s)

    def _take_fragment(self, fragment: Fragment, peer: Peer, link: str, now_s: float) -> None:
        source, incarnation = fragment.source or (peer.node_id, peer.incarnation)
        bundle = BundleId(source, incarnation, fragment.precedence, fragment.sequence)
        if source == self.settings.node_id:
            self.outputs.drop("live_from_self")
            return
        seen = self._seen.get(bundle[:3])
        if seen is not None and not seen.is_new(bundle.sequence):
            self.outputs.drop("live_duplicate")
            return
        if fragment.total_bytes > LIVE_MAX_BYTES:
            self.outputs.drop("live_too_long")
            return
        if len(fragment.payload) == fragment.total_bytes:
            self.joining.pop(bundle, None)
            self._finish(bundle, fragment, fragment.payload, peer, (link,), now_s)
            return
        joining = self.joining.get(bundle)
        if joining is None:
            joining = self.joining[bundle] = _Joining(peer, bytearray(fragment.total_bytes), now_s)
            self._make_room(peer)
        if len(joining.buffer) != fragment.total_bytes:
            self.outputs.drop("live_length_mismatch")
            return
        start = fragment.offset
        joining.buffer[start : start + len(fragment.payload)] = fragment.payload
        joining.ranges.add(start, start + len(fragment.payload))
        if link not in joining.via:
            joining.via = tuple(sorted((*joining.via, link)))
        if start == 0 and joining.first is None:
            joining.first = fragment
        if joining.first is not None and joining.ranges.total == fragment.total_bytes:
            del self.joining[bundle]
            waited_s = now_s - joining.opened_s
            self._finish(bundle, joining.first, bytes(joining.buffer), peer, joining.via, now_s, waited_s)

    def _make_room(self, peer: Peer) -> None:
        own = [bundle for bundle, each in self.joining.items() if each.peer is peer]
        held_bytes = sum(len(self.joining[bundle].buffer) for bundle in own)
        while len(own) > PARTIALS_MAX or held_bytes > PARTIAL_BYTES_MAX:
            held_bytes -= len(self.joining.pop(own.pop(0)).buffer)
            self.outputs.drop("live_partial_dropped")

    def _finish(
        self,
        bundle: BundleId,
        first: Fragment,
        payload: bytes,
        peer: Peer,
        via: tuple[str, ...],
        now_s: float,
        waited_s: float = 0.0,
    ) -> None:
        """All of it is here: it is handed on unless it is surely too old."""
        try:
            header = self._headers.unpack(first.header)
        except MalformedError:
            self.outputs.drop("live_malformed")
            return
        if not 0 < header.deadline_s <= DEADLINE_MAX_S:
            self.outputs.drop("live_not_perishable")
            return
        self._note(bundle)
        age_low_s = first.age_low_ms / 1000 + waited_s
        if age_low_s >= header.deadline_s:
            self.outputs.drop("live_late")
            return
        record = BundleRecord(bundle, header, len(payload), now_s, age_low_s, age_low_s + first.age_extra_ms / 1000)
        self._hand_on(record, header, payload, peer, via, now_s)

    def _hand_on(
        self, record: BundleRecord, header: BundleHeader, payload: bytes, peer: Peer, via: tuple[str, ...], now_s: float
    ) -> None:
        if self.settings.is_destination(header.destination):
            self.outputs.events.append(BundleDelivered(record, peer.node_id, via, payload))
        else:
            self.sender.put(record, payload, now_s)

    def _note(self, bundle: BundleId) -> None:
        key = bundle[:3]
        seen = self._seen.pop(key, None) or _Seen()
        self._seen[key] = seen  # the one heard of last stands last
        if len(self._seen) > SOURCES_MAX:
            del self._seen[next(iter(self._seen))]
        seen.note(bundle.sequence)

    def sweep(self, now_s: float) -> None:
        """Forget parts of what can no longer come in time."""
        for bundle in [each for each, part in self.joining.items() if now_s - part.opened_s > JOIN_MAX_S]:
            del self.joining[bundle]
            self.outputs.drop("live_partial_expired")
