"""Order of service: strict by precedence with guaranteed shares, people first, then fair by bytes among flows."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import strategies as st

from edge_agent.core import scheduler as scheduler_module
from edge_agent.core.bundle import COMMAND, FlowOrder, Origin, Precedence
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.queue import Queue
from edge_agent.core.scheduler import Scheduler, ShareAccount
from tests.core.planted import finds, holds
from tests.core.sending import outgoing, queued

FLASH, IMMEDIATE, PRIORITY, ROUTINE, DEFERRED = Precedence
SHARE_RATIO = 0.05
FRAME_BYTES = 1200


class OneLink:
    """A link that always takes the next frame; ``rate_bps`` turns bytes into time."""

    def __init__(self, scheduler: Scheduler, rate_bps: float = 1_000_000.0) -> None:
        self.scheduler = scheduler
        self.rate_bps = rate_bps
        self.now_s = 0.0
        self.account = ShareAccount()

    def frames(self) -> Iterator[tuple[Outgoing, int]]:
        """Bundle and bytes of each frame, until nothing waits."""
        scheduler = self.scheduler
        while waiting := scheduler.waiting((COMMAND,)):
            for precedence in scheduler.order_of_service(waiting, self.account, self.now_s):
                picked = scheduler.pick(precedence, (COMMAND,), lambda bundle: True, lambda: 0)
                if picked is not None:
                    break
            else:
                continue  # empty queues have left their rings
            queue, bundle, _ = picked
            start, end = bundle.unsent.first_range()
            end = min(end, start + FRAME_BYTES)
            bundle.take("link", start, end, wants_copies=1)
            queue.turn_bytes += end - start
            self.account.charge(bundle.precedence, end - start, waiting, scheduler.share_ratio)
            self.now_s += (end - start) * 8 / self.rate_bps
            yield bundle, end - start


def filled(backlog: dict[Precedence, int], ratio: float = SHARE_RATIO, length: int = 5000) -> OneLink:
    """A link with so many bytes waiting in each class."""
    scheduler = Scheduler(ratio)
    for precedence, total in backlog.items():
        for sequence in range(total // length):
            queued(scheduler, outgoing(sequence, length, precedence))
    return OneLink(scheduler)


def shares(link: OneLink, span_s: float) -> list[Counter[Precedence]]:
    """Bytes of each class in each span of ``span_s``, as long as all classes wait."""
    spans, spent = list[Counter[Precedence]](), Counter[Precedence]()
    waiting = len(link.scheduler.waiting((COMMAND,)))
    for bundle, sent_bytes in link.frames():
        spent[bundle.precedence] += sent_bytes
        if link.now_s >= span_s * (len(spans) + 1):
            spans.append(spent)
            spent = Counter()
        if len(link.scheduler.waiting((COMMAND,))) < waiting:
            break
    return spans


def test_every_lower_class_has_its_share_in_any_ten_seconds() -> None:
    link = filled({IMMEDIATE: 10_000_000, PRIORITY: 3_000_000, ROUTINE: 3_000_000, DEFERRED: 3_000_000})
    spans = shares(link, 10.0)
    assert len(spans) >= 4
    for spent in spans:
        total = sum(spent.values())
        for precedence in (PRIORITY, ROUTINE, DEFERRED):
            assert 0.045 * total <= spent[precedence] <= 0.06 * total, (precedence, spent)
        assert spent[IMMEDIATE] >= 0.8 * total


def test_without_shares_the_lower_classes_starve() -> None:
    """The planted fault of the test above: a share of nothing. The minute that STARVED_S gives is not over yet."""
    spent = shares(filled({IMMEDIATE: 10_000_000, DEFERRED: 3_000_000}, ratio=0.0), 10.0)[0]
    assert spent[DEFERRED] == 0


def test_flash_goes_before_every_share_that_is_owed() -> None:
    link = filled({FLASH: 50_000, PRIORITY: 1_000_000, DEFERRED: 1_000_000})
    classes = [bundle.precedence for bundle, _ in link.frames()]
    last_flash = len(classes) - 1 - classes[::-1].index(FLASH)
    assert set(classes[: last_flash + 1]) == {FLASH}


def test_a_flash_that_comes_late_is_the_very_next_frame() -> None:
    link = filled({PRIORITY: 1_000_000, DEFERRED: 1_000_000})
    for count, (bundle, _) in enumerate(link.frames()):
        if count == 100:
            queued(link.scheduler, outgoing(999, 200, FLASH))
        if count == 101:
            assert bundle.precedence is FLASH
            return


def under_lasting_flash(rate_bps: float) -> list[tuple[float, Precedence, int]]:
    """Time, class and bytes of every frame of four minutes in which FLASH and two lower classes have work."""
    link = filled({FLASH: 9_000_000, IMMEDIATE: 500_000, DEFERRED: 500_000})
    link.rate_bps = rate_bps
    frames = []
    for bundle, sent_bytes in link.frames():
        frames.append((link.now_s, bundle.precedence, sent_bytes))
        if link.now_s > 240:
            return frames
    raise AssertionError("too little FLASH")


def test_flash_without_end_leaves_the_others_their_share_once_a_minute_is_over() -> None:
    frames = under_lasting_flash(200_000.0)
    assert {precedence for now_s, precedence, _ in frames if now_s < 60} == {FLASH}
    late = [(precedence, sent_bytes) for now_s, precedence, sent_bytes in frames if now_s > 70]
    total = sum(sent_bytes for _, sent_bytes in late)
    for lower in (IMMEDIATE, DEFERRED):
        share = sum(sent_bytes for precedence, sent_bytes in late if precedence is lower) / total
        assert 0.04 <= share <= 0.06, (lower, share)


def flash_waits_for_one_frame_at_most(frames: list[tuple[float, Precedence, int]]) -> bool:
    return all(FLASH in (first[1], second[1]) for first, second in pairwise(frames))


def test_flash_waits_for_one_frame_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flash_waits_for_one_frame_at_most(under_lasting_flash(200_000.0))
    monkeypatch.setattr(ShareAccount, "before_flash", lambda self, starved, owed: starved or owed)
    assert not flash_waits_for_one_frame_at_most(under_lasting_flash(200_000.0)), "the planted fault"


def test_a_lull_of_flash_starts_its_minute_again() -> None:
    scheduler, account, now_s = Scheduler(SHARE_RATIO), ShareAccount(), 0.0
    while now_s < 200:
        first = scheduler.order_of_service([FLASH, DEFERRED], account, now_s)[0]
        assert first is FLASH or now_s - account.last_flash_s < 1, "the others starve only while FLASH is sent"
        if first is FLASH:
            assert account.credit_bytes[DEFERRED] <= scheduler_module.CREDIT_CAP_BYTES
        account.charge(first, FRAME_BYTES, [FLASH, DEFERRED], SHARE_RATIO)
        account.note_served([DEFERRED])
        assert first is FLASH
        now_s += 0.5 if now_s % 50 < 35 else 11.0


@pytest.mark.parametrize("precedence", list(Precedence))
def test_people_go_before_machines_inside_a_class(precedence: Precedence) -> None:
    scheduler = Scheduler(SHARE_RATIO)
    for sequence in range(5):
        queued(scheduler, outgoing(sequence, 3000, precedence, flow="readings"))
    for sequence in range(5, 8):
        queued(scheduler, outgoing(sequence, 3000, precedence, flow="reports", origin=Origin.PERSON))
    origins = [bundle.record.header.origin for bundle, _ in OneLink(scheduler).frames()]
    assert origins == sorted(origins, key=lambda origin: origin is Origin.MACHINE)


FLOWS = st.lists(st.integers(40, 6000), min_size=2, max_size=5)


def fair_by_bytes(lengths: list[int]) -> None:
    """Flows of bundles of any length: while all have work, none is ahead of another by more than three frames."""
    scheduler = Scheduler(SHARE_RATIO)
    for number, length in enumerate(lengths):
        for sequence in range(1 + 60_000 // length):
            queued(scheduler, outgoing(sequence, length, ROUTINE, flow=f"flow-{number}", source=f"kit-{number}"))
    spent = Counter[str]()
    for bundle, sent_bytes in OneLink(scheduler).frames():
        spent[bundle.record.header.flow] += sent_bytes
        if max(spent.values()) > 55_000:
            break
    assert len(spent) == len(lengths), spent
    assert max(spent.values()) - min(spent.values()) <= 2 * (scheduler_module.QUANTUM_BYTES + FRAME_BYTES), spent


def test_flows_share_by_bytes() -> None:
    holds(fair_by_bytes, FLOWS, examples=15)


def test_turns_that_forget_their_excess_are_found_unfair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a turn that took too much costs nothing at the next one."""
    candidates = Scheduler._candidates

    def forgetful(self: Scheduler, ring: deque[Queue], *, may_begin: bool) -> Iterator[tuple[Queue, Outgoing]]:
        if ring[0].turn_bytes >= scheduler_module.QUANTUM_BYTES:
            ring[0].turn_bytes = 0
            ring.rotate(-1)
        return candidates(self, ring, may_begin=may_begin)

    monkeypatch.setattr(Scheduler, "_candidates", forgetful)
    finds(fair_by_bytes, FLOWS, examples=2)


