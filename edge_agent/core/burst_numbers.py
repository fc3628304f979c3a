"""Numbers of burst frames: leased on disk before they are used, and taken once, whatever crashes at either end.

The key of a burst frame is born of the deployment's secret, the sender's number and the incarnation of its store, and
lives as long as these: there is no handshake that could bring fresh salts. So a number is used only below what is
leased on disk, a start goes on above its lease, and a frame is acted upon only when the window that says so is synced.
"""

from collections.abc import Iterable

from edge_agent.core.effects import BurstWindow, Done, LeaseNumbers, Outcome
from edge_agent.core.outputs import Outputs
from edge_agent.core.scheduler import Scheduler

LEASE_NUMBERS = 64
"""Leased at a time: what a crash may cost."""
LEASE_AHEAD = 16
WINDOW_NUMBERS = 64
WINDOWS_MAX = 4096
"""Senders remembered, the one heard longest ago goes first; older frames of it then meet the closed bundle numbers."""
NUMBER_MAX = (1 << 32) - 1


class BurstNumbers:
    """The numbers this node may still use."""

    def __init__(self, outputs: Outputs, scheduler: Scheduler, leased: int) -> None:
        self._outputs = outputs
        self._scheduler = scheduler
        self._next = leased
        self._leased = leased
        self._is_leasing = False

    def prepare(self) -> bool:
        """Whether a number can be used now; asks for more before they run out."""
        if self._leased - self._next < LEASE_AHEAD and not self._is_leasing:
            self._lease()
        return self._next < self._leased

    def take(self) -> int:
        """A number never given before. Only after ``prepare`` said so."""
        number = self._next
        assert number < self._leased, "prepare was not asked"
        self._next = number + 1
        return number

    def _lease(self) -> None:
        up_to = min(self._next + LEASE_NUMBERS, NUMBER_MAX)
        if up_to <= self._leased:
            return  # four thousand million frames: this store has said all it can
        self._is_leasing = True

        def leased(outcome: Outcome, now_s: float) -> None:
            self._is_leasing = False
            if isinstance(outcome, Done):
                self._leased = max(self._leased, up_to)
                self._scheduler.version += 1
            else:
                self._outputs.drop("burst_lease_failed")

        self._outputs.effects.append(LeaseNumbers(self._outputs.new_effect(leased), up_to))


class BurstWindows:
    """Which frames of which senders were taken."""

    def __init__(self, windows: Iterable[BurstWindow]) -> None:
        self._windows = {(each.sender_number, each.incarnation): each for each in windows}

    def is_replay(self, sender_number: int, incarnation: int, number: int) -> bool:
        """Whether this number was taken before, or is too old to know."""
        window = self._windows.get((sender_number, incarnation))
        if window is None or number > window.highest:
            return False
        behind = window.highest - number
        return behind >= WINDOW_NUMBERS or bool(window.mask >> behind & 1)

    def take(self, sender_number: int, incarnation: int, number: int) -> BurstWindow:
        """Mark a number that is no replay; gives back the window to be synced."""
        key = (sender_number, incarnation)
        window = self._windows.pop(key, None)
        if window is None:
            window = BurstWindow(sender_number, incarnation, number, 1)
        elif number > window.highest:
            ahead = min(number - window.highest, WINDOW_NUMBERS)
            mask = (window.mask << ahead | 1) & ((1 << WINDOW_NUMBERS) - 1)
            window = BurstWindow(sender_number, incarnation, number, mask)
        else:
            window = window._replace(mask=window.mask | 1 << (window.highest - number))
        self._windows[key] = window
        if len(self._windows) > WINDOWS_MAX:
            del self._windows[next(iter(self._windows))]
        return window
