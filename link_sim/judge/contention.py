"""Which classes have a bundle that one contact of a core node could take now. Reads a node and changes nothing."""

from collections.abc import Hashable, Iterator
from itertools import islice

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.node import Node
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Peer

LOOKED_AT = 8
"""Entries of one queue that are looked at: the first ones are served first, and a step shall not cost more."""


def find_contact(node: Node, link: str, address: Hashable | None) -> Contact | None:
    """The contact whose frames go to ``address`` on ``link``."""
    known = node.contacts.links.get(link)
    for contact in known.contacts if known else ():
        if contact.address == address:
            return contact
    return None


def is_alone(node: Node, contact: Contact) -> bool:
    """Whether no other link to the same node works: nothing can be left to a faster one."""
    return not any(each.is_usable and each.peer is contact.peer and each is not contact for each in all_of(node))


def all_of(node: Node) -> Iterator[Contact]:
    """Every contact of a node."""
    return iter(node.contacts.contacts)


def ready_classes(node: Node, contact: Contact, now_s: float) -> list[bool]:
    """For each class of service whether a bundle is ready for this contact: allowed, taken by the peer, and in memory.

    A contact without a session's keys may carry what is for the command post. O(queues of the node).
    """
    ready = [False] * len(Precedence)
    peer, session = contact.peer, contact.session
    is_keyed = session is not None and session.is_keyed
    destinations = peer.destinations if peer is not None and is_keyed else (COMMAND,)
    for key, queue in node.scheduler.queues.items():
        if key.destination not in destinations or not contact.may_carry(key.precedence):
            continue
        for lane in queue.lanes():
            if lane.entries and not ready[lane.service]:
                ready[lane.service] = any(
                    _is_ready(node, peer, outgoing, now_s) for outgoing in islice(lane.entries, LOOKED_AT)
                )
    return ready


def service_of(node: Node, fragment: Fragment) -> Precedence:
    """The class that a fragment about to leave is served with: history goes with DEFERRED."""
    if fragment.source is not None:
        source, incarnation = fragment.source
    else:
        source, incarnation = node.settings.node_id, node.custody.restored.incarnation
    outgoing = node.custody.bundles.get(BundleId(source, incarnation, fragment.precedence, fragment.sequence))
    return outgoing.service if outgoing is not None else fragment.precedence


def _is_ready(node: Node, peer: Peer | None, outgoing: Outgoing, now_s: float) -> bool:
    if outgoing.is_closed or not outgoing.unsent or outgoing.blocked_until_s > now_s:
        return False
    if outgoing.peer is None:
        if peer is not None and not _has_window(peer, outgoing):
            return False
    elif outgoing.peer is not peer:
        return False
    if outgoing.precedence is Precedence.FLASH:
        return True  # nothing lower starts while the store is being read for it
    return node.cache.holds(outgoing, outgoing.unsent.first_range()[0])


def _has_window(peer: Peer, outgoing: Outgoing) -> bool:
    """What ``Peer.may_open`` answers, without its notes."""
    limit = peer.window_bytes + (peer.reserve_bytes if outgoing.precedence <= Precedence.IMMEDIATE else 0)
    return peer.opened_bytes + outgoing.record.payload_bytes <= limit or (peer.opened_bytes == 0 and limit > 0)