@pytest.mark.parametrize(
    ("order", "served"), [(FlowOrder.FIFO, [0, 1, 2]), (FlowOrder.NEWEST, [2, 1, 0]), (FlowOrder.LATEST, [0, 1, 2])]
)
def test_a_flow_is_served_in_its_order(order: FlowOrder, served: list[int]) -> None:
    scheduler = Scheduler(SHARE_RATIO)
    for sequence in range(3):
        queued(scheduler, outgoing(sequence, 100), order)
    assert [bundle.record.id.sequence for bundle, _ in OneLink(scheduler).frames()] == served


def test_lost_bytes_go_before_bundles_not_begun() -> None:
    scheduler = Scheduler(SHARE_RATIO)
    first = outgoing(0, 1000)
    queue = queued(scheduler, first)
    for sequence in range(1, 4):
        queued(scheduler, outgoing(sequence, 1000))
    served = []
    for bundle, _ in OneLink(scheduler).frames():
        served.append(bundle.record.id.sequence)
        if len(served) == 2:
            first.put_back(0, 1000)
            queue.put_first(first)
            scheduler.wake(queue)
    assert served == [0, 1, 0, 2, 3]


SKIPS = st.integers(0, 12_000)


def skips_so_many(pick: Callable[[Scheduler, int], Outgoing | None]) -> Callable[[int], None]:
    """A slow link takes from the depth that a faster one will not have reached, to the byte."""

    def check(skip_bytes: int) -> None:
        scheduler = Scheduler(SHARE_RATIO)
        for sequence in range(10):
            queued(scheduler, outgoing(sequence, 1000))
        bundle = pick(scheduler, skip_bytes)
        assert (None if bundle is None else bundle.record.id.sequence) == (
            skip_bytes // 1000 if skip_bytes < 10_000 else None
        )

    return check


def test_a_slow_link_takes_from_the_depth_of_the_queue() -> None:
    def pick(scheduler: Scheduler, skip_bytes: int) -> Outgoing | None:
        picked = scheduler.pick(ROUTINE, (COMMAND,), lambda bundle: True, lambda: skip_bytes)
        return None if picked is None else picked[1]

    holds(skips_so_many(pick), SKIPS)
    finds(skips_so_many(lambda scheduler, skip_bytes: pick(scheduler, skip_bytes + 999)), SKIPS)
