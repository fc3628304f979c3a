"""Keys of a deployment that write down every (key, number) they seal under, across all processes of a test."""

from collections.abc import Callable

import pytest

from edge_agent.core.frame import FrameCipher, LinkKeys
from edge_agent.security import link_keys
from edge_agent.security.link_keys import AeadCipher, DeploymentKeys

SECRET = bytes(range(32))


class Recorder:
    """All pairs ever sealed; ``doubled`` must stay empty. Keys are the derived bytes, key and IV."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sealed: set[tuple[bytes, int]] = set()
        self.doubled: list[tuple[bytes, int]] = []
        self.last_key = b""
        self.tags: set[int] = set()
        """Lengths of the tags of all keys that sealed something."""
        derive: Callable[..., bytes] = link_keys.derive

        def watched(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
            self.last_key = derive(secret, salt=salt, info=info, length=length)
            return self.last_key

        monkeypatch.setattr(link_keys, "derive", watched)

    def note(self, key: bytes, number: int) -> None:
        """One frame was sealed."""
        if (key, number) in self.sealed:
            self.doubled.append((key, number))
        self.sealed.add((key, number))

    def make_keys(self) -> LinkKeys:
        """The keys of one process."""
        return RecordingKeys(self)

    @property
    def keys(self) -> int:
        """How many keys have sealed something."""
        return len({key for key, _ in self.sealed})


class RecordingKeys(DeploymentKeys):
    """One process's keys."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__({0: SECRET})
        self._recorder = recorder

    def _cipher(self, role: bytes, suite: int, epoch: int, salt: bytes, extra: bytes) -> AeadCipher | None:
        cipher = super()._cipher(role, suite, epoch, salt, extra)
        if cipher is None:
            return None
        return _Recording(cipher, self._recorder.last_key, self._recorder)  # type: ignore[return-value]  # same shape


class _Recording:
    def __init__(self, cipher: FrameCipher, key: bytes, recorder: Recorder) -> None:
        self._cipher = cipher
        self._key = key
        self._recorder = recorder
        self.overhead_bytes = cipher.overhead_bytes
        self.is_spent = cipher.is_spent
        self.open = cipher.open

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        self._recorder.note(self._key, number)
        self._recorder.tags.add(self.overhead_bytes)
        return self._cipher.seal(number, header, body)
