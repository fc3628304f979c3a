"""What ``edge-agent status --json`` prints (DESIGN section 10), from the node's report and the ports' own state."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge_agent.core.bundle import Precedence
from edge_agent.core.link_hint import HintReport
from edge_agent.core.report import LinkReport, NodeReport
from edge_agent.device_port import DevicePort
from edge_agent.disk.types import ClockState
from edge_agent.link_port import LinkPort


def link_rows(report: NodeReport, ports: Iterable[LinkPort]) -> list[dict[str, Any]]:  # Any: JSON
    """One row for each link and peer; a link without its transport says why in ``reason``."""
    rows: list[dict[str, Any]] = []
    for port in ports:
        heard = [link for link in report.links if link.link == port.link]
        rows += [_link_row(port, link) for link in heard] or [_silent_row(port)]
    return rows


def _link_row(port: LinkPort, link: LinkReport) -> dict[str, Any]:
    return {
        "name": link.link,
        "transport": port.config.transport,
        "peer": link.peer,
        "state": "down" if port.lost_reason else link.state.value,
        "reason": port.lost_reason or link.reason,
        "rtt_s": link.rtt_s,
        "loss_ratio": link.loss_ratio,
        "rate_bps": link.rate_bps,
        "rate_age_s": link.rate_age_s,
        "goodput_bps": link.goodput_bps,
        "others_ratio": link.others_ratio,
        "sent_bytes": link.sent_bytes,
        "received_bytes": link.received_bytes,
        "cost": link.cost,
        "switch_s": link.switch_s,
        "falls": link.falls,
        "flapping_s": link.flapping_s,
        "hints": hint_rows(link.hints),
    }


def hint_rows(hints: Iterable[HintReport]) -> list[dict[str, Any]]:  # Any: JSON
    """What devices say of a link, the last of each while it is fresh; null for what one does not say."""
    return [
        {
            "source": each.source,
            "quality": each.hint.quality,
            "is_up": each.hint.is_up,
            "rate_bps": each.hint.rate_bps,
            "signal_dbm": each.hint.signal_dbm,
            "snr_db": each.hint.snr_db,
            "note": each.hint.note,
            "warns": each.warns,
            "age_s": round(each.age_s, 1),
        }
        for each in hints
    ]


def _silent_row(port: LinkPort) -> dict[str, Any]:
    unknown = "rtt_s loss_ratio rate_bps rate_age_s goodput_bps others_ratio switch_s flapping_s"
    row = dict.fromkeys(unknown.split())
    state = "down" if port.lost_reason else "unknown"
    return {
        "name": port.link,
        "transport": port.config.transport,
        "peer": "",
        "state": state,
        "reason": port.lost_reason,
        **row,
        "sent_bytes": 0,
        "received_bytes": 0,
        "cost": 0.0,
        "falls": 0,
        "hints": [],
    }


def backlog_rows(report: NodeReport) -> dict[str, dict[str, Any]]:
    """What waits by precedence, lower-case as on the command line; ``oldest_age_s`` null when nothing waits."""
    rows: dict[str, dict[str, Any]] = {}
    for precedence in Precedence:
        queues = [queue for queue in report.queues if queue.queue.precedence is precedence and queue.bundles]
        rows[precedence.name.lower()] = {
            "bundles": sum(queue.bundles for queue in queues),
            "bytes": sum(queue.payload_bytes for queue in queues),
            "oldest_age_s": max((queue.oldest_age_s for queue in queues), default=None),
        }
    return rows


def device_rows(devices: Iterable[DevicePort]) -> list[dict[str, Any]]:
    """One row for each configured device."""
    return [
        {
            "name": device.name,
            "kind": device.config.kind,
            "state": "unavailable" if device.reason else "available",
            "reason": device.reason,
            "dropped": dict(device.drops.totals),
        }
        for device in devices
    ]


def clock_row(state: ClockState) -> dict[str, Any]:
    """Whether somebody has set the clock, how often in this boot, and by how much and how long ago the last time."""
    return {
        "is_set": state.is_set,
        "settings": state.settings,
        "step_s": state.step_s,
        "settled_ago_s": state.settled_ago_s,
    }


def drop_counts(
    report: NodeReport, ports: Sequence[LinkPort], unsent_frames: int, lost_log_lines: int
) -> Mapping[str, int]:
    """Every drop by name: the core's, each transport's as LINK.NAME, and lines that the log did not take."""
    counts = dict(report.counters)
    for port in ports:
        counts.update({f"{port.link}.{name}": number for name, number in port.drops.totals.items()})
    if unsent_frames:
        counts["frame_link_gone"] = unsent_frames
    if lost_log_lines:
        counts["log_line_unwritten"] = lost_log_lines
    return counts
