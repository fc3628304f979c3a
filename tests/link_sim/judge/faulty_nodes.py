"""Copies of the core with one fault each, for a judge that must find them."""

import random
from collections.abc import Callable
from dataclasses import replace

from edge_agent.core.arq import SentFrame
from edge_agent.core.blocks import Fragment
from edge_agent.core.budgets import Spent
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.effects import Effect, EraseReason, Persist, Restored, Transmit
from edge_agent.core.frame import LinkKeys
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.limits import LinkPolicy
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
            link.meter.day_bytes = 0
            link.review()
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


class ForgetsWhatADeadLinkCarried(Node):
    """What was in flight when a link was convicted is owed to nobody."""

    def _give_back(self, contact: Contact, frames: list[SentFrame], now_s: float) -> None:
        super()._give_back(contact, frames if contact.is_usable else [], now_s)


class SendsWhatIsHeldBack(Node):
    """No class is ever held back."""

    def set_terms(self, link: str, now_s: float, *, policy: LinkPolicy, spent: Spent | None = None) -> None:
        super().set_terms(link, now_s, policy=replace(policy, held_back=frozenset(), held_why=""), spent=spent)


class ForgetsTheMonth(Node):
    """A budget of a month is none."""

    def poll_transmit(self, now_s: float) -> Transmit | None:
        for link in self.contacts.links.values():
            if link.policy.bytes_per_month is not None:
                link.set_policy(replace(link.policy, bytes_per_month=None))
        return super().poll_transmit(now_s)


class TakesAnySize(Node):
    """Bundles are too large for no link."""

    def poll_transmit(self, now_s: float) -> Transmit | None:
        for link in self.contacts.links.values():
            if link.policy.largest_bundle_bytes is not None:
                link.set_policy(replace(link.policy, largest_bundle_bytes=None))
        return super().poll_transmit(now_s)


class NeverAsksAgain(Node):
    """A link that was convicted is never asked whether it is back."""

    def poll_transmit(self, now_s: float) -> Transmit | None:
        for contact in self.contacts.contacts:
            if not contact.is_usable and contact.session is not None and contact.session.is_keyed:
                contact.probe_at_s = None
        return super().poll_transmit(now_s)
