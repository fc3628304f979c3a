"""Closed numbers swallow no bundle that somebody still carries, and let none through twice.

A kit with bundles for two destinations, a node that carries old copies of them by hand, links that come and go,
processes that end, a folder that is restored: whatever the order, at the end each bundle was given out once.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st

from edge_agent.core import closed_numbers, closing
from edge_agent.core.blocks import Control
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.closing import Closing
from edge_agent.core.custody import Custody
from edge_agent.core.effects import BundleAccepted, BundleClosed, Effect, EraseReason, OpenNumbers, Persist
from edge_agent.core.peer import Peer
from link_sim.nodes.disk import MemoryDisk
from tests.core.bench import Bench, Place
from tests.core.planted import holds

NODES = ("kit-1", "command", "kit-2", "relay-1")
LINKS = ("a", "b", "c", "d")
KINDS = ["fifo", "newest", "latest", "short"]
ACTIONS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["command", "kit-2"]), st.sampled_from(KINDS)),
    st.tuples(st.just("submit"), st.sampled_from(["command", "kit-2"]), st.sampled_from(KINDS)),
    st.tuples(st.just("run"), st.sampled_from([0.02, 0.3, 2.0, 25.0])),
    st.tuples(st.just("restart"), st.sampled_from(NODES)),
    st.tuples(st.just("cut"), st.sampled_from(LINKS)),
    st.tuples(st.just("mend"), st.sampled_from(LINKS)),
    st.tuples(st.just("delay"), st.sampled_from([0.001, 0.05, 0.4])),
    st.tuples(st.just("slow disk"), st.booleans()),
    st.tuples(st.just("export")),
    st.tuples(st.just("import"), st.integers(0, 3), st.sampled_from(["command", "kit-2", "relay-1"])),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("back up")),
    st.tuples(st.just("restore")),
)
STORIES = st.lists(ACTIONS, min_size=5, max_size=60)


@dataclass(slots=True)
class Story:
    """One run; ``sticks`` hold copies of what waited at kit-1 at some moment."""

    bench: Bench = field(default_factory=Bench)
    cut: set[str] = field(default_factory=set)
    sticks: list[list[tuple[BundleRecord, bytes]]] = field(default_factory=list)
    backup: MemoryDisk | None = None
    given_out: dict[BundleId, str] = field(default_factory=dict)
    """Accepted at kit-1, and for whom."""
    lost: set[BundleId] = field(default_factory=set)
    """Only in a folder that an older one was put in the place of."""
    held: list[tuple[str, Effect]] = field(default_factory=list)
    is_disk_slow: bool = False

    def begin(self) -> None:
        bench = self.bench
        bench.add("command", role=COMMAND)
        for node_id in ("kit-1", "kit-2"):
            bench.add(node_id)
        bench.add("relay-1", role="relay")
        for link, near, far in (
            ("a", "kit-1", "command"),
            ("b", "kit-1", "command"),
            ("c", "kit-2", "kit-1"),
            ("d", "relay-1", "command"),
        ):
            bench.join(link, near, far)
        bench.join("e", "relay-1", "kit-2")
        bench.passes = lambda flight: flight.link not in self.cut
        bench.disk_works = self.disk_works

    def disk_works(self, place: Place, effect: Effect) -> bool:
        """A slow disk of kit-1 holds every second write back: numbers become durable out of their order."""
        is_submit = isinstance(effect, Persist) and not effect.is_arrival and effect.bundle.sequence % 2 == 1
        if not (self.is_disk_slow and is_submit):
            return True
        self.held.append((place.settings.node_id, effect))
        return False

    def release(self) -> None:
        held, self.held = self.held, []
        for node_id, effect in held:
            place = self.bench.places[node_id]
            place.running.complete(effect.effect_id, place.disk.execute(effect), self.bench.now_s)
            self.bench.pump(place)

    def act(self, action: tuple[object, ...]) -> None:
        name, *values = action
        step: Callable[..., None] = getattr(self, f"do_{str(name).replace(' ', '_')}")
        step(*values)

    def do_submit(self, to: str, kind: str) -> None:
        order = FlowOrder.FIFO if kind == "short" else FlowOrder(kind)
        header = BundleHeader(destination=to, flow=kind, order=order, key="k" if kind == "latest" else "")
        header = replace(header, lifetime_s=20.0 if kind == "short" else 86_400.0)
        bundle = self.bench.submit("kit-1", bytes(900), Precedence.ROUTINE, header)
        self.given_out[bundle] = to

    def do_run(self, span_s: float) -> None:
        self.bench.run(span_s)

    def do_restart(self, node_id: str) -> None:
        if node_id == "kit-1":
            self.held.clear()
        self.bench.crash(node_id)
        self.bench.start(node_id)

    def do_cut(self, link: str) -> None:
        self.cut.add(link)

    def do_mend(self, link: str) -> None:
        self.cut.discard(link)

    def do_delay(self, delay_s: float) -> None:
        self.bench.delay_s = delay_s

    def do_slow_disk(self, is_slow: bool) -> None:
        self.is_disk_slow = is_slow
        if not is_slow:
            self.release()

    def do_export(self) -> None:
        disk = self.bench.places["kit-1"].disk
        records = [each for each in disk.begin_carrying() if each.id.source == "kit-1"]
        self.sticks.append([(each, disk.payload(each.id) or b"") for each in records])

    def do_import(self, number: int, to: str) -> None:
        place = self.bench.places[to]
        for record, payload in self.sticks[number] if number < len(self.sticks) else []:
            aged = record._replace(as_of_s=self.bench.now_s, age_low_s=record.age_low_at(self.bench.now_s))
            place.running.adopt(aged, payload, self.bench.now_s)
            self.bench.pump(place)

    def do_cancel(self, number: int) -> None:
        if number < len(self.given_out):
            self.bench.places["kit-1"].running.cancel(list(self.given_out)[-1 - number], self.bench.now_s)
            self.bench.pump(self.bench.places["kit-1"])

    def do_back_up(self) -> None:
        self.backup = self.bench.copy_disk("kit-1")

    def do_restore(self) -> None:
        if self.backup is None:
            return
        self.held.clear()
        place = self.bench.places["kit-1"]
        self.bench.crash("kit-1")
        self.lost |= {bundle for bundle in place.disk.bundles() if bundle not in self.backup}
        sessions = place.disk._session_number
        place.disk, self.backup = self.backup, None
        place.disk._session_number = sessions  # the count beside the database is not put back
        place.disk.begin_anew(5000 + place.starts)
        self.bench.start("kit-1")

    def end(self) -> None:
        """All is well from now on, and each stick is handed in."""
        self.cut.clear()
        self.do_slow_disk(False)
        self.bench.delay_s = 0.01
        self.bench.run(90.0)
        for number in range(len(self.sticks)):
            self.do_import(number, "command")
            self.do_import(number, "kit-2")
        self.bench.run(120.0)

    def accepted(self) -> set[BundleId]:
        return {each.bundle for each in self.bench.places["kit-1"].events if isinstance(each, BundleAccepted)}

    def ended(self) -> set[BundleId]:
        """Ended at their source, wherever a copy is; of what was superseded a copy that left by hand still counts."""
        carried = {record.id for stick in self.sticks for record, _ in stick}
        return {
            each.bundle
            for each in self.bench.places["kit-1"].events
            if isinstance(each, BundleClosed)
            and (each.reason is not EraseReason.SUPERSEDED or each.bundle not in carried)
        }


def tell(actions: list[tuple[object, ...]]) -> None:
    """The property."""
    story = Story()
    story.begin()
    for action in actions:
        story.act(action)
    story.end()
    arrived = [
        (event.record.id, node_id)
        for node_id in ("command", "kit-2")
        for event in story.bench.places[node_id].delivered()
    ]
    twice = [each for each, count in Counter(arrived).items() if count > 1]
    assert not twice, f"given out twice: {twice}"
    there = {bundle for bundle, _ in arrived}
    missing = story.accepted() - there - story.ended() - story.lost
    assert not missing, f"never given out: {missing}"


@contextmanager
def asked_often() -> Iterator[pytest.MonkeyPatch]:
    """Two holes are a reason to ask, every half second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed_numbers, "ASK_RANGES", 2)
        patch.setattr(closed_numbers, "ASK_WAIT_S", 0.5)
        patch.setattr(closed_numbers, "ASK_WAIT_MAX_S", 0.5)
        patch.setattr(closing, "ANSWER_BYTES_MAX", 26)
        yield patch


