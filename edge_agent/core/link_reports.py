"""What a node can say of its links at one moment."""

from edge_agent.core.contact import Contact, Link
from edge_agent.core.contacts import Contacts
from edge_agent.core.effects import LinkState
from edge_agent.core.report import LinkReport
from edge_agent.core.tally import LinkSeconds


def link_reports(contacts: Contacts, now_s: float) -> tuple[LinkReport, ...]:
    """One report for each link and peer, one for a link that nobody was heard on."""
    reports = []
    for link in contacts.links.values():
        of_link: list[Contact | None] = list(link.contacts) or [None]
        reports += [_link_report(link, contact, now_s) for contact in of_link]
    return tuple(reports)


def take_seconds(contacts: Contacts, before_s: float) -> list[LinkSeconds]:
    """Of each link and peer what it did in the seconds that ended at ``before_s`` or sooner, once. None of burst links:
    nothing is acknowledged there."""
    taken = []
    for link in contacts.links.values():
        is_there = link.limits is not None
        for contact in link.contacts:
            if not contact.limits.is_burst:
                peer = contact.peer.node_id if contact.peer is not None else ""
                counts = contact.tally.take(before_s) if contact.tally.seconds else ()
                sent_s, heard_s = contact.last_sent_s, contact.last_heard_s
                taken.append(LinkSeconds(link.name, peer, contact.state, is_there, sent_s, heard_s, counts))
        if not link.contacts:
            taken.append(LinkSeconds(link.name, "", LinkState.UNKNOWN, is_there, 0.0, None, ()))
    return taken


def _link_report(link: Link, contact: Contact | None, now_s: float) -> LinkReport:
    if contact is None:
        state = LinkState.DOWN if link.reason else LinkState.UNKNOWN
        return LinkReport(
            link=link.name,
            peer="",
            state=state,
            reason=link.reason,
            since_s=now_s,
            last_heard_s=None,
            carries=link.carries,
            hints=link.hints.reports(now_s),
        )
    session, falls, measured_s = contact.session, contact.damping.falls_at(now_s), contact.controller.measured_s
    known = contact.rtt.smoothed_s is not None
    stale = now_s - contact.goodput_since_s > 5.0
    return LinkReport(
        link=link.name,
        peer=contact.peer.node_id if contact.peer is not None else "",
        state=contact.state,
        reason=contact.link.reason or contact.reason,
        since_s=contact.since_s,
        last_heard_s=contact.last_heard_s,
        rtt_s=contact.rtt.smoothed_s,
        loss_ratio=contact.loss_ratio if known else None,
        rate_bps=contact.controller.rate_bps if session is not None and contact.controller.is_trained else None,
        rate_age_s=now_s - measured_s if measured_s is not None else None,
        goodput_bps=0.0 if stale else contact.goodput_bps,
        sent_bytes=contact.sent_bytes,
        received_bytes=contact.received_bytes,
        cost=(contact.sent_bytes + contact.received_bytes) / 1e6 * link.policy.cost_per_mb,
        others_ratio=contact.controller.queue.others.ratio or None,
        switch_s=contact.tally.switch_s,
        switched_s=contact.tally.switched_s,
        falls=falls,
        flapping_s=now_s - contact.damping.since_s if falls else None,
        carries=link.carries,
        hints=link.hints.reports(now_s),
    )
