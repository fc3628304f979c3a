"""Command nodes that copy to each other, in a world of virtual time: what ``edge_agent.posts`` does, on a memory disk.

What stands for the store's rows and cursors outlives a crash of its node, all else does not.
"""

from collections import Counter
from dataclasses import dataclass, field

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.effects import BundleAccepted, BundleAdopted, BundleDelivered, BundlesForwarded, Event, LinkState
from edge_agent.core.errors import RefusedError
from edge_agent.core.post_words import COPY_FLOW, HAVE_FLOW, POST_FLOWS, Copy, HaveWord, pack_copies, read_copies
from edge_agent.core.posts import Arrived, Due, PostExchange
from link_sim.nodes.seat import Seat
from link_sim.nodes.watch import NoWatch
from link_sim.nodes.world import World

STEP_S = 0.25
ROWS_A_LOOK = 16


@dataclass(slots=True)
class Durable:
    """The store of one post as far as copies need it: its deliveries in their order, and the cursors over them."""

    rows: list[BundleId] = field(default_factory=list)
    known: set[BundleId] = field(default_factory=set)
    givers: dict[BundleId, str] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    words_cursor: int = 0


@dataclass(slots=True)
class Process:
    """What one start of a post knows."""

    exchange: PostExchange
    submitted: dict[BundleId, list[Due]] = field(default_factory=dict)
    under_way: dict[BundleId, list[Due]] = field(default_factory=dict)
    adopting: dict[BundleId, tuple[int, str]] = field(default_factory=dict)
    words_read: int = 0