@pytest.mark.slow
def test_each_bundle_is_given_out_once_whatever_is_closed_meanwhile() -> None:
    with asked_often():
        holds(tell, STORIES, examples=150)


def test_word_of_custody_owed_to_an_older_name_closes_nothing_of_the_new_one() -> None:
    """It was owed when the folder was restored; then a number alone meant another bundle."""
    story: list[tuple[object, ...]] = [
        ("run", 0.3),
        ("delay", 0.05),
        *[("submit", "command", "fifo")] * 2,
        ("back up",),
    ]
    story += [("submit", "kit-2", "fifo"), ("run", 0.02), ("run", 0.02), ("restore",)]
    tell([*story, *[("submit", "command", "fifo")] * 3])


def told_wrongly(story: list[tuple[object, ...]], target: object, name: str, fault: object) -> None:
    """The story ends well, and badly with the fault."""
    with asked_often() as patch:
        tell(story)
        patch.setattr(target, name, fault)
        with pytest.raises(AssertionError, match="never given out"):
            tell(story)


def to_both(kind: str, count: int) -> list[tuple[object, ...]]:
    """Bundles for command and for kit-2 by turns."""
    return [("submit", to, kind) for _ in range(count) for to in ("command", "kit-2")]


OUTAGE = [("cut", "a"), ("cut", "b"), ("cut", "c")]


