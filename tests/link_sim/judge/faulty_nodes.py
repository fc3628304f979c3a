"""Copies of the core with one fault each, for a judge that must find them."""

import random
from collections.abc import Callable

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.effects import Effect, EraseReason, Persist, Restored, Transmit
from edge_agent.core.frame import LinkKeys
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.node import Node
from edge_agent.core.partial import Partial
from edge_agent.core.peer import Peer
from edge_agent.core.report import NodeSettings
from edge_agent.core.scheduler import ShareAccount


class AcknowledgesBeforeCommit(Node):
    """The peer is told STORED when the disk is asked to write, in place of when it has written."""

    def poll_effect(self) -> Effect | None:
        effect = super().poll_effect()
        if isinstance(effect, Persist) and effect.is_arrival and effect.record is not None:
            peer = self.contacts.peers.get(effect.peer)
            if peer is not None:
                peer.owe_custody(effect.bundle, self._handled_s)
        return effect


class _Twice(IntervalSet):
    """Counts a range that comes again once more."""

    def add(self, start: int, end: int) -> int:
        if super().add(start, end) == 0:
            self.total += end - start
        return end - start


class CountsFragmentTwice(Node):
    """A fragment that arrives a second time counts as one that was missing."""

    def __init__(
        self, settings: NodeSettings, keys: LinkKeys, rng: random.Random, restored: Restored, now_s: float
    ) -> None:
        super().__init__(settings, keys, rng, restored, now_s)
        open_partial: Callable[[BundleId, Fragment, Peer, float], Partial | None] = self.arrivals._open

        def open_counting_twice(bundle: BundleId, fragment: Fragment, peer: Peer, now_s: float) -> Partial | None:
            partial = open_partial(bundle, fragment, peer, now_s)
            if partial is not None and not partial.ranges:
                partial.ranges = _Twice()
            return partial

        self.arrivals._open = open_counting_twice  # type: ignore[method-assign]  # the fault


class _WrongOrder(Node):
    """A node whose scheduler answers ``answer`` in place of the right order."""

    def __init__(
        self, settings: NodeSettings, keys: LinkKeys, rng: random.Random, restored: Restored, now_s: float
    ) -> None:
        super().__init__(settings, keys, rng, restored, now_s)
        self.scheduler.order_of_service = self.answer  # type: ignore[method-assign]  # the fault

    def answer(self, waiting: list[Precedence], account: ShareAccount, now_s: float) -> list[Precedence]:
        raise NotImplementedError


class FlashComesLast(_WrongOrder):
    """FLASH waits for all others."""

    def answer(self, waiting: list[Precedence], account: ShareAccount, now_s: float) -> list[Precedence]:
        return sorted(waiting, key=lambda precedence: precedence is Precedence.FLASH)


class StarvesTheLower(_WrongOrder):
    """Strict precedence without shares."""

    def answer(self, waiting: list[Precedence], account: ShareAccount, now_s: float) -> list[Precedence]:
        return waiting


class TurnsPrecedenceOver(_WrongOrder):
    """The lowest goes first, FLASH excepted."""

    def answer(self, waiting: list[Precedence], account: ShareAccount, now_s: float) -> list[Precedence]:
        return sorted(waiting, key=lambda precedence: (precedence is not Precedence.FLASH, -precedence))


class GivesTooMuch(Node):
    """Half of the link for each lower class, whatever the settings say."""

    def __init__(
        self, settings: NodeSettings, keys: LinkKeys, rng: random.Random, restored: Restored, now_s: float
    ) -> None:
        super().__init__(settings, keys, rng, restored, now_s)
        self.scheduler.share_ratio = 0.5


class ForgetsTheBudget(Node):
    """What was spent of a day's budget is forgotten with every frame."""

    def poll_transmit(self, now_s: float) -> Transmit | None:
        for link in self.contacts.links.values():
            link.day_bytes = 0
        return super().poll_transmit(now_s)


class IgnoresWindow(Node):
    """Sends as if every frame had been acknowledged."""

    def poll_transmit(self, now_s: float) -> Transmit | None:
        arqs = [contact.session.arq for contact in self.contacts.contacts if contact.session is not None]
        hidden_bytes = [arq.in_flight_bytes for arq in arqs]
        for arq in arqs:
            arq.in_flight_bytes = 0
        transmit = super().poll_transmit(now_s)
        for arq, each in zip(arqs, hidden_bytes, strict=True):
            arq.in_flight_bytes += each
        return transmit


class CancelsWhatHasLeft(Node):
    """Says yes to whoever cancels, though all of the bundle may have arrived."""

    def cancel(self, bundle: BundleId, now_s: float) -> bool:
        return self.settle(bundle, now_s, EraseReason.CANCELLED)
