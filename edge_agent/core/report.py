"""What a node can say of itself at one moment, for status, pages and reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.limits import ALL_PRECEDENCES
from edge_agent.core.link_hint import HintReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """One link to one peer. None: not known (yet); rates are payload and framing bits a second towards the peer."""

    link: str
    peer: str
    state: LinkState
    reason: str
    since_s: float
    last_heard_s: float | None
    rtt_s: float | None = None
    loss_ratio: float | None = None
    rate_bps: float | None = None
    rate_age_s: float | None = None
    """How long ago it was last measured; None: it never was."""
    goodput_bps: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    cost: float = 0.0
    switch_s: float | None = None
    """How long another link needed the last time to take over from this one, and when that was (``switched_s``)."""
    switched_s: float = 0.0
    carries: frozenset[Precedence] = ALL_PRECEDENCES
    """What policy and budgets let leave by it now."""
    others_ratio: float | None = None
    """How much of it others use, as far as their queue tells; None: nobody was seen."""
    falls: int = 0
    """How often it fell since it began to flap; 0: it does not."""
    flapping_s: float | None = None
    """For how long it has been flapping."""
    hints: tuple[HintReport, ...] = ()
    """What devices say of it from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """What waits in one queue (bundles in custody here and not yet in the custody of another node)."""

    queue: QueueKey
    bundles: int
    payload_bytes: int
    oldest_age_s: float


class Obstacle(StrEnum):
    """Why a link does not take a bundle now, the lasting reasons before the passing ones."""

    NONE = "may"
    NOT_ALLOWED = "not_allowed"
    """The link's policy leaves out this precedence."""
    UNDESCRIBED = "undescribed"
    """Nobody said what the link costs, so it carries FLASH to PRIORITY only."""
    BUDGET = "budget"
    """The bytes of the day are used up; ``wait_s`` is what is left of the day."""
    MONTH_BUDGET = "month_budget"
    """Those of the month are."""
    QUIET_HOURS = "quiet_hours"
    PROFILE = "profile"
    """The profile a person chose keeps this precedence off such links."""
    TOO_LARGE = "too_large"
    """The link takes no bundle of this size."""
    STANDBY = "standby"
    """The link is held in reserve while better ones work."""
    INTERVAL = "interval"
    """Something left by it a moment ago; ``wait_s`` is what is left of its smallest interval."""
    DOWN = "down"
    OTHER_NODE = "other_node"
    """It is begun towards another node than the one behind this link."""
    REFUSED = "refused"
    """The node there does not want it before ``wait_s`` have passed."""
    PEER_FULL = "peer_full"
    """The node there has as much under way as it takes at a time."""
    IN_DOUBT = "in_doubt"
    """No acknowledgement for a while; another link is used as long as there is one."""
    BUSY = "busy"
    """The medium takes no frame just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkVerdict:
    """What one link to one node means for one bundle now. ``peer`` is empty while nobody was heard there.

    ``wait_s``: after how long the obstacle is gone by itself; None when that is not known. ``rate_bps``: wire bits a
    second as measured or configured; None while the link is down.
    """

    link: str
    peer: str
    obstacle: Obstacle
    wait_s: float | None = None
    rate_bps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one bundle still waits, and when it should have left.

    ``arrived_bytes`` a link acknowledged, ``stored_bytes`` the next node has synced. ``ahead``: what goes before it, in
    bundles and payload bytes; counted where ``is_exact``, else at most that much. ``expected_s``: seconds until
    its last byte leaves at the present rates; None while no link may carry it.
    """

    bundle: BundleId
    payload_bytes: int
    arrived_bytes: int
    stored_bytes: int
    links: tuple[LinkVerdict, ...]
    ahead_bundles: int
    ahead_bytes: int
    is_exact: bool
    expected_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """``last_heard_s``: per peer, the monotonic time of the last authentic frame. ``counters``: drops by name."""

    links: tuple[LinkReport, ...]
    queues: tuple[QueueReport, ...]
    last_heard_s: Mapping[str, float]
    peer_roles: Mapping[str, str]
    counters: Mapping[str, int]


def no_flow(flow: str) -> bool:
    """False, of any flow."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Who a node is and how much it holds in memory."""

    node_id: str
    number: int = 0
    role: str = "kit"
    window_entries: int = 4096  # per queue; beyond it bundles are rows in the store only
    payload_cache_bytes: int = 4 << 20  # payloads kept after Persist, so that small bundles need no Fetch
    receive_window_bytes: int = 64 << 20  # opened and not yet stored, per peer, over all links together
    flash_allowance: tuple[int, int] = (6, 4096)  # machine FLASH bundles and bytes a minute and flow
    fast_liveness: bool = True
    store_quota_bytes: int = 1 << 40
    free_store_bytes: int = 1 << 40  # what the store can still take; the shell updates it by ``Node.set_free_bytes``
    class_share_ratio: float = 0.05
    reserve_ratio: float = 0.3  # of a link that IMMEDIATE would fill, for protected flows (DESIGN section 4)
    is_protected: Callable[[str], bool] = no_flow  # by the name of a flow; asked once a queue
    has_other_posts: bool = False  # a command node that is given what other command nodes took
    rekey_frames: int = 1 << 31  # half of what one AES-GCM key may seal (NIST SP 800-38D, section 8.3)

    def is_destination(self, destination: str) -> bool:
        """Whether a bundle for ``destination`` has arrived when it is here."""
        return destination == self.node_id or (destination == COMMAND and self.role == COMMAND)
