"""Writes live blocks and repairs into frames: what of a perishable bundle may leave by a link, and in which form."""

from edge_agent.core.blocks import Fragment
from edge_agent.core.codec import live_content, put_live, put_repair
from edge_agent.core.contact import Contact
from edge_agent.core.draft import Draft
from edge_agent.core.hello import READS_LIVE
from edge_agent.core.live import LiveBundle
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.repairs import REPAIR_ROOM_BYTES, Repairs
from edge_agent.core.scheduler import Scheduler

LIVE_ROOM_BYTES = REPAIR_ROOM_BYTES + 12
"""What a live piece leaves free beside what any piece takes: its longer number, and room for a repair of it."""


def may_leave(contact: Contact, outgoing: Outgoing, now_s: float) -> bool:
    """Whether a live bundle can still come in time by this link, to a peer that reads such.

    Half of the round trip is only a guess at the way there, so a quarter is asked for.
    """
    assert isinstance(outgoing, LiveBundle)
    session, peer, rtt = contact.session, contact.peer, contact.rtt
    if session is None or not session.is_keyed or peer is None or not peer.features & READS_LIVE:
        return False
    way_s = rtt.min_s / 4 if rtt.smoothed_s is not None else 0.0
    return now_s + way_s < outgoing.due_s


def piece_of(outgoing: Outgoing, start: int, stop: int) -> bytes:
    """Payload bytes of a live bundle."""
    assert isinstance(outgoing, LiveBundle)
    return outgoing.payload[start:stop]


def write_live(
    contact: Contact, draft: Draft, outgoing: Outgoing, fragment: Fragment, now_s: float, *, is_doubled: bool
) -> None:
    """Append a LIVE block. ``is_doubled``: another link brings it, too, so that no repair need be about it."""
    assert isinstance(outgoing, LiveBundle)
    session, content = contact.session, live_content(fragment)
    assert session is not None
    if session.repairs is None:
        session.repairs = Repairs()
    number = session.repairs.cover(contact, outgoing, content, now_s, is_doubled=is_doubled)
    put_live(draft.body, number, content)


def write_repair(contact: Contact, repairs: Repairs, draft: Draft, scheduler: Scheduler, now_s: float) -> bool:
    """Append the REPAIR that is owed; False when none is, or something of a higher class goes first."""
    peer, precedence = contact.peer, repairs.precedence
    if not repairs.is_owing or peer is None or contact.is_suspect or not contact.is_usable:
        return False
    waiting = scheduler.waiting(peer.destinations)
    if waiting and (waiting[0] < precedence or (waiting[0] is precedence and repairs.may_wait(now_s))):
        return False
    if not contact.may_carry(precedence) or not contact.window_room(is_flash=False):
        return False
    content = repairs.put(contact, draft.room_bytes, now_s)
    if content is None:
        return False
    put_repair(draft.body, content)
    draft.is_wanted = draft.wants_ack = True
    draft.column = precedence
    return True
