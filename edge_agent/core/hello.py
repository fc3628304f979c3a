"""How a node introduces itself: the first block of a HELLO frame and of its answer."""

from dataclasses import dataclass
from typing import Any

from edge_agent.core.blocks import Control
from edge_agent.core.bundle import NODE_ID_PATTERN, MalformedError
from edge_agent.core.codec import read_blocks

HELLO_KIND = 1
HELLO_FIELDS = 7
READS_RUNS, TAKES_SHORT_TAGS, READS_BRIEFS, READS_PULSES, READS_LIVE, WANTS_SHORT_TAGS = 1, 2, 4, 8, 16, 32
"""Bits of ``features``: RUN; an answer under the suite with short tags; BRIEF; PULSE; LIVE and REPAIR; short tags are
wanted, because the sender's side of the link is thin. A HELLO of seven has none."""
OWN_FEATURES = READS_RUNS | TAKES_SHORT_TAGS | READS_BRIEFS | READS_PULSES | READS_LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A node introduces itself: [1, id, number, role, incarnation, process number, receive id, features]."""

    node_id: str
    number: int
    role: str
    incarnation: int
    process_number: int
    receive_id: int
    features: int = OWN_FEATURES

    def fields(self) -> list[Any]:  # Any: msgpack's own types
        """The CONTROL fields."""
        incarnation = self.incarnation.to_bytes(8, "big")
        numbers = [self.process_number, self.receive_id, self.features]
        return [HELLO_KIND, self.node_id, self.number, self.role, incarnation, *numbers]

    @classmethod
    def parse(cls, fields: list[Any]) -> "Hello":  # Any: a peer's
        """The introduction in CONTROL fields. Raises MalformedError."""
        if len(fields) < HELLO_FIELDS:
            raise MalformedError("hello: fields missing")
        _, node_id, number, role, incarnation, process_number, receive_id = fields[:HELLO_FIELDS]
        if not (isinstance(node_id, str) and NODE_ID_PATTERN.fullmatch(node_id) and isinstance(role, str)):
            raise MalformedError("hello: node id or role")
        if not (isinstance(incarnation, bytes) and len(incarnation) == 8):
            raise MalformedError("hello: incarnation")
        if any(type(each) is not int or not 0 <= each < 1 << 63 for each in (number, process_number, receive_id)):
            raise MalformedError("hello: a number")
        if receive_id >= 1 << 32 or len(role) > 16:
            raise MalformedError("hello: receive id or role")
        features = fields[HELLO_FIELDS] if len(fields) > HELLO_FIELDS else 0
        return cls(
            node_id=node_id,
            number=number,
            role=role,
            incarnation=int.from_bytes(incarnation, "big"),
            process_number=process_number,
            receive_id=receive_id,
            features=features if type(features) is int and 0 <= features < 1 << 63 else 0,
        )


def read_hello(body: bytes) -> Hello | None:
    """The introduction at the start of a HELLO body; None when there is none."""
    try:
        first = next(iter(read_blocks(body)), None)
        if not isinstance(first, Control) or first.fields[0] != HELLO_KIND:
            return None
        return Hello.parse(first.fields)
    except MalformedError:
        return None
