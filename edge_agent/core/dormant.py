"""Queues whose bundles are all rows: counts only, so that a hundred thousand flows cost little more than names."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_agent.core.bundle import FlowOrder, Origin, Precedence
from edge_agent.core.effects import QueueKey

RANKS = 2 * len(Precedence)


@dataclass(slots=True)
class DormantQueue:
    """What is remembered of one queue while nothing of it is in memory."""

    key: QueueKey
    order: FlowOrder
    origin: Origin
    bundles: int
    payload_bytes: int
    oldest_as_of_s: float


def rank_of(precedence: Precedence, origin: Origin) -> int:
    """Order of service of a class and origin: by precedence, people before machines."""
    return 2 * precedence + (origin is Origin.MACHINE)


@dataclass(slots=True)
class Dormant:
    """All dormant queues by their order of service; inside a rank the one that has slept longest is next."""

    _ranks: list[dict[QueueKey, DormantQueue]] = field(default_factory=lambda: [{} for _ in range(RANKS)])
    _count: int = 0
    _new: list[DormantQueue] = field(default_factory=list)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[DormantQueue]:
        for rank in self._ranks:
            yield from rank.values()

    def add(self, queue: DormantQueue) -> None:
        """A queue goes to sleep."""
        self._ranks[rank_of(queue.key.precedence, queue.origin)][queue.key] = queue
        self._count += 1
        self._new.append(queue)

    def take_new(self) -> list[DormantQueue]:
        """Those that went to sleep since this was asked last."""
        new, self._new = self._new, []
        return new

    def get(self, key: QueueKey) -> DormantQueue | None:
        """The dormant queue of this key."""
        at = 2 * key.precedence
        return self._ranks[at].get(key) or self._ranks[at + 1].get(key)

    def remove(self, queue: DormantQueue) -> None:
        """A queue wakes up, or is empty."""
        del self._ranks[rank_of(queue.key.precedence, queue.origin)][queue.key]
        self._count -= 1

    def note_out(self, queue: DormantQueue, payload_bytes: int) -> None:
        """One bundle less waits in a dormant queue."""
        queue.bundles -= 1
        queue.payload_bytes -= payload_bytes
        if queue.bundles == 0:
            self.remove(queue)

    def next(self) -> DormantQueue | None:
        """The one to wake up first."""
        for rank in self._ranks:
            if rank:
                return next(iter(rank.values()))
        return None
