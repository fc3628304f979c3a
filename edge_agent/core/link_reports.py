"""What a node can say of its links at one moment."""

from edge_agent.core.contact import Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.effects import LinkState
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.report import LinkReport


def link_reports(contacts: Contacts, now_s: float) -> tuple[LinkReport, ...]:
    """One report for each link and peer, one for a link that nobody was heard on."""
    reports = []
    for link in contacts.links.values():
        of_link: list[Contact | None] = list(link.contacts) or [None]
        reports += [_link_report(link.name, link.reason, contact, link.policy, now_s) for contact in of_link]
    return tuple(reports)


def _link_report(name: str, link_reason: str, contact: Contact | None, policy: LinkPolicy, now_s: float) -> LinkReport:
    if contact is None:
        state = LinkState.DOWN if link_reason else LinkState.UNKNOWN
        return LinkReport(link=name, peer="", state=state, reason=link_reason, since_s=now_s, last_heard_s=None)
    session = contact.session
    known = contact.rtt.smoothed_s is not None
    stale = now_s - contact.goodput_since_s > 5.0
    return LinkReport(
        link=name,
        peer=contact.peer.node_id if contact.peer is not None else "",
        state=contact.state,
        reason=contact.link.reason or contact.reason,
        since_s=contact.since_s,
        last_heard_s=contact.last_heard_s,
        rtt_s=contact.rtt.smoothed_s,
        loss_ratio=contact.loss_ratio if known else None,
        rate_bps=contact.controller.rate_bps if session is not None and contact.controller.is_trained else None,
        goodput_bps=0.0 if stale else contact.goodput_bps,
        sent_bytes=contact.sent_bytes,
        received_bytes=contact.received_bytes,
        cost=contact.sent_bytes / 1e6 * policy.cost_per_mb,
    )
