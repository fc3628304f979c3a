"""Lapses: deliveries that nobody took and nobody needs any more stop being owed to anybody here, and so make room.

A post without a page, or with a flow that nobody listens to, would keep each of them for good. A delivery lapses when
it has surely expired, or a newer one of its key (order ``latest``) is here, while no consumer acknowledged it and none
that is attached has still to take it. FLASH never does. Its source is told so; its row counts as settled, which
eviction takes when room is needed, and is given out as long as it is there.

They are looked for while the store is more than half full, some rows at a time between transactions of the writer.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, FlowOrder, Precedence
from edge_agent.disk.answers import Call
from edge_agent.disk.consumers import SETTLE_UNACKED, Consumers
from edge_agent.disk.counts import Kind
from edge_agent.disk.damage import sound_header
from edge_agent.disk.debts import DEBTS_MAX
from edge_agent.disk.fates import RowKey
from edge_agent.disk.identity import to_unsigned
from edge_agent.disk.jobs import Leave
from edge_agent.disk.spans import runs_of
from edge_agent.disk.types import AckedBundle, FateState

STEP_ROWS = 256
"""Deliveries looked at between two transactions: 3 ms of CPU, and 4 ms more where all of them lapse (measured)."""
FULL_SHARE = 0.5
"""Of the quota: below it nobody needs the room."""
RETURN_S = 60.0
"""After a start: consumers come back first."""
ROUND_S = 60.0
"""From one look at all of them to the next, however soon the next one expires."""
ROUND_LONGEST_S = 600.0
"""The same where nothing expires: a consumer may have left."""
KEYS_MAX = 4096
"""Of flows with order ``latest``: so many keys are followed in one look."""


class Lapse(NamedTuple):
    """A delivery that shall lapse, and what its source is to hear."""

    row: int
    key: RowKey
    bundle: BundleId
    header: BundleHeader
    payload_bytes: int
    stored_ms: int
    state: FateState


class _Looked(NamedTuple):
    """A delivery that is not acknowledged: as it would lapse (None: it is wanted, or damaged), and what it has left."""

    row: int
    lapse: Lapse | None
    is_acked: bool
    """By somebody, but not by all that waited for it."""
    left_s: float


@dataclass(slots=True)
class Lapses:
    """Used by the writer's thread. ``find`` reads between transactions, ``carry_out`` is part of the next one."""

    consumers: Consumers
    full_share: float = FULL_SHARE
    return_s: float = RETURN_S
    _at: int = 0
    """Rows up to here were looked at in this round."""
    _floor: int = 0
    """No row up to here will ever lapse. Rows only ever come above."""
    _is_at_floor: bool = True
    _is_at_end: bool = False
    _begun_s: float = 0.0
    _earliest_s: float = math.inf
    """When this round began, and when the first of those looked at expires, of the boot's clock."""
    _newest: dict[tuple[str, int, str, str], Lapse] = field(default_factory=dict)
    """By source, precedence, flow and key: the newest one of this round, as it would be superseded."""

    def wait_s(self) -> float:
        """How long nothing is to be looked at; infinite while only a change of the store can make it needed."""
        if not self._is_needed():
            return math.inf
        ages = self.consumers.rows.ages
        return max(0.0, ages.open_s + self.return_s, self._due_s if self._is_at_end else 0.0) - ages.clock.boottime_s()

    @property
    def _due_s(self) -> float:
        """When the next round begins, if this one is at its end."""
        return min(max(self._earliest_s, self._begun_s + ROUND_S), self._begun_s + ROUND_LONGEST_S)

    def _is_needed(self) -> bool:
        rows = self.consumers.rows
        return (
            rows.quota.taken_bytes > self.full_share * rows.quota.quota_bytes
            and any(rows.counts.usage[each, Kind.DELIVERED].bundles for each in Precedence if each > Precedence.FLASH)
            and self.consumers.debts.total < DEBTS_MAX
        )

    def find(self) -> list[Lapse]:
        """Look at the next step; gives back what shall lapse. O(STEP_ROWS)."""
        ages = self.consumers.rows.ages
        now_s = ages.clock.boottime_s()
        if not self._is_needed() or now_s < ages.open_s + self.return_s:
            return []
        if self._is_at_end and now_s >= self._due_s:
            self.begin_round()
        top = self._step_end()
        if self._is_at_end:
            return []
        found: list[Lapse] = []
        kept = math.inf
        for each in self._unacked(self._at, top):
            lapse = each.lapse
            if lapse is not None and each.left_s <= 0:
                found.append(lapse if each.is_acked else lapse._replace(state=FateState.EXPIRED_THERE))
                continue
            kept = min(kept, each.row)
            self._earliest_s = min(self._earliest_s, now_s + each.left_s)
            if lapse is not None and lapse.header.order is FlowOrder.LATEST and not each.is_acked:
                older = self._older_of(lapse)
                if older is not None and (older is lapse or self._is_untaken(older)):
                    found.append(older._replace(state=FateState.SUPERSEDED))
        if self._is_at_floor:
            self._floor, self._is_at_floor = int(min(kept - 1, top)), kept > top
        self._at = top
        return found

    def begin_round(self) -> None:
        """Look at all of them anew."""
        self._at, self._is_at_floor, self._is_at_end = self._floor, True, False
        self._begun_s, self._earliest_s = self.consumers.rows.ages.clock.boottime_s(), math.inf
        self._newest.clear()

    def start_over(self) -> None:
        """What was found did not lapse: it was rolled back."""
        self._floor = 0
        self.begin_round()

    def _step_end(self) -> int:
        """The last row of the next step."""
        top, count = self.consumers.rows.database.execute(
            "SELECT max(row), count(*) FROM (SELECT row FROM bundles INDEXED BY deliveries"
            " WHERE row > ? AND receipt IS NOT NULL ORDER BY row LIMIT ?)",
            (self._at, STEP_ROWS),
        ).fetchone()
        self._is_at_end = not count
        return int(top or self._at)

    def _is_untaken(self, older: Lapse) -> bool:
        """Whether nobody took one that was looked at before."""
        return any(each.lapse is not None and not each.is_acked for each in self._unacked(older.row - 1, older.row))

    def _unacked(self, after: int, top: int) -> Iterator[_Looked]:
        """What is not acknowledged by all that wait for it."""
        rows, is_wanted, is_acked = self.consumers.rows, "0", "0"
        values: list[object] = []
        for name in self.consumers.attached:
            place = self.consumers.places[name]
            is_wanted += " OR (row > ? AND flow GLOB ?)"
            values += [place.cursor, place.flow]
        for place in self.consumers.takers():
            is_acked += " OR (row <= ? AND flow GLOB ?)"
            values += [place.cursor, place.flow]
        found = rows.database.execute(
            "SELECT row, bundles.origin, precedence, sequence, source, incarnation, payload_bytes, stored_ms, header,"
            f" {is_wanted}, {is_acked}, boot, as_of_s, age_low_s, age_low_s FROM bundles INDEXED BY deliveries"
            " JOIN origins ON origins.origin = bundles.origin WHERE row > ? AND row <= ? AND receipt IS NOT NULL"
            f" AND receipt = 0 AND precedence > {int(Precedence.FLASH)} ORDER BY row",
            (*values, after, top),
        ).fetchall()
        now_s = rows.ages.clock.boottime_s() + rows.ages.offset_s
        for row in found:
            wants, has_acked, *times = row[9:]
            lapse = None if wants else _lapse(row)
            if lapse is None:
                yield _Looked(row[0], None, bool(has_acked), math.inf)
                continue
            aged = rows.ages.read(*times)
            left_s = lapse.header.lifetime_s - (aged.age_low_s + now_s - aged.as_of_s)
            yield _Looked(lapse.row, lapse, bool(has_acked), left_s)

    def _older_of(self, lapse: Lapse) -> Lapse | None:
        """Which of two of one key is superseded; None where there is no other."""
        place = (lapse.bundle.source, lapse.key.precedence, lapse.header.flow, lapse.header.key)
        known = self._newest.get(place)
        if known is None and len(self._newest) >= KEYS_MAX:
            return None
        if known is None or (known.key.origin, known.key.sequence) < (lapse.key.origin, lapse.key.sequence):
            self._newest[place] = lapse
            return known
        return lapse

    def carry_out(self, found: list[Lapse]) -> list[AckedBundle]:
        """Let them lapse; gives back what their sources are to be told."""
        consumers, now_ms = self.consumers, self.consumers.rows.ages.now_ms()
        told: list[AckedBundle] = []
        owed: dict[FateState, list[RowKey]] = {}
        for lapse in found:
            if lapse.state is not FateState.DELIVERED:
                consumers.rows.fates.close(
                    lapse.key, lapse.header.pack(), lapse.payload_bytes, lapse.stored_ms, lapse.state, now_ms
                )
            consumers.count_settled(lapse.key.precedence, 1, lapse.payload_bytes)
            if lapse.header.flow not in consumers.flows_without_receipt:
                owed.setdefault(lapse.state, []).append(lapse.key)
                told.append(AckedBundle(bundle=lapse.bundle, header=lapse.header, state=lapse.state))
        for state, keys in owed.items():
            consumers.debts.add(state, keys)
        for start, stop in runs_of(sorted(lapse.row for lapse in found)):
            consumers.rows.database.execute(SETTLE_UNACKED, (start, stop))
        return told


class LapseJob(Leave):
    """A transaction of its own."""

    def __init__(self, lapses: Lapses, found: list[Lapse], on_owed: Callable[[list[AckedBundle]], None]) -> None:
        self._lapses, self._found, self._on_owed = lapses, found, on_owed
        self._told: list[AckedBundle] = []

    def run(self, tables: Consumers) -> None:
        self._told = self._lapses.carry_out(self._found)

    def answer(self, outcomes: object, calls: list[Call]) -> None:
        on_owed, told = self._on_owed, self._told
        calls.append(lambda: on_owed(told))


def _lapse(row: tuple[Any, ...]) -> Lapse | None:
    """A row of ``_unacked`` (Any: its columns); None where its header is damaged, which who reads it will tell."""
    number, origin, precedence, sequence, source, incarnation, payload_bytes, stored_ms, packed = row[:9]
    header = sound_header(None, packed, b"")
    if header is None:
        return None
    bundle = BundleId(source, to_unsigned(incarnation), Precedence(precedence), sequence)
    key = RowKey(origin, precedence, sequence)
    return Lapse(number, key, bundle, header, payload_bytes, stored_ms, FateState.DELIVERED)
