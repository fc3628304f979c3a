"""A frame being written: its blocks so far, what they carry, and how much still fits."""

from dataclasses import dataclass, field

from edge_agent.core.arq import Piece
from edge_agent.core.brief import ProfileUse, ProfileWriter
from edge_agent.core.budgets import WORDS
from edge_agent.core.peer import Reply
from edge_agent.core.run import RunWriter


@dataclass(slots=True)
class Draft:
    """A frame being written."""

    limit_bytes: int
    body: bytearray = field(default_factory=bytearray)
    pieces: list[Piece] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    is_wanted: bool = False
    """Whether it is worth sending now: something in it is due."""
    wants_ack: bool = False
    column: int = WORDS
    """What a frame without a bundle is charged to."""
    is_urgent: bool = False
    is_short: bool = False
    """Whether a piece waits that would fit into a frame of its own."""
    packs_runs: bool = False
    """Whether the peer reads RUN blocks."""
    profiles: ProfileWriter | None = None
    """Set where whole bundles may be BRIEF blocks."""
    uses: list[ProfileUse] = field(default_factory=list)
    brief_at: tuple[int, int] | None = None
    """Where the last BRIEF and its length stand."""
    run: RunWriter | None = None
    """The whole bundle that the body ends with, and those before it that are like it."""
    has_no_words: bool = False
    """Whether a slow link's frame is for pieces alone: no words wait that would ride with them."""
    awaits_flash: bool = False
    """Whether the store is about to give a piece of FLASH."""

    @property
    def room_bytes(self) -> int:
        return self.limit_bytes - len(self.body)
