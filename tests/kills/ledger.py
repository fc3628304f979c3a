"""The ledger outside both processes: ids answered to a sender against ids that a durable consumer heard."""

from dataclasses import dataclass, field
from hashlib import blake2b


def digest_of(payload: bytes) -> bytes:
    """Enough to tell payloads apart."""
    return blake2b(payload, digest_size=16).digest()


@dataclass(slots=True)
class KillLedger:
    """What was promised and what came, over all lives of both processes."""

    attempted: set[bytes] = field(default_factory=set)
    answered: dict[str, bytes] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def attempt(self, payload: bytes) -> None:
        """A sender hands this to the kit; it may be accepted although nobody hears of it."""
        self.attempted.add(digest_of(payload))

    def answer(self, bundle: str, payload: bytes) -> None:
        """The sender was told that this is accepted."""
        if bundle in self.answered:
            self.breaches.append(f"{bundle}: one id for two bundles")
        self.answered[bundle] = digest_of(payload)

    def hear(self, bundle: str, position: int, payload: bytes, *, redelivered: bool) -> None:
        """The consumer has it; ``redelivered`` says that it may have had it before."""
        known = self.positions.get(bundle)
        if known is not None and (known != position or not redelivered):
            self.breaches.append(f"{bundle}: delivered twice, at {known} and {position}")
        self.positions[bundle] = position
        digest = digest_of(payload)
        if digest not in self.attempted or self.answered.get(bundle, digest) != digest:
            self.breaches.append(f"{bundle}: not what was sent")

    def missing(self) -> list[str]:
        """Answered and not heard."""
        return [bundle for bundle in self.answered if bundle not in self.positions]

    def close(self) -> None:
        """Nothing more will come."""
        self.breaches += [f"{bundle}: accepted and lost" for bundle in self.missing()]
