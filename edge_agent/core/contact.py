"""One contact: this node and one peer over one link, with its session, its estimates and what is believed of it."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from edge_agent.core.arq import SentFrame
from edge_agent.core.budgets import NEVER_S, RECEIVED, WORDS, Meter
from edge_agent.core.bundle import Precedence
from edge_agent.core.damping import Damping
from edge_agent.core.effects import LinkChanged, LinkState
from edge_agent.core.limits import SLOW_LINK_BPS, LinkLimits, LinkPolicy, Standby
from edge_agent.core.link_hint import LinkHints
from edge_agent.core.outputs import Outputs
from edge_agent.core.pacing import Pacer, RateController, RttEstimate
from edge_agent.core.path_size import PathSize
from edge_agent.core.peer import Peer
from edge_agent.core.pulse import Pulse
from edge_agent.core.scheduler import ShareAccount
from edge_agent.core.session import Session
from edge_agent.core.tally import LinkTally

FRAGMENT_TIME_S = 0.25
FRAGMENT_TIME_ALARM_S = 0.1
MIN_FRAME_BYTES = 128
"""64 bytes of payload with the longest header and tag in front and behind."""
ACK_DELAY_S = 0.012
ACK_DELAY_LAZY_S = 0.2
"""An acknowledgement of frames that carried only replies waits for company."""
LAZY_ACK_BYTES = 14
"""What it adds to a frame that leaves anyway."""
ACK_DELAY_SLOW_S = 0.1
ACK_FRAMES = 8
UNANSWERED_FRAMES = 8
"""In flight before the first answer of a link that came back: if the peer has forgotten us, they go again."""
ETA_NOISE_S = 0.002
"""Links whose arrival times differ by less are equally fast: estimates know no better, and a change costs frames."""
FIRST_PTO_S = 0.7
"""Without an RTT: longer than a geostationary round trip. The first frame of a link may be the lost one."""
CONVICTION_PTOS = 3
CONVICTION_SLACK_S = 0.3
LATENESS_SLACK_S = 0.01
WARNED_S = 0.25
"""A link warned of from outside counts as so much later than it is: the most that a wrong hint can delay anything."""
PROBE_BYTES = 80
PROBE_STEP, PROBE_STEP_S, PROBE_STEP_SHARE = 0.5, 0.15, 0.1
"""Probes of a link in doubt are so many patiences apart, or so long, where they take at most that share of it, for loss
comes in bursts and outages end; else twice as far each time."""


@dataclass(slots=True, eq=False)
class Link:
    """One configured link of this node. ``limits`` None: its transport is not there."""

    name: str
    limits: LinkLimits | None
    policy: LinkPolicy
    is_listener: bool
    meter: Meter
    reason: str = ""
    is_busy: bool = False
    """Its medium takes no frame for now: what waits stays here, where FLASH can still go first."""
    contacts: list["Contact"] = field(default_factory=list)
    carries: frozenset[Precedence] = frozenset()
    """What may leave by it now."""
    hints: LinkHints = field(default_factory=LinkHints)
    warned_until_s: float = -math.inf
    """``hints.poor_until_s``, at hand: it is asked for each estimate of a time of arrival."""

    def __post_init__(self) -> None:
        self.review()

    def set_policy(self, policy: LinkPolicy) -> None:
        """From now on it carries what ``policy`` says."""
        self.policy = policy
        self.review()

    def review(self) -> None:
        """Find out anew what may leave by it: policy, budgets or the clock have changed."""
        self.carries = self.meter.review(self.policy)

    def spend(self, column: int, wire_bytes: int, now_s: float) -> None:
        """Book a frame: ``column`` is the precedence that leads it, WORDS or RECEIVED."""
        meter = self.meter
        meter.columns[column] += wire_bytes
        meter.day_bytes += wire_bytes
        if meter.day_bytes >= meter.looks_at_bytes:
            if self.policy.min_interval_s and column < WORDS:
                meter.paused_until_s = now_s + self.policy.min_interval_s
            self.review()

    def resume_after_pause(self, now_s: float) -> bool:
        """End the smallest interval between two frames where it is over; False when none is."""
        if self.meter.paused_until_s > now_s:
            return False
        self.meter.paused_until_s = NEVER_S
        self.review()
        return True


@dataclass(slots=True, eq=False)
class Contact:
    """One peer over one link. ``peer`` is None on a link with one remote until that has said who it is."""

    link: Link
    limits: LinkLimits
    address: Hashable | None
    since_s: float
    peer: Peer | None = None
    session: Session | None = None
    candidate: Session | None = None
    """Answers a HELLO; becomes ``session`` when the peer proves that it is alive."""
    candidate_address: Hashable | None = None
    held_early: list[bytes] = field(default_factory=list)
    state: LinkState = LinkState.UNKNOWN
    is_usable: bool = False
    """Whether bundles may go this way at all: UP or DEGRADED."""
    reason: str = ""
    controller: RateController = field(init=False)
    size: PathSize = field(init=False)
    mtu_bytes: int = field(init=False)
    """The longest frame that may leave now: ``size.limit_bytes``, or all that the transport takes for one trial."""
    pacer: Pacer = field(default_factory=Pacer)
    rtt: RttEstimate = field(default_factory=RttEstimate)
    pulse: Pulse = field(default_factory=Pulse)
    damping: Damping = field(default_factory=Damping)
    tally: LinkTally = field(default_factory=LinkTally)
    account: ShareAccount = field(default_factory=ShareAccount)
    is_suspect: bool = False
    stranded: list[SentFrame] = field(default_factory=list)
    """In flight when the last link to the peer died; at most what was in flight then."""
    suspicions: int = 0
    """How often it became so."""
    suspect_s: float = 0.0
    """When it last became so."""
    faltered_s: float = -1e9
    """When a doubt of more than FALTER_LEAST_S, or an outage, last ended."""
    was_drained: bool = True
    """The last frame took all there was: a pause after it is the sender's and says nothing of the link."""
    pto_backoff: int = 0
    progress_s: float = 0.0
    """When an acknowledgement last told something new, or the first frame in flight left."""
    owes_elsewhere: bool = False
    """Its way back is in doubt: what it has acknowledged itself another link tells once more."""
    answered_s: float = -1e9
    """When an acknowledgement last told something new, by whatever way it came."""
    last_heard_s: float | None = None
    last_sent_s: float = 0.0
    probe_at_s: float | None = None
    """When the next PROBE or HELLO shall leave whatever else happens."""
    probe_wait_s: float = 0.5
    convicted_number: int = -1
    """Only frames sent after the conviction prove that the link is back."""
    unanswered_probes: int = 0
    echo_tokens: list[bytes] = field(default_factory=list)
    probe_token: bytes = b""
    challenged_s: float = -1e9
    new_address: Hashable | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    acked_payload_bytes: int = 0
    loss_ratio: float = 0.0
    goodput_bps: float = 0.0
    goodput_since_s: float = 0.0
    goodput_bytes: int = 0
    idle_version: int = -1
    deadline_s: float | None = None
    """Cached by Node until something changes."""
    hint_sent_s: float = -1e9
    _pto_s: float = 0.0
    _pto_smoothed_s: float = -1.0
    _pto_rate_bps: float = -1.0
    """``pto_s`` as last computed, and from what: it is asked for far more often than it changes."""

    def __post_init__(self) -> None:
        self.set_size()
        self.controller = RateController(
            self.limits.rate_bps, self.limits.rate_is_ceiling, self.link.policy.reserve_bps
        )
        self.goodput_since_s = self.since_s

    def set_size(self) -> None:
        """Believe what the transport says of the longest frame, until frames of that length are swallowed."""
        self.size = PathSize(self.limits)
        self.mtu_bytes = self.size.limit_bytes

    def meet(self, peer: Peer) -> None:
        """It is ``peer`` who is behind this contact."""
        if self.peer is peer:
            return
        if self.peer is not None:
            self.peer.contacts.remove(self)
        self.peer = peer
        peer.contacts.append(self)

    def siblings(self) -> "list[Contact]":
        """The same peer's other contacts, burst links left out: nothing is divided with those."""
        peer = self.peer
        if peer is None or len(peer.contacts) < 2:
            return []
        return [each for each in peer.contacts if each is not self and not each.limits.is_burst]

    @property
    def frame_overhead_bytes(self) -> int:
        """Bytes of a DATA frame that are not blocks, at most."""
        session = self.session
        if session is None:
            return 64
        if not session.is_keyed:
            return 1 + 2 + 16 + 4 + session.seal.overhead_bytes
        return 1 + 4 + 4 + session.seal.overhead_bytes

    @property
    def spare_bytes(self) -> int:
        """What the next frame's header leaves of ``frame_overhead_bytes``."""
        session = self.session
        if session is None or not session.is_keyed:
            return 0
        return 4 + 4 - (1 if self.limits.is_narrow else 4) - session.arq.number_bytes()

    def frame_limit_bytes(self, *, is_alarm_open: bool) -> int:
        """The longest frame now: at most 250 ms of the link, 100 ms on a slow one while an alarm is open."""
        rate_bps, limits = self.controller.rate_bps, self.limits
        slow = is_alarm_open and rate_bps < SLOW_LINK_BPS
        span_s = FRAGMENT_TIME_ALARM_S if slow else FRAGMENT_TIME_S
        by_time = rate_bps / 8 * span_s - limits.overhead_bytes
        if by_time >= self.mtu_bytes:  # as below
            return self.mtu_bytes
        return min(self.mtu_bytes, max(MIN_FRAME_BYTES, int(by_time)))

    def frame_wire_bytes(self) -> int:
        """Wire bytes of the longest frame at the present rate."""
        limits, by_time = self.limits, self.controller.rate_bps / 8 * FRAGMENT_TIME_S
        if by_time >= self.mtu_bytes:  # most links: no calls of min and max, this is asked several times a frame
            return self.mtu_bytes + limits.overhead_bytes
        return min(self.mtu_bytes, max(MIN_FRAME_BYTES, int(by_time))) + limits.overhead_bytes

    def frame_s(self) -> float:
        """Time one full frame takes on the wire."""
        return self.frame_wire_bytes() * 8 / self.controller.rate_bps

    def pto_s(self) -> float:
        """How long an acknowledgement may take before its absence means something (RFC 9002, section 6.2.1)."""
        smoothed_s, rate_bps = self.rtt.smoothed_s, self.controller.rate_bps
        if smoothed_s is None:
            return max(FIRST_PTO_S, 4 * self.frame_s())
        if smoothed_s != self._pto_smoothed_s or rate_bps != self._pto_rate_bps:
            expected_s = smoothed_s + max(4 * self.rtt.deviation_s, 0.01)
            self._pto_s = expected_s + ACK_DELAY_S + LATENESS_SLACK_S + 2 * self.frame_s()
            self._pto_smoothed_s, self._pto_rate_bps = smoothed_s, rate_bps
        return self._pto_s

    def patience_s(self) -> float:
        """``pto_s``, longer when what is in flight is acknowledged lazily."""
        session = self.session
        if session is not None and session.arq.pieces_in_flight:
            return self.pto_s()
        return self.pto_s() + self.lazy_ack_delay_s()

    def doubts_after_s(self) -> float:
        """How long after the last progress a link is doubted, asked again, or convicted, whichever comes first."""
        patience_s = self.patience_s()
        asks_s, convicts_s = self._asks_after_s(patience_s), CONVICTION_PTOS * patience_s + CONVICTION_SLACK_S
        return asks_s if asks_s < convicts_s else convicts_s

    def asks_after_s(self) -> float:
        """How long after the last progress a link in doubt is asked (again), by the times it was asked."""
        return self._asks_after_s(self.patience_s())

    def _asks_after_s(self, patience_s: float) -> float:
        times = self.pto_backoff
        if not times:
            return patience_s
        share_s = PROBE_BYTES * 8 / self.controller.rate_bps / PROBE_STEP_SHARE
        if share_s <= PROBE_STEP * patience_s:
            return patience_s + times * max(share_s, min(PROBE_STEP * patience_s, PROBE_STEP_S))
        return patience_s * (1 << times)

    def conviction_s(self) -> float:
        """Silence after which the link counts as dead."""
        return CONVICTION_PTOS * self.patience_s() + CONVICTION_SLACK_S

    def reorder_s(self) -> float:
        """How long a frame may be overtaken before it counts as lost (RFC 9002, section 6.1.2)."""
        smoothed_s = self.rtt.smoothed_s if self.rtt.smoothed_s is not None else FIRST_PTO_S
        span_s = 1.125 * smoothed_s + LATENESS_SLACK_S
        return span_s if self.session is None else span_s + self.session.arq.reordering.extra_s

    def ack_delay_s(self) -> float:
        """How long an acknowledgement waits for company: less than it takes on the wire on a slow link."""
        if self.controller.rate_bps >= SLOW_LINK_BPS:
            return ACK_DELAY_S
        return max(ACK_DELAY_S, min(ACK_DELAY_SLOW_S, self.frame_s() / 2))

    def lazy_ack_delay_s(self) -> float:
        """How long an acknowledgement of words alone waits: so long that it costs 3 % of a slow link."""
        return max(ACK_DELAY_LAZY_S, LAZY_ACK_BYTES * 8 / 0.03 / self.controller.rate_bps)

    def window_room(self, *, is_flash: bool) -> bool:
        """Whether one more frame may be in flight; FLASH may exceed the window by four."""
        session = self.session
        assert session is not None
        if session.arq.in_flight_bytes < 3 * MIN_FRAME_BYTES:  # no window is smaller
            return True
        frame_bytes = self.frame_wire_bytes()
        limit = self.controller.window_bytes(self.rtt, frame_bytes)
        if is_flash:
            limit += 4 * frame_bytes
        return session.arq.in_flight_bytes < limit

    def eta_s(self, now_s: float, size_bytes: int) -> float:
        """When ``size_bytes`` more would be at the peer if this link took them now."""
        rate_bps = self.controller.rate_bps
        one_way_s = self.rtt.min_s / 2 if self.rtt.smoothed_s is not None else 0.05
        start_s = max(now_s, self.pacer.next_s)
        session = self.session
        if session is not None and self.rtt.smoothed_s is not None and not self.window_room(is_flash=False):
            start_s += session.arq.in_flight_bytes * 8 / rate_bps / 2
        if now_s < self.link.warned_until_s:
            start_s += WARNED_S
        return start_s + self.controller.queue_s + size_bytes * 8 / rate_bps + one_way_s

    def is_shaky(self, now_s: float) -> bool:
        """Whether a device warns of it, or it flaps: what is urgent does not trust it alone."""
        return now_s < self.link.warned_until_s or now_s < self.damping.until_s

    def may_carry(self, precedence: Precedence) -> bool:
        """Whether the link's policy and budgets let this class on it now."""
        return precedence in self.link.carries

    def stands_by(self, precedence: Precedence) -> bool:
        """Whether this link is held in reserve for now, because better ones carry ``precedence``: two of them FLASH.

        A warm link takes over when they are in doubt, a cold one when they are gone.
        """
        standby = self.link.policy.standby
        better = 0
        for each in self.siblings():
            policy = each.link.policy
            if policy.standby >= standby or not each.is_usable or policy.largest_bundle_bytes is not None:
                continue
            if precedence in each.link.carries and not (each.is_suspect and standby is Standby.WARM):
                better += 1
        return better >= (2 if precedence is Precedence.FLASH else 1)

    def change_state(self, state: LinkState, reason: str, now_s: float, outputs: Outputs) -> None:
        """Move to ``state``; an event only when it is another one."""
        if state is self.state:
            return
        previous, self.state, self.reason, self.since_s = self.state, state, reason, now_s
        was_usable, self.is_usable = self.is_usable, state is LinkState.UP or state is LinkState.DEGRADED
        if was_usable and not self.is_usable:
            self.damping.note_fall(now_s)
        if not (was_usable and self.is_usable):
            self.account.forget()  # while it carried nothing, no class was passed over here
        peer = self.peer.node_id if self.peer is not None else ""
        falls = self.damping.falls_at(now_s)
        outputs.events.append(LinkChanged(self.link.name, peer, state, previous, reason, falls))

    def resume(self, now_s: float, outputs: Outputs) -> None:
        """The transport says that the link is back: a few frames may go under the old keys until the peer answers."""
        self.was_drained = True
        self.idle_version = -1
        self.resume_rate(now_s)
        self.progress_s = now_s
        self.unanswered_probes = 0
        self.change_state(LinkState.UNKNOWN, "asked", now_s, outputs)

    def resume_rate(self, now_s: float) -> None:
        """After an outage the rate is what the link carried before, or what a device says it carries now."""
        self.controller.resume(now_s, self.pto_s(), self.link.hints.rate_bps(now_s))

    def has_word_of_peer(self) -> bool:
        """Whether bulk may go this way: the peer has answered, or few frames have left since the link came back."""
        if self.is_usable:
            return True
        session = self.session
        if session is None or self.state is not LinkState.UNKNOWN:
            return False
        return session.is_keyed and len(session.arq.in_flight) < UNANSWERED_FRAMES

    def note_received(self, frame_bytes: int, now_s: float) -> None:
        """An authentic frame of so many bytes came."""
        wire_bytes = frame_bytes + self.limits.overhead_bytes
        self.received_bytes += wire_bytes
        meter = self.link.meter
        if meter.day_bytes + wire_bytes < meter.looks_at_bytes:  # as with most: no call
            meter.columns[RECEIVED] += wire_bytes
            meter.day_bytes += wire_bytes
        else:
            self.link.spend(RECEIVED, wire_bytes, now_s)

    def has_usable_sibling(self) -> bool:
        """Whether anything else leads to the peer, burst links too."""
        return self.peer is not None and any(each.is_usable for each in self.peer.contacts if each is not self)

    def owe_elsewhere(self) -> None:
        """An acknowledgement left on this link, which may be dead one way: the others bring it, too."""
        for each in self.siblings():
            if each.is_usable:
                self.owes_elsewhere, each.idle_version = True, -1

    def has_flow(self, now_s: float) -> bool:
        """Whether data goes this way, or came it, within about a second."""
        session, pulse = self.session, self.pulse
        is_sending = session is not None and self.is_usable and session.arq.pieces_in_flight > 0
        return is_sending or pulse.is_asked(now_s) or now_s < pulse.owed_until_s

    def note_goodput(self, payload_bytes: int, now_s: float) -> None:
        """Payload acknowledged, for the goodput shown: over windows of two seconds."""
        self.acked_payload_bytes += payload_bytes
        self.goodput_bytes += payload_bytes
        span_s = now_s - self.goodput_since_s
        if span_s >= 2.0:
            self.goodput_bps = self.goodput_bytes * 8 / span_s
            self.goodput_since_s, self.goodput_bytes = now_s, 0