def test_numbers_on_their_way_to_the_disk_are_not_closed() -> None:
    story = [("slow disk", True), *to_both("fifo", 2), ("submit", "kit-2", "fifo"), *to_both("fifo", 2), ("run", 2.0)]
    told_wrongly(story, Custody, "settled_below", lambda custody, precedence: custody._next_sequences[precedence])


def test_what_waits_is_not_closed() -> None:
    story = [*OUTAGE, *to_both("newest", 12), ("mend", "a"), ("run", 25.0)]
    told_wrongly(story, MemoryDisk, "_list_open", lambda disk, effect: OpenNumbers(effect.stop, ()))


def test_what_left_by_hand_and_was_superseded_is_not_closed() -> None:
    story = [*OUTAGE, ("submit", "command", "latest"), ("export",), ("submit", "command", "latest"), ("mend", "a")]
    story += [("run", 25.0), *to_both("fifo", 2), ("run", 2.0), *to_both("fifo", 2), ("run", 2.0)]
    told_wrongly(story, MemoryDisk, "begin_carrying", carry_without_a_word)


def carry_without_a_word(disk: MemoryDisk) -> list[BundleRecord]:
    return [row.record for row in disk._rows.values() if row.is_waiting]


def test_a_name_that_was_given_up_closes_nothing_of_the_new_one() -> None:
    """The answer was on its way when the folder was restored, and comes by the link that does not know it."""

    def take_closed(side: Closing, peer: Peer, block: Control) -> None:
        take(side, peer, Control([block.fields[0], peer.incarnation, *block.fields[2:]]))

    take = Closing.take_closed
    story: list[tuple[object, ...]] = [("back up",), ("cut", "b"), ("run", 2.0), *to_both("fifo", 3), ("run", 0.3)]
    story += [("delay", 0.4), ("submit", "command", "fifo"), ("run", 0.3), ("run", 0.3), ("run", 0.3)]
    story += [("cut", "a"), ("delay", 0.001), ("mend", "b"), ("restore",), ("run", 0.02), ("cut", "b")]
    story += [*to_both("fifo", 3), ("run", 2.0)]
    told_wrongly(story, Closing, "take_closed", take_closed)
