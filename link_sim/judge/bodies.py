"""Bodies of frames that the judge has read when they left: whoever receives one gets the same blocks, read once.

Both read by the core's own reader, and equal bytes give equal blocks; a body that cannot be read is never kept.
"""

from collections.abc import Iterable

from edge_agent.core.blocks import Block
from edge_agent.core.codec import read_blocks

KEPT_MAX = 4096
"""Bodies on their way; of frames that never arrive the oldest go."""


class Bodies:
    """What frames on their way hold, by their open bodies."""

    def __init__(self) -> None:
        self._kept: dict[bytes, list[Block]] = {}

    def read(self, body: bytes) -> list[Block]:
        """The blocks of a body that leaves. Raises MalformedError."""
        blocks = list(read_blocks(body))
        kept = self._kept
        kept[body] = blocks
        if len(kept) > KEPT_MAX:
            del kept[next(iter(kept))]
        return blocks

    def take(self, body: bytes) -> Iterable[Block]:
        """The blocks of a body that arrives, for the reader of a node; they are given away."""
        return self._kept.pop(body, None) or read_blocks(body)
