"""Reports and grants follow from what links carry, what they may carry, and what is ahead."""

from dataclasses import replace

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import LinkReport, NodeReport, QueueReport
from edge_agent.outlook import backlog, granted_bytes, kind_of

URGENT = frozenset({Precedence.FLASH, Precedence.IMMEDIATE})


def link(name: str, state: LinkState, rate_bps: float | None = None, reason: str = "") -> LinkReport:
    return LinkReport(
        link=name, peer="command", state=state, reason=reason, since_s=0, last_heard_s=None, rate_bps=rate_bps
    )


def waiting(precedence: Precedence, flow: str, bundles: int, payload_bytes: int) -> QueueReport:
    queue = QueueKey("command", precedence, "kit-1", flow)
    return QueueReport(queue=queue, bundles=bundles, payload_bytes=payload_bytes, oldest_age_s=1.0)


def report(links: list[LinkReport], *queues: QueueReport) -> NodeReport:
    return NodeReport(links=tuple(links), queues=queues, last_heard_s={}, peer_roles={}, counters={})


def test_backlog_is_in_sending_order_with_cumulative_times_and_no_forecast_without_a_link() -> None:
    queues = [
        waiting(Precedence.ROUTINE, "picture", 2, 8_000),
        waiting(Precedence.FLASH, "sos", 1, 1_000),
        waiting(Precedence.PRIORITY, "report", 1, 500),
        waiting(Precedence.PRIORITY, "position", 3, 1_000),
    ]
    rows = backlog(report([link("radio", LinkState.UP, 8_000.0)], *queues))
    assert [(row.kind, row.bundles, row.expected_s) for row in rows] == [
        ("sos_alarm", 1, 1.0),
        ("position_reading", 3, 2.0),
        ("picture", 2, 10.0),
    ]
    assert all(row.expected_s is None for row in backlog(report([link("radio", LinkState.DOWN)], *queues)))


def test_every_flow_has_the_kind_that_pages_name() -> None:
    kinds = {
        (Precedence.FLASH, "gas"): "sos_alarm",
        (Precedence.IMMEDIATE, "alarm.gas"): "sos_alarm",
        (Precedence.IMMEDIATE, "text"): "immediate_report",
        (Precedence.PRIORITY, "text"): "routine_report",
        (Precedence.ROUTINE, "reading.gas"): "position_reading",
        (Precedence.DEFERRED, "recording"): "history",
        (Precedence.IMMEDIATE, "receipt"): None,
    }
    for (precedence, flow), kind in kinds.items():
        assert kind_of(QueueKey("command", precedence, "kit-1", flow)) == kind


def test_a_grant_is_what_links_carry_after_what_is_ahead() -> None:
    links = [link("4g", LinkState.UP, 80_000.0), replace(link("radio", LinkState.UP, 8_000.0), carries=URGENT)]
    assert granted_bytes(report(links), Precedence.ROUTINE, 10.0) == 70_000
    ahead = waiting(Precedence.PRIORITY, "position", 1, 20_000)
    behind = waiting(Precedence.DEFERRED, "history", 1, 10_000_000)
    assert granted_bytes(report(links, ahead, behind), Precedence.ROUTINE, 10.0) == 50_000
    assert granted_bytes(report([link("4g", LinkState.DOWN)]), Precedence.ROUTINE, 10.0) == 0
