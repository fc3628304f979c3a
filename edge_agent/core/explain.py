"""Why a bundle waits: what each link says to it now, what goes before it, and when it should be gone.

Reads the core and changes nothing. O(links, queues, entries of its queue): asked by people, not by the way of a bundle.
"""

from typing import NamedTuple

from edge_agent.core.budgets import NEVER_S
from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.contact import Contact, Link
from edge_agent.core.contacts import Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.effects import QueueKey
from edge_agent.core.limits import Standby
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Peer
from edge_agent.core.queue import Queue
from edge_agent.core.report import Explanation, LinkVerdict, Obstacle

BUNDLE_OVERHEAD_BYTES = 40
"""Header and its share of a frame, for a forecast; a lone small bundle costs more, one in a backlog less."""


class _Place(NamedTuple):
    """What goes before a bundle."""

    bundles: int
    payload_bytes: int
    is_exact: bool


def explain(
    contacts: Contacts, custody: Custody, bundle: BundleId, header: BundleHeader | None, now_s: float
) -> Explanation | None:
    """The whole answer for one bundle; None when nothing here knows its destination."""
    outgoing = custody.bundles.get(bundle)
    if outgoing is not None:
        header = outgoing.record.header
    if header is None:
        return None
    links = tuple(_verdicts(contacts, bundle.precedence, header.destination, outgoing, now_s))
    key = QueueKey(header.destination, bundle.precedence, bundle.source, header.flow)
    queue = custody.scheduler.queues.get(key)
    own_bytes = outgoing.unsent.total if outgoing is not None else 0
    place = _dormant_place(custody, key)
    if queue is not None:
        place = _place(custody, contacts, queue, outgoing, own_bytes)
    waiting_bytes = place.payload_bytes + own_bytes + BUNDLE_OVERHEAD_BYTES * (place.bundles + 1)
    return Explanation(
        bundle=bundle,
        payload_bytes=outgoing.record.payload_bytes if outgoing is not None else 0,
        arrived_bytes=min(outgoing.acked.total, outgoing.record.payload_bytes) if outgoing is not None else 0,
        stored_bytes=min(outgoing.stored.total, outgoing.record.payload_bytes) if outgoing is not None else 0,
        links=links,
        ahead_bundles=place.bundles,
        ahead_bytes=place.payload_bytes,
        is_exact=place.is_exact,
        expected_s=_expected_s(links, waiting_bytes),
    )


def _verdicts(
    contacts: Contacts, precedence: Precedence, destination: str, outgoing: Outgoing | None, now_s: float
) -> list[LinkVerdict]:
    verdicts = []
    for link in contacts.links.values():
        of_link: list[Contact | None] = list(link.contacts) or [None]
        for contact in of_link:
            if contact is not None and contact.peer is not None and destination not in contact.peer.destinations:
                continue  # no way to where it goes
            obstacle, wait_s = _obstacle(link, contact, precedence, outgoing, now_s)
            is_there = contact is not None and contact.is_usable
            verdicts.append(
                LinkVerdict(
                    link=link.name,
                    peer=contact.peer.node_id if contact is not None and contact.peer is not None else "",
                    obstacle=obstacle,
                    wait_s=wait_s,
                    rate_bps=contact.controller.rate_bps if contact is not None and is_there else None,
                )
            )
    return verdicts


def _obstacle(
    link: Link, contact: Contact | None, precedence: Precedence, outgoing: Outgoing | None, now_s: float
) -> tuple[Obstacle, float | None]:
    """The most lasting reason, and how long it holds at least."""
    forbidden = _forbidden(link, precedence, outgoing, now_s)
    if forbidden is not None:
        return forbidden
    if link.limits is None or contact is None or not contact.is_usable:
        return Obstacle.DOWN, None
    peer = contact.peer
    if outgoing is not None and outgoing.peer is not None and outgoing.peer is not peer:
        return Obstacle.OTHER_NODE, None
    if outgoing is not None and outgoing.blocked_until_s > now_s:
        return Obstacle.REFUSED, outgoing.blocked_until_s - now_s
    if outgoing is not None and outgoing.peer is None and peer is not None and not _has_window(peer, outgoing):
        return Obstacle.PEER_FULL, None
    if contact.is_suspect:
        return Obstacle.IN_DOUBT, None
    if link.policy.standby is not Standby.HOT and contact.stands_by(precedence):
        return Obstacle.STANDBY, None
    return (Obstacle.BUSY, None) if link.is_busy else (Obstacle.NONE, None)


