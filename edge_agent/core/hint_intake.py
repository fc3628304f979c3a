"""What a hint sets off: a link warned of is doubted and asked at once, one that is told to be back is asked at once.

The answer, or its absence, decides as it always does; a hint convicts nothing and brings nothing up.
"""

import math

from edge_agent.core.contact import Contact, Link
from edge_agent.core.contacts import Contacts
from edge_agent.core.link_hint import LinkHint
from edge_agent.core.liveness import Liveness

ASKED_EVERY_S, ASKED_SHARE = 10.0, 0.25
"""A link is asked because of hints once in so long at most, or in that share of the time between its own questions: a
signal that comes and goes must not cost a metered link its bytes."""
ANSWERED_S = 5.0
"""An acknowledgement so long ago says that the link works."""


class HintIntake:
    """Takes hints of all links."""

    def __init__(self, contacts: Contacts, liveness: Liveness) -> None:
        self._contacts = contacts
        self._liveness = liveness

    def take(self, link: str, source: str, hint: LinkHint, now_s: float) -> bool:
        """False, and nothing is kept, for a link that is not known and values that cannot be. O(peers on the link)."""
        known = self._contacts.links.get(link)
        if known is None or not hint.is_sound:
            return False
        hints, was_warned = known.hints, now_s < known.hints.poor_until_s
        was_encouraging = hints.is_encouraging(now_s)
        is_answering = any(_is_answering(contact, now_s) for contact in known.contacts)
        if not hints.take(source, hint, now_s, is_answering=is_answering):
            return False
        known.warned_until_s = hints.poor_until_s
        for contact in known.contacts:
            contact.controller.start_at_most(hints.rate_bps(now_s))
        if now_s < hints.poor_until_s:
            if not was_warned:
                self._warn(known, now_s)
        elif not was_encouraging and hints.is_encouraging(now_s):
            self._encourage(known, now_s)
        return True

    def _warn(self, link: Link, now_s: float) -> None:
        if not self._may_ask(link, now_s):
            return
        for contact in link.contacts:
            if contact.is_usable and contact.has_usable_sibling() and not contact.limits.is_burst:
                self._liveness.warned(contact, now_s)

    def _encourage(self, link: Link, now_s: float) -> None:
        if not self._may_ask(link, now_s):
            return
        for contact in link.contacts:
            if not contact.is_usable and contact.session is not None and not contact.limits.is_burst:
                self._liveness.encouraged(contact, now_s)

    @staticmethod
    def _may_ask(link: Link, now_s: float) -> bool:
        every_s = max(ASKED_EVERY_S, ASKED_SHARE * link.policy.ask_every_s)
        if link.limits is None or link.is_busy or every_s == math.inf or now_s - link.hints.asked_s < every_s:
            return False
        link.hints.asked_s = now_s
        return True


def _is_answering(contact: Contact, now_s: float) -> bool:
    return contact.is_usable and not contact.is_suspect and now_s - contact.answered_s <= ANSWERED_S