class Posts(NoWatch):
    """Drives the exchange of all posts of a world. ``copies`` counts those that left, by giver and taker."""

    def __init__(self, levels: dict[str, str]) -> None:
        self.levels = levels
        self.durable = {name: Durable() for name in levels}
        self.processes: dict[str, Process] = {}
        self.copies: Counter[tuple[str, str]] = Counter()
        self.answering: Counter[tuple[BundleId, str]] = Counter()
        self._is_due: set[str] = set()

    def join(self, world: World) -> None:
        self.world = world

    def started(self, seat: Seat) -> None:
        name = seat.settings.node_id
        if name not in self.levels:
            return
        durable, node = self.durable[name], seat.node
        others = [each for each in self.levels if each != name]
        exchange = PostExchange(self.levels[name], others, node.closed_numbers)
        for each in others:
            exchange.start_at(each, durable.cursors.get(each, 0))
        process = self.processes[name] = Process(exchange, words_read=durable.words_cursor)
        self._later(name)
        self.world.at(self.world.now_s + STEP_S, lambda: self._tick(name, process))

    def _tick(self, name: str, process: Process) -> None:
        if self.processes.get(name) is process and self.world.is_running(name):
            self._later(name)
            self.world.at(self.world.now_s + STEP_S, lambda: self._tick(name, process))

    def _later(self, name: str) -> None:
        if name not in self._is_due:
            self._is_due.add(name)
            self.world.at(self.world.now_s, lambda: self._step(name))

    def noted(self, seat: Seat, event: Event) -> None:
        name = seat.settings.node_id
        if name not in self.levels:
            return
        process, durable = self.processes[name], self.durable[name]
        if isinstance(event, BundleDelivered):
            if event.peer in self.levels:
                durable.givers[event.record.id] = event.peer
        elif isinstance(event, BundleAccepted) and event.bundle in process.submitted:
            process.under_way[event.bundle] = process.submitted.pop(event.bundle)
            for due in process.under_way[event.bundle]:
                process.exchange.copied(due)
        elif isinstance(event, BundlesForwarded):
            for bundle in event.bundles:
                for due in process.under_way.pop(bundle, ()):
                    process.exchange.taken(due.post, due.bundle)
        elif isinstance(event, BundleAdopted) and event.bundle in process.adopting:
            _, giver = process.adopting.pop(event.bundle)
            process.exchange.took_copy(event.bundle, giver)
        else:
            return
        self._later(name)

    def _step(self, name: str) -> None:
        self._is_due.discard(name)
        if not self.world.is_running(name):
            return
        self._read_rows(name)
        self._take_words(name)
        process, now_s = self.processes[name], self.world.now_s
        reached = {
            each.peer
            for each in self.world.report(name).links
            if each.peer in self.levels and each.state in (LinkState.UP, LinkState.DEGRADED)
        }
        process.exchange.see(reached, now_s)
        for post, word in process.exchange.words(now_s):
            header = BundleHeader(destination=post, flow=HAVE_FLOW, lifetime_s=60.0)
            self.world.submit(name, header, Precedence.IMMEDIATE, word.pack())
        self._copy(name)
        safe, is_on = process.exchange.safe(), process.exchange.is_shared
        self.world.ask(name, lambda node, now_s: node.share(safe, now_s, is_on=is_on))

    def _read_rows(self, name: str) -> None:
        durable, disk = self.durable[name], self.world.disk(name)
        for bundle in list(disk.bundles()):
            if bundle not in durable.known:
                record = disk.record(bundle)
                if record.header.destination in (COMMAND, name):
                    durable.known.add(bundle)
                    durable.rows.append(bundle)

    def _take_words(self, name: str) -> None:
        durable, process, disk = self.durable[name], self.processes[name], self.world.disk(name)
        while process.words_read < len(durable.rows):
            bundle = durable.rows[process.words_read]
            process.words_read += 1
            record = disk.record(bundle)
            if record is None or record.header.flow not in POST_FLOWS:
                continue
            if record.header.flow == HAVE_FLOW:
                assert process.exchange.take_word(
                    bundle.source, HaveWord.unpack(disk.payload(bundle)), self.world.now_s
                )
                continue
            for copy in read_copies(disk.payload(bundle), record, self.world.now_s):
                process.adopting[copy.record.id] = (process.words_read, bundle.source)
                if copy.answers:
                    self.answering[copy.record.id, self.levels[name]] += 1
                self.world.ask(
                    name, lambda node, now_s, it=copy, by=bundle.source: node.adopt(it.record, it.payload, now_s, by)
                )
        first = min((at for at, _ in process.adopting.values()), default=process.words_read + 1)
        durable.words_cursor = first - 1

    def _copy(self, name: str) -> None:
        durable, process, disk = self.durable[name], self.processes[name], self.world.disk(name)
        exchange, now_s = process.exchange, self.world.now_s
        for post in self.levels:
            after = exchange.wants_rows(post) if post != name else None
            if after is not None and after < len(durable.rows):
                rows = durable.rows[after : after + ROWS_A_LOOK]
                records = [(after + 1 + at, disk.record(bundle)) for at, bundle in enumerate(rows)]
                arrived = [
                    Arrived(
                        position, record.id, durable.givers.get(record.id, ""), record.as_of_s, record.header.levels
                    )
                    for position, record in records
                    if record is not None and record.header.destination == COMMAND
                ]
                exchange.offer(post, arrived, after + len(rows))
                self._later(name)
        groups: dict[tuple[str, Precedence], list[Due]] = {}
        for due in exchange.due(now_s):
            groups.setdefault((due.post, due.bundle.precedence), []).append(due)
        for (post, precedence), dues in groups.items():
            copies = [
                Copy(record=disk.record(due.bundle), payload=disk.payload(due.bundle), answers=due.answers)
                for due in dues
            ]
            header = BundleHeader(destination=post, flow=COPY_FLOW, origin=copies[0].record.header.origin)
            try:
                wrapper = self.world.submit(name, header, precedence, pack_copies(copies, now_s))
            except RefusedError:
                for due in dues:
                    exchange.failed(due)
                continue
            self.copies[name, post] += len(dues)
            process.submitted[wrapper] = dues
        for post in self.levels:
            if post != name:
                durable.cursors[post] = exchange.cursor(post)

    def shown(self, name: str) -> Counter[BundleId]:
        """What a post has for ``command``, and how often it came there."""
        return Counter(
            each.bundle
            for each in self.world.deliveries
            if each.node == name and each.record.header.destination == COMMAND
        )