def _forbidden(
    link: Link, precedence: Precedence, outgoing: Outgoing | None, now_s: float
) -> tuple[Obstacle, float | None] | None:
    """What the link's policy and budgets have against it; None: nothing."""
    policy, meter = link.policy, link.meter
    is_flash = precedence is Precedence.FLASH
    if precedence not in policy.precedences:
        return Obstacle.NOT_ALLOWED, None
    if policy.metered is None and precedence > Precedence.PRIORITY:
        return Obstacle.UNDESCRIBED, None
    if precedence in policy.held_back:
        return Obstacle(policy.held_why), None
    largest_bytes = policy.largest_bundle_bytes
    payload_bytes = outgoing.record.payload_bytes if outgoing is not None else 0
    if largest_bytes is not None and payload_bytes > largest_bytes and not is_flash:
        return Obstacle.TOO_LARGE, None
    if precedence not in policy.lifted:
        if meter.is_month_spent(policy):
            return Obstacle.MONTH_BUDGET, _wait_s(meter.month_ends_s, now_s)
        if meter.is_day_spent(policy):
            return Obstacle.BUDGET, _wait_s(meter.day_ends_s, now_s)
    if meter.paused_until_s != NEVER_S and not is_flash:
        return Obstacle.INTERVAL, _wait_s(meter.paused_until_s, now_s)
    return None


def _wait_s(until_s: float, now_s: float) -> float | None:
    return None if until_s == NEVER_S else max(0.0, until_s - now_s)


def _has_window(peer: Peer, outgoing: Outgoing) -> bool:
    """What ``Peer.may_open`` answers, without its notes."""
    limit = peer.window_bytes + (peer.reserve_bytes if outgoing.precedence <= Precedence.IMMEDIATE else 0)
    return peer.opened_bytes + outgoing.charged_bytes <= limit or (peer.opened_bytes == 0 and limit > 0)


def _place(custody: Custody, contacts: Contacts, queue: Queue, outgoing: Outgoing | None, own_bytes: int) -> _Place:
    """What goes before it: higher classes, people before machines, its own queue, and the turns of its equals.

    Of IMMEDIATE, before a protected flow, as much as leaves beside the part that is held for that.
    """
    ahead = _place_in_queue(queue, outgoing)
    bundles, payload_bytes = ahead.bundles, ahead.payload_bytes
    key = queue.key
    rank, turns_bytes = (key.precedence, queue.is_machine), ahead.payload_bytes + own_bytes
    rivals = _rivals(contacts, key.destination)
    reserve_ratio = custody.scheduler.reserve_ratio
    for other in custody.scheduler.queues.values():
        if other is queue or other.bundles == 0 or other.key.destination not in rivals:
            continue
        other_rank = (other.key.precedence, other.is_machine)
        if queue.holds_reserve and other.key.precedence == Precedence.IMMEDIATE < key.precedence:
            part = min(1.0, turns_bytes * (1 / reserve_ratio - 1) / max(1, other.payload_bytes))
            bundles += round(other.bundles * part)
            payload_bytes += round(other.payload_bytes * part)
        elif other_rank < rank:
            bundles += other.bundles
            payload_bytes += other.payload_bytes
        elif other_rank == rank:  # they take turns by bytes
            part = min(1.0, turns_bytes / max(1, other.payload_bytes))
            bundles += round(other.bundles * part)
            payload_bytes += round(other.payload_bytes * part)
    return _Place(bundles, payload_bytes, ahead.is_exact)


def _dormant_place(custody: Custody, key: QueueKey) -> _Place:
    """Of a queue that has no window, all that is known is how much waits in it."""
    known = custody.windows.dormant.get(key)
    return _Place(max(0, known.bundles - 1), known.payload_bytes, False) if known is not None else _Place(0, 0, False)


def _place_in_queue(queue: Queue, outgoing: Outgoing | None) -> _Place:
    if outgoing is None:
        return _Place(max(0, queue.bundles - 1), queue.payload_bytes, is_exact=False)
    bundles = payload_bytes = 0
    for each in (each for lane in queue.lanes() for each in lane.entries):
        if each is outgoing:
            return _Place(bundles, payload_bytes, is_exact=True)
        if not each.is_closed:
            bundles += 1
            payload_bytes += each.unsent.total
    return _Place(0, 0, is_exact=True)  # all of it has left and waits for word of custody


def _rivals(contacts: Contacts, destination: str) -> set[str]:
    """Destinations that leave by the same nodes as this one."""
    rivals = {destination}
    for peer in contacts.peers.values():
        if destination in peer.destinations:
            rivals.update(peer.destinations)
    return rivals


def _expected_s(links: tuple[LinkVerdict, ...], waiting_bytes: int) -> float | None:
    """By the links that may carry it now; if there are none, after the shortest wait that is known."""
    open_bps = sum(each.rate_bps or 0.0 for each in links if each.obstacle is Obstacle.NONE)
    if open_bps > 0:
        return waiting_bytes * 8 / open_bps
    waits = [
        each.wait_s + waiting_bytes * 8 / each.rate_bps for each in links if each.wait_s is not None and each.rate_bps
    ]
    return min(waits, default=None)
