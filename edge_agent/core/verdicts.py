"""What a peer says of bundles in custody here: it has stored them, or a part of one, or it will not take one now."""

from collections import deque

from edge_agent.core.begun_before import go_on
from edge_agent.core.blocks import Refused, Source, Stored, StoredPartly, Window
from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.contacts import Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.effects import BundleRefused
from edge_agent.core.errors import RefusalReason
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer

_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
LEAVE_S = 10.0
"""How long bundles below FLASH wait for a dead command node that has a part of them; most outages are shorter."""

TURNED_AWAY_MAX = 1024
"""Bundles of one peer that are tried as soon as it has room; what is forgotten waits out its time."""
_FOR_WANT_OF_ROOM = (RefusalReason.STORE_FULL, RefusalReason.PARTIAL_DROPPED)


class Verdicts:
    """Works what peers say into custody."""

    def __init__(self, contacts: Contacts, custody: Custody, outputs: Outputs) -> None:
        self.contacts = contacts
        self.custody = custody
        self.outputs = outputs
        self._turned_away: dict[str, deque[Outgoing]] = {}

    def _own(self, source: Source | None, precedence: Precedence, sequence: int) -> BundleId:
        """The id of a bundle that the peer names: ours where it names no source."""
        settings = self.contacts.settings
        if source is None:
            return BundleId(settings.node_id, self.custody.restored.incarnation, precedence, sequence)
        return BundleId(source.node_id, source.incarnation, precedence, sequence)

    def take_stored(self, peer: Peer, block: Stored, now_s: float) -> None:
        limit = 2 * len(self.custody.bundles) + 4096
        for start, end in block.ranges:
            if end - start > limit:  # more than can be open here: believe only what is
                self.outputs.drop("stored_beyond")
                continue
            name = self._own(block.source, block.precedence, start)[:3]
            self.custody.forward((_new_tuple(BundleId, (*name, sequence)) for sequence in range(start, end)), peer)
        self._note_word(peer, now_s)

    def _note_word(self, peer: Peer, now_s: float) -> None:
        """The peer stores things: its window is as it said, and what it lacked room for may fit now."""
        peer.word_s, peer.is_stale = now_s, False
        if peer.is_full:
            peer.is_full = False
            self.custody.scheduler.version += 1

    def take_window(self, peer: Peer, block: Window, now_s: float) -> None:
        if block.window_bytes > peer.window_bytes:  # there is room again: nobody waits out the time he was told
            for outgoing in self._turned_away.pop(peer.node_id, ()):
                outgoing.blocked_until_s = 0.0
        peer.window_bytes, peer.reserve_bytes = block.window_bytes, block.reserve_bytes
        peer.word_s, peer.is_stale = now_s, False
        self.custody.scheduler.version += 1

    def take_stored_partly(self, peer: Peer, block: StoredPartly, now_s: float) -> None:
        bundle = self._own(block.source, block.precedence, block.sequence)
        outgoing = self.custody.bundles.get(bundle)
        if outgoing is None:
            self.custody.begun_before.note(bundle, peer, block.ranges)
        elif outgoing.peer is None:
            go_on(outgoing, peer, block.ranges)
            self.custody.scheduler.version += 1
        elif outgoing.peer is peer and outgoing.replace_stored(block.ranges):
            self.custody.wake(outgoing)
        self._note_word(peer, now_s)

    def unpin(self, outgoing: Outgoing) -> None:
        """What was begun towards a peer starts over, to whomever: nothing of it counts as arrived."""
        outgoing.stored.remove(0, outgoing.span)
        outgoing.forget_unstored()
        for contact in self.contacts.contacts:  # else an acknowledgement of what was thrown away would count
            if contact.session is not None:
                contact.session.arq.forget(outgoing)
        if outgoing.peer is not None:  # what it will not take now must not keep its window from others
            outgoing.peer.opened_bytes -= outgoing.charged_bytes
            outgoing.peer = None
            outgoing.via = ()
        self.custody.wake(outgoing)

    def leave_the_dead(self, now_s: float) -> None:
        """What was begun towards a command node that no link reaches starts over at another one: FLASH at once."""
        dead_s: dict[str, float] = {}
        is_reached = False
        for peer in self.contacts.peers.values():
            if peer.role == COMMAND:
                if any(each.is_usable for each in peer.contacts):
                    is_reached = True
                else:
                    dead_s[peer.node_id] = max((each.since_s for each in peer.contacts), default=now_s)
        if not (dead_s and is_reached):
            return
        for outgoing in list(self.custody.bundles.values()):
            since_s = None if outgoing.peer is None else dead_s.get(outgoing.peer.node_id)
            if since_s is None or outgoing.record.header.destination != COMMAND:
                continue
            if outgoing.precedence is Precedence.FLASH or now_s - since_s >= LEAVE_S:
                self.outputs.drop("moved_from_dead_node")
                self.unpin(outgoing)

    def take_refused(self, peer: Peer, block: Refused, now_s: float) -> None:
        bundle = self._own(block.source, block.precedence, block.sequence)
        outgoing = self.custody.bundles.get(bundle)
        if outgoing is None:
            return
        outgoing.blocked_until_s = now_s + block.retry_after_s
        if block.reason in _FOR_WANT_OF_ROOM:
            self._turned_away.setdefault(peer.node_id, deque(maxlen=TURNED_AWAY_MAX)).append(outgoing)
        self.unpin(outgoing)
        self.outputs.events.append(BundleRefused(bundle, block.reason, "", peer.node_id, block.retry_after_s))
