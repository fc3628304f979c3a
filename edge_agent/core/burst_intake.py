"""Frames of burst links, in: authentic, never twice, and acted upon only when that is on disk."""

from collections.abc import Hashable

from edge_agent.core.arrivals import Arrivals
from edge_agent.core.blocks import Block, Fragment, Refused, Source, Stored
from edge_agent.core.bundle import MalformedError
from edge_agent.core.burst_numbers import BurstWindows
from edge_agent.core.codec import read_blocks
from edge_agent.core.contact import Link
from edge_agent.core.contacts import Contacts
from edge_agent.core.effects import Failed, Outcome, Restored, SyncWindow
from edge_agent.core.envelope import Envelope
from edge_agent.core.frame import FrameCipher
from edge_agent.core.limits import LinkShape
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer
from edge_agent.core.verdicts import Verdicts

OPENERS_KEPT = 256


class BurstIntake:
    """Works through the frames of burst links."""

    def __init__(
        self, contacts: Contacts, arrivals: Arrivals, verdicts: Verdicts, outputs: Outputs, restored: Restored
    ) -> None:
        self.contacts = contacts
        self.arrivals = arrivals
        self.verdicts = verdicts
        self.outputs = outputs
        self.windows = BurstWindows(restored.burst_windows)
        self._openers: dict[tuple[int, int, int], FrameCipher] = {}

    def take(self, link: Link, address: Hashable | None, envelope: Envelope, frame: bytes) -> None:
        """One frame from ``address``. What it holds is acted upon once its place in the replay window is on disk."""
        if link.limits is None or link.limits.shape is not LinkShape.BURST:
            self.outputs.drop("burst_unwanted")
            return
        sender_number, incarnation, number = envelope.sender_number, envelope.incarnation, envelope.number
        if sender_number == self.contacts.settings.number:
            self.outputs.drop("burst_from_self")
            return
        if self.windows.is_replay(sender_number, incarnation, number):
            self.outputs.drop("frame_replayed")
            return
        body = self._unseal(envelope, frame)
        if body is None:
            self.outputs.drop("frame_not_authentic")
            return
        window = self.windows.take(sender_number, incarnation, number)

        def synced(outcome: Outcome, now_s: float) -> None:
            if isinstance(outcome, Failed):
                self.outputs.drop("burst_window_failed")
            else:
                self._take_body(link, address, envelope, body, now_s)

        self.outputs.effects.append(SyncWindow(self.outputs.new_effect(synced), window))

    def _unseal(self, envelope: Envelope, frame: bytes) -> bytes | None:
        key = (envelope.sender_number, envelope.incarnation, envelope.epoch)
        cipher = self._openers.get(key) or self.contacts.keys.burst(*key)
        if cipher is None:
            return None
        body = cipher.open(envelope.number, frame[: envelope.length], frame[envelope.length :])
        if body is not None and key not in self._openers:  # strangers' guesses must not push out those who are known
            if len(self._openers) >= OPENERS_KEPT:
                del self._openers[next(iter(self._openers))]
            self._openers[key] = cipher
        return body

    def _peer_of(self, envelope: Envelope, source: Source | None) -> Peer:
        """Who sent a frame: a node heard before under that number, else the source of what it brings."""
        for peer in self.contacts.peers.values():
            if peer.number == envelope.sender_number and peer.incarnation == envelope.incarnation:
                return peer
        is_own = source is not None and source.incarnation == envelope.incarnation
        name = source.node_id if source is not None and is_own else f"number-{envelope.sender_number}"
        peer = self.contacts.peer(name)
        peer.number, peer.incarnation = envelope.sender_number, envelope.incarnation
        return peer

    def _take_body(self, link: Link, address: Hashable | None, envelope: Envelope, body: bytes, now_s: float) -> None:
        blocks: list[Block] = []
        try:
            blocks.extend(read_blocks(body))
        except MalformedError:
            self.outputs.drop("block_malformed")
        first = next((each.source for each in blocks if isinstance(each, Fragment)), None)
        peer = self._peer_of(envelope, first)
        contact = self.contacts.burst_contact(link, address if link.is_listener else None, peer, now_s)
        if contact is not None:
            contact.note_received(envelope.length + len(body), now_s)
            contact.last_heard_s = peer.last_heard_s = now_s
        for block in blocks:
            self._take_block(peer, link, block, now_s)

    def _take_block(self, peer: Peer, link: Link, block: Block, now_s: float) -> None:
        if not isinstance(block, Fragment | Stored | Refused) or block.source is None:
            self.outputs.drop("burst_block_unwanted")
        elif isinstance(block, Fragment):
            self.arrivals.take(block, peer, link.name, now_s)
        elif isinstance(block, Stored):
            self.verdicts.take_stored(peer, block, now_s)
        else:
            self.verdicts.take_refused(peer, block, now_s)
