"""Many kits with a backlog each against one post whose disk is slow, in virtual time, and people who call for help."""

from functools import partial

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.seat import payload_bytes_of
from link_sim.nodes.world import World

LINK = LinkProfile(rate_bps=2_000_000, delay_s=0.03)
FRAME_S = 1428 * 8 / 2_000_000
COMMIT_S = 0.005
FLASH_LATE_S = LINK.delay_s + 2 * FRAME_S + 0.025 + 2 * COMMIT_S
"""One way, its frame, and at the post the 25 ms of the disk that are under way, and its own commit."""
FLASH_LATE_BUSY_S = 0.25
"""From a kit whose link is full of its own backlog."""
CALLERS = 4


class Rush:
    """Every kit has a backlog when the links come up; now and then a person calls for help."""

    def __init__(self, kits: int, sync_bps: float, *, bundles: int, picture_bytes: int) -> None:
        self.world = World(1)
        post = NodeSettings(node_id="command-1", role=COMMAND)
        self.world.add_node(post, commit_s=COMMIT_S, sync_bps=sync_bps)
        self.seat = self.world._seat("command-1")
        self.kits = [f"kit-{number}" for number in range(kits)]
        self.called: dict[BundleId, float] = {}
        self.called_busy: dict[BundleId, float] = {}
        self.most_bytes = 0
        header = BundleHeader(destination=COMMAND, flow="reading")
        for number, kit in enumerate(self.kits):
            self.world.add_node(NodeSettings(node_id=kit), commit_s=0.002)
            if number < CALLERS:
                continue  # these have nothing to send but calls
            for _ in range(bundles):
                self.world.submit(kit, header, Precedence.ROUTINE, bytes(4_000))
            if number % 10 == 0:
                picture = BundleHeader(destination=COMMAND, flow="picture")
                self.world.submit(kit, picture, Precedence.PRIORITY, bytes(picture_bytes))
        self.world.run_until(1.0)
        for kit in self.kits:
            self.world.connect("a", kit, "command-1", LINK)

    def look(self) -> None:
        """Payload in the memory of the post: joined there, or waiting for its disk."""
        assert self.seat.node is not None
        partials = self.seat.node.arrivals._partials.values()  # type: ignore[attr-defined]  # it is a Node
        waiting = sum(map(payload_bytes_of, (*self.seat.queued, *self.seat.committing)))
        self.most_bytes = max(self.most_bytes, waiting + sum(partial.memory_bytes for partial in partials))

    def call(self, kit: str, called: dict[BundleId, float]) -> None:
        header = BundleHeader(destination=COMMAND, flow="sos", origin=Origin.PERSON)
        called[self.world.submit(kit, header, Precedence.FLASH, bytes(200))] = self.world.now_s

    def run(self, until_s: float) -> None:
        self.world.every(0.1, self.look, start_s=1.0, until_s=until_s)
        for number in range(20):
            for kit, called in (
                (self.kits[number % CALLERS], self.called),
                (self.kits[CALLERS + number * 7 % (len(self.kits) - CALLERS)], self.called_busy),
            ):
                call = partial(self.call, kit, called)
                self.world.at(1.2 + number * 0.3, call)
        self.world.run_until(until_s)

    def latest_s(self, called: dict[BundleId, float]) -> float:
        """How long the slowest of these calls took."""
        arrived = {each.bundle: each.t_s for each in self.world.deliveries}
        return max(arrived[bundle] - at_s for bundle, at_s in called.items())
