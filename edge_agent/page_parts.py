"""The parts of an agent that its page is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.audit import Audit
from edge_agent.config import Config
from edge_agent.deliveries import Deliveries
from edge_agent.device_port import DevicePort
from edge_agent.disk.store import Disk
from edge_agent.link_port import LinkPort
from edge_agent.link_terms import LinkTerms
from edge_agent.page_news import PageNews
from edge_agent.post_acts import PostActs
from edge_agent.runner import Runner
from edge_agent.sender import BundleSender


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParts:
    """``now_s`` is the node's clock, ``now_ms`` UTC; ``incarnation`` names the store that counts delivery
    positions; ``level`` of command this node is, or empty.
    """

    config: Config
    disk: Disk
    runner: Runner
    sender: BundleSender
    deliveries: Deliveries
    links: Sequence[LinkPort]
    terms: LinkTerms
    devices: Sequence[DevicePort]
    news: PageNews
    acts: PostActs
    incarnation: str
    level: str
    audit: Audit
    now_s: Callable[[], float]
    now_ms: Callable[[], int]

    @property
    def is_shown(self) -> bool:
        """Whether this node has a page; without one only what needs no eyes is taken in."""
        return self.config.web is not None
