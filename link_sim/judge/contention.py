"""Which classes have a bundle that one contact of a core node could take now. Reads a node and changes nothing."""

from collections.abc import Collection, Hashable, Sequence
from itertools import islice

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.node import Node
from edge_agent.core.peer import Peer
from edge_agent.core.queue import Queue

LOOKED_AT = 8
"""Entries of one queue that are looked at: the first ones are served first, and a step shall not cost more."""
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_CLASSES, _FLASH, _IMMEDIATE = tuple(Precedence), Precedence.FLASH, Precedence.IMMEDIATE  # looked up once


def find_contact(node: Node, link: str, address: Hashable | None) -> Contact | None:
    """The contact whose frames go to ``address`` on ``link``."""
    known = node.contacts.links.get(link)
    for contact in known.contacts if known else ():
        if contact.address == address:
            return contact
    return None


def is_alone(node: Node, contact: Contact) -> bool:
    """Whether no other link to the same node works: nothing can be left to a faster one."""
    peer = contact.peer
    contacts = peer.contacts if peer is not None else node.contacts.contacts
    return not any(each.is_usable and each.peer is peer and each is not contact for each in contacts)


def carried_classes(contact: Contact) -> Sequence[Precedence]:
    """What the policy of a contact's link lets on it now."""
    carries = contact.link.carries
    if len(carries) == len(_CLASSES):
        return _CLASSES  # as with most: nothing is asked class by class
    return [precedence for precedence in _CLASSES if precedence in carries]


def ready_classes(node: Node, contact: Contact, carried: Collection[Precedence], now_s: float) -> list[bool]:
    """For each class of service whether a bundle is ready for this contact: allowed, taken by the peer, and in memory.

    ``carried`` are the precedences that it may carry. A contact without a session's keys may carry what is for the
    command post. O(queues of the node).
    """
    ready, largest_bytes = [False] * len(_CLASSES), contact.link.policy.largest_bundle_bytes
    peer, session = contact.peer, contact.session
    is_keyed = session is not None and session.is_keyed
    destinations = peer.destinations if peer is not None and is_keyed else (COMMAND,)
    for key, queue in node.scheduler.queues.items():
        if queue.entries:  # most are empty: nothing else is asked of them
            service = queue.service
            if not ready[service] and key.precedence in carried and key.destination in destinations:
                ready[service] = _has_ready(node, peer, queue, largest_bytes, now_s)
        past = queue.past
        if past is not None and past.entries:
            service = past.service
            if not ready[service] and key.precedence in carried and key.destination in destinations:
                ready[service] = _has_ready(node, peer, past, largest_bytes, now_s)
    return ready


def service_of(node: Node, fragment: Fragment) -> Precedence:
    """The class that a fragment about to leave is served with: history goes with DEFERRED."""
    if fragment.source is not None:
        source, incarnation = fragment.source
    else:
        source, incarnation = node.settings.node_id, node.custody.restored.incarnation
    precedence = fragment.precedence
    outgoing = node.custody.bundles.get(_new_tuple(BundleId, (source, incarnation, precedence, fragment.sequence)))
    return outgoing.service if outgoing is not None else precedence


def _has_ready(node: Node, peer: Peer | None, lane: Queue, largest_bytes: int | None, now_s: float) -> bool:
    for outgoing in islice(lane.entries, LOOKED_AT):
        if not outgoing.unsent or outgoing.is_closed or outgoing.blocked_until_s > now_s:
            continue
        if outgoing.peer is None:
            if peer is not None and not peer.has_room(outgoing.precedence, outgoing.charged_bytes):
                continue
        elif outgoing.peer is not peer:
            continue
        if outgoing.precedence is _FLASH:
            return True  # nothing lower starts while the store is being read for it
        if largest_bytes is not None and outgoing.record.payload_bytes > largest_bytes:
            continue
        if node.cache.holds(outgoing, outgoing.unsent.first_range()[0]):
            return True
    return False
