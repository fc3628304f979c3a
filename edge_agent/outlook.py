"""What the links would carry and what waits for them: for reports to command, grants and pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import LinkReport, NodeReport
from edge_agent.telemetry.payloads import (
    BACKLOG_KINDS,
    PICTURE_FLOW,
    POSITION_FLOW,
    READING_FLOW,
    RECEIPT_FLOW,
    REPORT_FLOW,
    SOS_FLOW,
)

UNMEASURED_BPS = 32_000.0  # a link that is up and has carried nothing yet: enough for a small still, no more
GRANT_RATIO = 0.7  # the rest is for what comes up while the granted bytes are on their way
OPEN_STATES = (LinkState.UP, LinkState.DEGRADED)
HOUSEKEEPING_FLOWS = (REPORT_FLOW, RECEIPT_FLOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRow:
    """What waits of one kind, in sending order. ``expected_s`` None: no link, no forecast."""

    kind: str
    bundles: int
    payload_bytes: int
    oldest_age_s: float
    expected_s: float | None


def open_links(report: NodeReport) -> list[LinkReport]:
    """Links on which something can leave now."""
    return [link for link in report.links if link.state in OPEN_STATES]


def link_rate_bps(link: LinkReport) -> float:
    """What one open link carries, as far as is known."""
    return link.rate_bps or max(link.goodput_bps or 0.0, UNMEASURED_BPS)  # goodput alone is what was asked of it


def carried_bps(report: NodeReport, precedence: Precedence) -> float:
    """Sum over open links that may carry ``precedence`` now; 0 when there is none."""
    return sum(link_rate_bps(link) for link in open_links(report) if precedence in link.carries)


def ahead_bytes(report: NodeReport, precedence: Precedence) -> int:
    """Payload bytes that leave before the last waiting bundle of ``precedence``."""
    return sum(queue.payload_bytes for queue in report.queues if queue.queue.precedence <= precedence)


def granted_bytes(report: NodeReport, precedence: Precedence, interval_s: float) -> int:
    """How many payload bytes would leave in ``interval_s`` after all that is ahead; 0 when no link is open."""
    room_bytes = carried_bps(report, precedence) / 8 * interval_s * GRANT_RATIO
    return max(0, int(room_bytes - ahead_bytes(report, precedence)))


def backlog(report: NodeReport) -> list[BacklogRow]:
    """What waits by kind, in sending order; kinds with nothing are left out."""
    rows: list[BacklogRow] = []
    before_s = 0.0
    for kind in BACKLOG_KINDS:
        queues = [queue for queue in report.queues if kind_of(queue.queue) == kind and queue.bundles]
        if not queues:
            continue
        waiting_bytes = sum(queue.payload_bytes for queue in queues)
        rate_bps = carried_bps(report, min(queue.queue.precedence for queue in queues))
        if rate_bps:
            before_s += waiting_bytes * 8 / rate_bps
        rows.append(
            BacklogRow(
                kind=kind,
                bundles=sum(queue.bundles for queue in queues),
                payload_bytes=waiting_bytes,
                oldest_age_s=max(queue.oldest_age_s for queue in queues),
                expected_s=before_s if rate_bps else None,
            )
        )
    return rows


def kind_of(queue: QueueKey) -> str | None:
    """The kind a page counts a queue under; None for the agent's own housekeeping."""
    flow = queue.flow.split(".", 1)[0]
    if flow in HOUSEKEEPING_FLOWS:
        return None
    if queue.precedence is Precedence.FLASH or flow.startswith(("sos", "alarm")):
        return "sos_alarm"
    if flow == PICTURE_FLOW:
        return "picture"
    if flow in (POSITION_FLOW, READING_FLOW):
        return "position_reading"
    if queue.precedence is Precedence.IMMEDIATE:
        return "immediate_report"
    return "history" if queue.precedence is Precedence.DEFERRED else "routine_report"


def spell_rate(rate_bps: float) -> str:
    """A rate as people read it."""
    if rate_bps >= 1e6:
        return f"{rate_bps / 1e6:.3g} Mbit/s"
    return f"{rate_bps / 1e3:.3g} kbit/s"


class WaitCode(StrEnum):
    """Why a bundle still waits, in a word that pages translate."""

    NO_LINK = "no_link"
    NOT_ALLOWED = "not_allowed"
    PEER_FULL = "peer_full"
    AHEAD = "ahead"
    ONLY = "only"
    SENDING = "sending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a waiting bundle waits for. ``links`` are open ones: those it may leave by, or, NOT_ALLOWED, the others.

    ``ahead`` counts bundles of higher precedence without SOS, which are ``ahead_sos``; the agent's housekeeping is in
    neither. ``expected_s`` None: no link, no forecast.
    """

    code: WaitCode
    links: tuple[LinkReport, ...] = ()
    ahead: Mapping[Precedence, int] = field(default_factory=dict)
    ahead_sos: int = 0
    expected_s: float | None = None


def find_wait(report: NodeReport, precedence: Precedence, payload_bytes: int) -> Wait:
    """What a bundle that waits here waits for, at the present rates."""
    links = open_links(report)
    if not links:
        return Wait(code=WaitCode.NO_LINK)
    allowed = [link for link in links if precedence in link.carries]
    if not allowed:
        return Wait(code=WaitCode.NOT_ALLOWED, links=tuple(links))
    ahead: dict[Precedence, int] = {}
    ahead_sos = 0
    for queue in report.queues:
        flow = queue.queue.flow.split(".", 1)[0]
        if queue.queue.precedence >= precedence or not queue.bundles or flow in HOUSEKEEPING_FLOWS:
            continue
        if flow == SOS_FLOW:
            ahead_sos += queue.bundles
        else:
            ahead[queue.queue.precedence] = ahead.get(queue.queue.precedence, 0) + queue.bundles
    is_only = len({link.link for link in allowed}) == 1
    return Wait(
        code=WaitCode.ONLY if is_only else WaitCode.AHEAD if ahead or ahead_sos else WaitCode.SENDING,
        links=tuple(allowed),
        ahead=ahead,
        ahead_sos=ahead_sos,
        expected_s=max(payload_bytes, ahead_bytes(report, precedence)) * 8 / carried_bps(report, precedence),
    )
