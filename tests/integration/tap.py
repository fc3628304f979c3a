"""A tap on the wire between two real agents: it passes datagrams on, keeps a copy of each, and can show them again."""

import selectors
import socket
import threading
from dataclasses import dataclass, field

DATAGRAM_MAX_BYTES = 65_535
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """One datagram as its sender made it."""

    is_up: bool
    frame: bytes


@dataclass(slots=True, eq=False)
class Tap:
    """Listens for the kit on ``address`` and talks to command at ``upstream``, on 127.0.0.1."""

    upstream: Address
    seen: list[Seen] = field(default_factory=list)
    address: Address = field(init=False)
    _down: socket.socket = field(init=False)
    _up: socket.socket = field(init=False)
    _kit: Address | None = None
    _thread: threading.Thread = field(init=False)
    _ends: socket.socket = field(init=False)
    _end: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._down, self._up = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._down.bind(("127.0.0.1", 0))
        self._up.bind(("127.0.0.1", 0))
        self.address = self._down.getsockname()
        self._end, self._ends = socket.socketpair()
        self._thread = threading.Thread(target=self._pass_on, name="tap")
        self._thread.start()

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._down, self._up, self._ends):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._ends in ready:
                    return
                for each in ready:
                    assert isinstance(each, socket.socket)
                    frame, source = each.recvfrom(DATAGRAM_MAX_BYTES)
                    is_up = each is self._down
                    self.seen.append(Seen(is_up, frame))
                    if is_up:
                        self._kit = source
                        self._up.sendto(frame, self.upstream)
                    elif self._kit is not None:
                        self._down.sendto(frame, self._kit)

    def show(self, seen: Seen, *, elsewhere: socket.socket | None = None) -> None:
        """Send a copy to where it went, from where it came or from ``elsewhere``."""
        to = self.upstream if seen.is_up else self._kit
        if to is not None:
            (elsewhere or (self._up if seen.is_up else self._down)).sendto(seen.frame, to)

    def close(self) -> None:
        """Stop passing on."""
        self._end.send(b"x")
        self._thread.join()
        for each in (self._down, self._up, self._end, self._ends):
            each.close()
