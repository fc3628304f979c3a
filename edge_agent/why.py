"""Why: what is known of one bundle, and of one that waits what each link says to it, its place and its time.

Facts only; ``why_words`` makes the sentence of them, in two languages.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from edge_agent.api_messages import Message
from edge_agent.client import BundleState
from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import Explanation, LinkVerdict, NodeReport, Obstacle, QueueReport
from edge_agent.disk.types import Fate
from edge_agent.telemetry.payloads import SOS_FLOW

PASSING = (Obstacle.NONE, Obstacle.BUSY)
"""A link that says this carries the bundle when it is its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWord:
    """What one link to one node says to the bundle. ``peer`` is empty while nobody was heard there.

    ``may``: it carries the bundle when it is its turn; else ``obstacle`` is a word of ``core.report.Obstacle``,
    ``reason`` is for people and ``wait_s`` after how long the obstacle is gone by itself (None: not known).
    """

    link: str
    peer: str
    is_command: bool
    may: bool
    obstacle: str
    state: str
    reason: str
    wait_s: float | None
    rate_bps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a bundle waits for. ``ahead`` counts what goes before it, ``ahead_sos`` the calls for help among them.

    ``ahead`` is at most that much unless ``is_exact``. ``expected_s``: until its last byte leaves at the present rates;
    None: no link may carry it and nobody knows when one will. ``arrived_bytes``: of a bundle under way.
    """

    links: tuple[LinkWord, ...]
    ahead: int
    ahead_sos: int
    is_exact: bool
    arrived_bytes: int
    stored_bytes: int
    expected_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What is known of one bundle. Times are UTC ms; ``waiting`` is None for what does not wait here."""

    bundle: str
    state: str
    flow: str
    precedence: Precedence
    to: str
    payload_bytes: int
    accepted_at_ms: int | None
    at_ms: int | None
    peer: str
    is_peer_command: bool
    via: tuple[str, ...]
    is_here: bool
    detail: str
    waiting: Waiting | None = None


def find_why(
    fate: Fate,
    state: BundleState,
    report: NodeReport,
    *,
    node_id: str,
    explanation: Explanation | None,
    place: int | None,
    reasons: Mapping[str, str],
) -> Why:
    """The facts of one bundle. ``explanation`` None: it does not wait here.

    ``place``: rows that go before it in its own queue, where the node does not have it in memory. ``reasons``: why the
    transports of links have lost their way.
    """
    return Why(
        bundle=state.bundle,
        state=state.state,
        flow=fate.header.flow,
        precedence=fate.bundle.precedence,
        to=fate.header.destination,
        payload_bytes=fate.payload_bytes,
        accepted_at_ms=state.accepted_at_ms,
        at_ms=state.at_ms,
        peer=fate.peer,
        is_peer_command=report.peer_roles.get(fate.peer) == COMMAND or fate.peer == COMMAND,
        via=fate.via,
        is_here=fate.header.destination == node_id or not (fate.via or fate.peer),
        detail=fate.detail,
        waiting=None if explanation is None else _waiting(fate, report, explanation, place, reasons),
    )


def _waiting(
    fate: Fate, report: NodeReport, explanation: Explanation, place: int | None, reasons: Mapping[str, str]
) -> Waiting:
    ahead, expected_s, is_exact = explanation.ahead_bundles, explanation.expected_s, explanation.is_exact
    if place is not None and not is_exact:
        own = _own_queue(fate, report)
        ahead = max(0, ahead - (own.bundles - 1)) + place if own is not None else place
        is_exact = True
        if own is not None and expected_s is not None:
            spared = own.payload_bytes * (1 - (place + 1) / max(1, own.bundles))
            expected_s *= 1 - min(1.0, max(0.0, spared / max(1, explanation.ahead_bytes)))
    return Waiting(
        links=tuple(_word(verdict, report, reasons) for verdict in explanation.links),
        ahead=ahead,
        ahead_sos=min(ahead, _sos_before(fate.bundle.precedence, report)),
        is_exact=is_exact,
        arrived_bytes=explanation.arrived_bytes,
        stored_bytes=explanation.stored_bytes,
        expected_s=expected_s,
    )


def _own_queue(fate: Fate, report: NodeReport) -> QueueReport | None:
    key = QueueKey(fate.header.destination, fate.bundle.precedence, fate.bundle.source, fate.header.flow)
    return next((queue for queue in report.queues if queue.queue == key), None)


def _sos_before(precedence: Precedence, report: NodeReport) -> int:
    """Calls for help that go before a bundle of lesser precedence."""
    return sum(
        queue.bundles
        for queue in report.queues
        if queue.queue.precedence < precedence and queue.queue.flow.split(".", 1)[0] == SOS_FLOW
    )


def _word(verdict: LinkVerdict, report: NodeReport, reasons: Mapping[str, str]) -> LinkWord:
    known = next((link for link in report.links if (link.link, link.peer) == (verdict.link, verdict.peer)), None)
    lost = reasons.get(verdict.link, "")
    state = LinkState.DOWN if lost else known.state if known is not None else LinkState.UNKNOWN
    return LinkWord(
        link=verdict.link,
        peer=verdict.peer,
        is_command=report.peer_roles.get(verdict.peer) == COMMAND or verdict.peer == COMMAND,
        may=verdict.obstacle in PASSING,
        obstacle=verdict.obstacle.value,
        state=state.value,
        reason=lost or (known.reason if known is not None else ""),
        wait_s=verdict.wait_s,
        rate_bps=verdict.rate_bps,
    )


def why_message(why: Why, sentence: str) -> Message:
    """The facts as programs get them (docs/api.md)."""
    return {**asdict(why), "precedence": why.precedence.name.lower(), "sentence": sentence}
