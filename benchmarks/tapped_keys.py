"""Real frame keys that note which frames carry FLASH, and how long each is: what a tap on the open side would see."""

from dataclasses import dataclass, field

from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import Precedence
from edge_agent.core.codec import read_blocks
from edge_agent.core.frame import Direction, FrameCipher, SessionSalts
from edge_agent.security.link_keys import DeploymentKeys


@dataclass(slots=True)
class FlashFrames:
    """Frame bytes of the first copy of each FLASH fragment, by (sequence, offset)."""

    frame_bytes: dict[tuple[int, int], int] = field(default_factory=dict)

    def note(self, body: bytes, frame_bytes: int) -> None:
        """One frame was sealed."""
        for block in read_blocks(body):
            if isinstance(block, Fragment) and block.precedence is Precedence.FLASH:
                self.frame_bytes.setdefault((block.sequence, block.offset), frame_bytes)

    def wire_bytes(self, sequence: int, overhead_bytes: int) -> int:
        """All bytes on the wire of the frames that carried one bundle."""
        carried = [length for (of, _), length in self.frame_bytes.items() if of == sequence]
        return sum(length + overhead_bytes for length in carried)


class TappedKeys:
    """``LinkKeys`` of a deployment, with a tap behind the traffic ciphers."""

    def __init__(self, keys: DeploymentKeys, frames: FlashFrames) -> None:
        self._keys = keys
        self._frames = frames

    @property
    def suite(self) -> int:
        return self._keys.suite

    @property
    def short_suite(self) -> int:
        return self._keys.short_suite

    @property
    def epoch(self) -> int:
        return self._keys.epoch

    def early(self, salt: bytes, suite: int, epoch: int) -> FrameCipher | None:
        return self._keys.early(salt, suite, epoch)

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        cipher = self._keys.traffic(salts, direction, suite, epoch)
        return None if cipher is None else _TappedCipher(cipher, self._frames)

    def burst(self, sender_number: int, incarnation: int, epoch: int) -> FrameCipher | None:
        return self._keys.burst(sender_number, incarnation, epoch)


class _TappedCipher:
    def __init__(self, cipher: FrameCipher, frames: FlashFrames) -> None:
        self._cipher = cipher
        self._frames = frames

    @property
    def overhead_bytes(self) -> int:
        return self._cipher.overhead_bytes

    @property
    def is_spent(self) -> bool:
        return self._cipher.is_spent

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        sealed = self._cipher.seal(number, header, body)
        self._frames.note(body, len(header) + len(sealed))
        return sealed

    def open(self, number: int, header: bytes, sealed: bytes) -> bytes | None:
        return self._cipher.open(number, header, sealed)
