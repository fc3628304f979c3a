"""1+1: what leaves on two links from the start, and which link takes the second copy.

The copies avoid links that fail together (``shares_fate`` of their policies). Links pull, so a link that asks leaves
a copy below FLASH to another one that would have it there earlier (docs/adr/0034-one-plus-one.md).
"""

from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import ETA_NOISE_S, WARNED_S, Contact
from edge_agent.core.limits import SLOW_LINK_BPS, Standby
from edge_agent.core.outgoing import EVERY_LINK, LARGE_BYTES, Outgoing
from edge_agent.core.queue import Queue

_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up
FALTERED_S = 60.0
"""So long after a link came back from a silence a third link carries what is protected, too."""
WAITING_MAX = 64
"""Bundles in the queue of a protected flow beyond which none is doubled: the copies would take the room of the rest."""


def copies_wanted(contact: Contact, queue: Queue, outgoing: Outgoing, usable: list[Contact], now_s: float) -> int:
    """On how many links that which leaves on ``contact`` now shall leave; ``usable`` are the peer's others.

    While one of them is in doubt, on all: a doubt may be wrong, and the link in doubt still be the fastest. FLASH
    leaves on the link that asks first, for nothing lower may leave before it; where two are better, on these besides
    (docs/adr/0035-the-two-best-links.md). What leaves on a link that a device
    warns of, or that flaps, is doubled from IMMEDIATE on.
    """
    precedence = outgoing.precedence
    is_doubt = precedence <= _IMMEDIATE and any(each.is_suspect and each.is_usable for each in contact.siblings())
    if precedence is not _FLASH:
        is_doubled = queue.is_protected or is_doubt or (precedence is _IMMEDIATE and contact.is_shaky(now_s))
        if not is_doubled or outgoing.span > LARGE_BYTES or len(queue.entries) > WAITING_MAX:
            return 1
    if is_doubt:
        return EVERY_LINK
    if precedence is not _FLASH:
        fate = contact.link.policy.shares_fate
        if not any(_takes(each, outgoing) for each in usable if not fate or each.link.policy.shares_fate != fate):
            return 1
    if len(usable) < 2:
        return 2
    if precedence is not _FLASH:
        is_third = queue.is_protected and precedence is _IMMEDIATE and _may_falter([contact, *usable], now_s)
        return 3 if is_third else 2
    return 3 if len(_sooner(contact, outgoing, usable, now_s)) > 1 else 2


def _may_falter(contacts: list[Contact], now_s: float) -> bool:
    """Whether one of them was silent lately, and none costs money: then two copies may both be on links that fail."""
    return any(now_s - each.faltered_s < FALTERED_S for each in contacts) and not any(
        each.link.policy.metered for each in contacts
    )


def may_copy(contact: Contact, outgoing: Outgoing, usable: list[Contact], now_s: float) -> bool:
    """Whether ``contact`` is the link for one more copy of bytes that have all left on another one."""
    if outgoing.is_on_every_link:
        return True
    if outgoing.unsent.total or not _takes(contact, outgoing):
        return False
    return not any(
        outgoing.has_piece_for(each.link.name, each.link.policy.shares_fate)
        for each in _sooner(contact, outgoing, usable, now_s)
    )


def _sooner(contact: Contact, outgoing: Outgoing, usable: list[Contact], now_s: float) -> list[Contact]:
    """Those of ``usable`` that could take a copy now and would have it there earlier than ``contact``."""
    latest_s, is_flash = _copy_eta_s(contact, outgoing, now_s) - ETA_NOISE_S, outgoing.precedence is _FLASH
    return [
        each
        for each in usable
        if _takes(each, outgoing)
        and _copy_eta_s(each, outgoing, now_s) < latest_s
        and each.window_room(is_flash=is_flash)
    ]


def _copy_eta_s(contact: Contact, outgoing: Outgoing, now_s: float) -> float:
    """When a copy would be there; by a link that flaps it is not counted on sooner than by a slow one."""
    damped_s = WARNED_S if now_s < contact.damping.until_s else 0.0
    return contact.eta_s(now_s, outgoing.span) + damped_s


def is_also_elsewhere(contact: Contact, outgoing: Outgoing, start: int, end: int) -> bool:
    """Whether a copy of [start, end) is on its way on another link of the peer that is not in doubt."""
    return outgoing.copies is not None and any(
        each.is_usable
        and not each.is_suspect
        and outgoing.is_on_its_way(each.link.name, each.link.policy.shares_fate, start, end)
        for each in contact.siblings()
    )


def _takes(contact: Contact, outgoing: Outgoing) -> bool:
    """Whether a link takes copies: let, wide and cheap enough for what may be there already.

    A call for help asks only whether its class may go there.
    """
    precedence, policy = outgoing.precedence, contact.link.policy
    if not contact.may_carry(precedence) or (policy.standby is not Standby.HOT and contact.stands_by(precedence)):
        return False
    if precedence is _FLASH:
        return True
    largest_bytes = policy.largest_bundle_bytes
    if largest_bytes is not None and outgoing.record.payload_bytes > largest_bytes:
        return False
    is_free = policy.metered is False or precedence <= _IMMEDIATE
    return is_free and contact.controller.rate_bps >= SLOW_LINK_BPS
