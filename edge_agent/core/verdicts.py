"""What a peer says of bundles in custody here: it has stored them, or a part of one, or it will not take one now."""

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.codec import Refused, Source, Stored, StoredPartly
from edge_agent.core.contacts import Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.effects import BundleRefused
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer


class Verdicts:
    """Works what peers say into custody."""

    def __init__(self, contacts: Contacts, custody: Custody, outputs: Outputs) -> None:
        self.contacts = contacts
        self.custody = custody
        self.outputs = outputs

    def _own(self, source: Source | None, precedence: Precedence, sequence: int) -> BundleId:
        """The id of a bundle that the peer names: ours where it names no source."""
        settings = self.contacts.settings
        if source is None:
            return BundleId(settings.node_id, self.custody.restored.incarnation, precedence, sequence)
        return BundleId(source.node_id, source.incarnation, precedence, sequence)

    def take_stored(self, peer: Peer, block: Stored) -> None:
        limit = 2 * len(self.custody.bundles) + 4096
        for start, end in block.ranges:
            if end - start > limit:  # more than can be open here: believe only what is
                self.outputs.drop("stored_beyond")
                continue
            named = (self._own(block.source, block.precedence, sequence) for sequence in range(start, end))
            self.custody.forward(named, peer)
        if peer.is_full:
            peer.is_full = False
            self.custody.scheduler.version += 1

    def take_stored_partly(self, peer: Peer, block: StoredPartly) -> None:
        outgoing = self.custody.bundles.get(self._own(block.source, block.precedence, block.sequence))
        if outgoing is not None and outgoing.peer is peer and outgoing.replace_stored(block.ranges):
            self.custody.wake(outgoing)

    def take_refused(self, peer: Peer, block: Refused, now_s: float) -> None:
        bundle = self._own(block.source, block.precedence, block.sequence)
        outgoing = self.custody.bundles.get(bundle)
        if outgoing is None:
            return
        outgoing.blocked_until_s = now_s + block.retry_after_s
        outgoing.stored.remove(0, outgoing.span)
        outgoing.forget_unstored()
        for contact in self.contacts.contacts:  # else an acknowledgement of what was thrown away would count
            if contact.session is not None:
                contact.session.arq.forget(outgoing)
        if outgoing.peer is not None:  # what it will not take now must not keep its window from others
            outgoing.peer.opened_bytes -= outgoing.record.payload_bytes
            outgoing.peer = None
            outgoing.via.clear()
        self.custody.wake(outgoing)
        self.outputs.events.append(BundleRefused(bundle, block.reason, "", peer.node_id, block.retry_after_s))
