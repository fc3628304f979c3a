"""One bundle as the command post's consumer gets it."""

from dataclasses import dataclass

from edge_agent.core.bundle import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredBundle:
    """``bundle`` is its id as text, ``precedence`` in small letters; times are UTC ms."""

    position: int
    bundle: str
    source: str
    flow: str
    precedence: str
    created_at_ms: int
    received_at_ms: int
    payload: bytes
    via: tuple[str, ...]
    origin: Origin = Origin.MACHINE
