"""A world tells a watch what happens, and its faults reach one direction, a busy medium and slow commits."""

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.effects import BundleAccepted, Event, Transmit
from edge_agent.core.report import NodeSettings
from link_sim.nodes.seat import Seat
from link_sim.nodes.watch import NoWatch
from link_sim.nodes.world import World
from link_sim.profiles import profile

HEADER = BundleHeader(destination=COMMAND, flow="reading")


class Diary(NoWatch):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.frames = self.accepted = self.steps = 0

    def started(self, seat: Seat) -> None:
        self.starts.append(seat.settings.node_id)

    def transmitted(self, seat: Seat, transmit: Transmit) -> None:
        self.frames += 1

    def noted(self, seat: Seat, event: Event) -> None:
        self.accepted += isinstance(event, BundleAccepted)

    def stepped(self, seat: Seat) -> None:
        self.steps += 1


def make_world(watch: Diary | None = None) -> World:
    world = World(1, watch=watch or NoWatch())
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("4g", "kit-1", COMMAND, profile("4g"))
    world.run_until(1)
    return world


def test_a_watch_sees_every_start_frame_and_event() -> None:
    diary = Diary()
    world = make_world(diary)
    world.submit("kit-1", HEADER, Precedence.ROUTINE, b"payload")
    world.run_until(2)
    world.crash("kit-1")
    world.restart("kit-1")
    assert diary.starts == [COMMAND, "kit-1", "kit-1"]
    assert diary.accepted == 1
    assert diary.frames == sum(sum(fates.values()) for fates in world.frames().values())
    assert diary.steps > diary.frames / 2


def test_one_direction_can_be_cut() -> None:
    world = make_world()
    before = world.frames()
    world.cut("4g", node="kit-1", direction="down")
    world.submit("kit-1", HEADER, Precedence.ROUTINE, b"payload")
    world.run_until(2)
    assert len(world.deliveries) == 1
    assert world.frames()["kit-1/4g/up"]["delivered"] > before["kit-1/4g/up"]["delivered"]
    assert world.frames()["kit-1/4g/down"]["delivered"] == before["kit-1/4g/down"]["delivered"]


def test_a_busy_medium_is_offered_nothing_not_even_after_a_restart() -> None:
    world = make_world()
    world.set_busy("4g", "kit-1", is_busy=True)
    world.crash("kit-1")
    world.restart("kit-1")
    world.submit("kit-1", HEADER, Precedence.ROUTINE, b"payload")
    world.run_until(3)
    assert world.deliveries == []
    world.set_busy("4g", "kit-1", is_busy=False)
    world.run_until(10)
    assert len(world.deliveries) == 1


def test_commits_become_slow_from_the_next_one_on() -> None:
    world = make_world()
    world.set_commit(COMMAND, 0.5)
    world.submit("kit-1", HEADER, Precedence.ROUTINE, b"payload")
    world.run_until(1.4)
    assert world.deliveries == []
    world.run_until(2)
    assert len(world.deliveries) == 1
