"""Watch: who looks on while a world runs. It may read everything and changes nothing; what it finds wrong it raises."""

from typing import TYPE_CHECKING, Protocol

from edge_agent.core.effects import Event, Transmit
from link_sim.nodes.seat import Seat, Way

if TYPE_CHECKING:
    from link_sim.nodes.world import World


class Watch(Protocol):
    """Calls of a world, each before it goes on."""

    def join(self, world: "World") -> None:
        """The world exists, without nodes so far."""

    def laid(self, way: Way) -> None:
        """A direction of a link is there, and nothing was offered to it yet."""

    def started(self, seat: Seat) -> None:
        """A node started or came back from its disk."""

    def transmitted(self, seat: Seat, transmit: Transmit) -> None:
        """A node lets a frame go; no link has judged it yet."""

    def noted(self, seat: Seat, event: Event) -> None:
        """A node says something; the ledger does not know it yet."""

    def stepped(self, seat: Seat) -> None:
        """A node was touched, and asks for nothing more at this moment."""


class NoWatch:
    """Looks at nothing."""

    def join(self, world: "World") -> None:
        pass

    def laid(self, way: Way) -> None:
        pass

    def started(self, seat: Seat) -> None:
        pass

    def transmitted(self, seat: Seat, transmit: Transmit) -> None:
        pass

    def noted(self, seat: Seat, event: Event) -> None:
        pass

    def stepped(self, seat: Seat) -> None:
        pass


UNWATCHED = NoWatch()
