"""Message network: joins terminals that send short messages, each through a line of its own.

A terminal posts to an address; the message crosses the sender's line (delay, loss, copies, size limit, minimum
interval, price: any profile) and lies in the mailbox of the address until the terminal there collects it.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, Verdict
from link_sim.link.services import NS_PER_S
from link_sim.link.streams import derived_seed

MAILBOX_MAX = 50  # Iridium's mobile-terminated queue (SBD developers guide 6.2.2); others are given the same
MAILBOX_LIFE_S = 5 * 86_400.0  # the same guide: kept for five days
_NO_PROFILES: Mapping[str, LinkProfile] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. ``form`` is the device's own word on its coding, ``reference`` pairs a receipt with its message."""

    sender: str
    recipient: str
    body: bytes
    form: int = 0
    reference: int = 0
    wants_receipt: bool = False
    is_receipt: bool = False


@dataclass(frozen=True, slots=True)
class _Posted:
    at_s: float
    message: Message


class MessageNetwork:
    """Lines and mailboxes by address. Every call comes with ``now_s`` of one clock, which never goes back."""

    def __init__(
        self, profile: LinkProfile, *, seed: int = 1, profiles: Mapping[str, LinkProfile] = _NO_PROFILES
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._profile = profile
        self._profiles = dict(profiles)
        self._seed = seed
        self._lines: dict[str, Line[Message]] = {}
        self._mailboxes: dict[str, deque[_Posted]] = {}

    def attach(self, address: str) -> None:
        """Give ``address`` a line and a mailbox; a second time changes nothing."""
        if address not in self._lines:
            profile = self._profiles.get(address, self._profile)
            self._lines[address] = Line(profile, derived_seed(self._seed, address, "message"))
            self._mailboxes[address] = deque()

    def line(self, address: str) -> Line[Message]:
        """The line that messages from ``address`` cross: to cut it, to change it, to read its price and counts."""
        return self._lines[address]

    def post(self, message: Message, now_s: float) -> Verdict:
        """Give a message to its sender's line; the verdict is the medium's and the sender need not hear it."""
        self._settle(now_s)
        verdict = self._lines[message.sender].offer(_ns(now_s), len(message.body), message)
        self.counts["posted" if verdict.fate <= Fate.HELD else verdict.fate.word] += 1
        return verdict

    def waiting(self, address: str, now_s: float) -> int:
        """Messages that lie in the mailbox of ``address``."""
        self._settle(now_s)
        return len(self._mailboxes[address])

    def collect(self, address: str, now_s: float) -> Message | None:
        """The oldest message of a mailbox, taken out; None when it is empty."""
        self._settle(now_s)
        mailbox = self._mailboxes[address]
        return mailbox.popleft().message if mailbox else None

    def next_due_s(self) -> float | None:
        """When the next message comes out of any line."""
        times = (line.next_due_ns() for line in self._lines.values())
        due_ns = min((at_ns for at_ns in times if at_ns is not None), default=None)
        return None if due_ns is None else (due_ns + 1) / NS_PER_S  # rounded up: at that time it is due

    def _settle(self, now_s: float) -> None:
        """Put what has crossed its line by now into mailboxes, and throw away what lay too long."""
        now_ns = _ns(now_s)
        for line in self._lines.values():
            while (message := line.take(now_ns)) is not None:
                self._deliver(message, now_s)
        for mailbox in self._mailboxes.values():
            if mailbox and now_s - mailbox[0].at_s > MAILBOX_LIFE_S:
                self.counts["expired"] += len(mailbox)  # all of them, as the guide says
                mailbox.clear()

    def _deliver(self, message: Message, now_s: float) -> None:
        mailbox = self._mailboxes.get(message.recipient)
        if mailbox is None:
            self.counts["unknown_recipient"] += 1
        elif len(mailbox) >= MAILBOX_MAX:
            self.counts["mailbox_full"] += 1
        else:
            self.counts["delivered"] += 1
            mailbox.append(_Posted(now_s, message))


def _ns(now_s: float) -> int:
    return round(now_s * NS_PER_S)
