"""Word to a peer, by another link, that nothing more is heard from it on this one.

CONTROL [7, id, highest]: the peer's own id of the session, and the highest number heard in it (-1: none). A side that
only answers would learn of a dead link a second later: until then its acknowledgements and its custody go there, and
what had arrived is sent again. A word that comes late is known by its number and ignored, and so is one that misses
nothing: who slept for a while sent nothing. Source of the idea: RFC 5880
(diagnostic 3, neighbor signaled session down).
"""

from edge_agent.core.blocks import Control
from edge_agent.core.bundle import MalformedError
from edge_agent.core.contact import Contact
from edge_agent.core.peer import Reply
from edge_agent.core.session import Session

SILENCE_KIND = 7
_FIELDS = 3


def tell_silence(contact: Contact, now_s: float) -> None:
    """``contact`` was convicted: its peer hears of it on a link that works, if there is one."""
    peer, session = contact.peer, contact.session
    if peer is None or session is None or not session.is_keyed or not session.peer_receive_id:
        return
    if any(each.is_usable for each in contact.siblings()):
        word = Control([SILENCE_KIND, session.peer_receive_id, session.space.highest])
        peer.owe(Reply(word, is_urgent=True), now_s)


def read_silence(contact: Contact, block: Control) -> tuple[Contact, Session] | None:
    """Which way to the peer of ``contact`` is silent there; None if it was heard since. Raises MalformedError."""
    fields = block.fields
    if len(fields) < _FIELDS or any(type(number) is not int for number in fields[:_FIELDS]):
        raise MalformedError("silence: fields")
    _, receive_id, highest = fields[:_FIELDS]
    for each in contact.siblings():
        session = each.session
        if session is not None and session.is_keyed and session.receive_id == receive_id:
            arq = session.arq
            return (each, session) if arq.highest_acked <= highest < arq.next_number - 1 else None
    return None
