"""Faults of a stand-in, as a script: what goes wrong, when, on which request and how often."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from link_sim.devices.errors import DeviceError


class FaultKind(Enum):
    """What goes wrong. ``value`` means what is said here; each stand-in names the kinds it knows."""

    UNPLUG = "unplug"
    """The port is gone while it lasts; the device starts anew when it comes back."""
    SILENT = "silent"
    """Nothing is said."""
    SLOW = "slow"
    """What is said comes ``value`` seconds later."""
    PARTIAL = "partial"
    """What is said ends after ``value`` bytes."""
    GARBAGE = "garbage"
    """``value`` random bytes come before what is said."""
    WRONG_CHECKSUM = "wrong_checksum"
    """The checksum of what is said is wrong."""
    REFUSE = "refuse"
    """The request is refused with the device's code ``value``."""
    DUPLICATE = "duplicate"
    """A received message is handed over ``value`` times more."""
    LOST_ANSWER = "lost_answer"
    """A session does its work and ends with the code ``value``, as if it had failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, in force from ``from_s`` until before ``until_s`` on the stand-in's clock.

    ``matching`` narrows it to requests that contain this text (Modbus: ``"fc3"`` or ``"unit2"``); ``times`` ends it
    after so many requests. Raises DeviceError naming the field, the value and what is allowed.
    """

    kind: FaultKind
    from_s: float = 0.0
    until_s: float = math.inf
    matching: str = ""
    times: int | None = None
    value: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.from_s < self.until_s:  # a NaN fails here too
            raise DeviceError(
                f"fault {self.kind.value}: from_s {self.from_s}, until_s {self.until_s}: "
                "allowed is 0 or more, and an end after the beginning"
            )
        if self.times is not None and self.times < 1:
            raise DeviceError(f"fault {self.kind.value}: times {self.times}: allowed is 1 or more, or none for always")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise DeviceError(f"fault {self.kind.value}: value {self.value}: allowed is a finite number, 0 or more")
        if self.kind is FaultKind.UNPLUG and (self.matching or self.times):
            raise DeviceError("fault unplug: matching and times are not allowed: it has a beginning and an end")


class FaultScript:
    """The faults of one stand-in and how often each is still to come."""

    def __init__(self, faults: Iterable[Fault], known: Collection[FaultKind]) -> None:
        self._faults = list(faults)
        for fault in self._faults:
            if fault.kind not in known:
                allowed = ", ".join(sorted(kind.value for kind in known))
                raise DeviceError(f"fault kind {fault.kind.value}: allowed here is {allowed}")
        self._left = [fault.times for fault in self._faults]

    def take(self, kind: FaultKind, now_s: float, request: str = "") -> Fault | None:
        """The fault of this kind that hits this request, counted as used; None when there is none."""
        for number, fault in enumerate(self._faults):
            left = self._left[number]
            is_meant = fault.kind is kind and fault.from_s <= now_s < fault.until_s and fault.matching in request
            if is_meant and left != 0:
                if left is not None:
                    self._left[number] = left - 1
                return fault
        return None

    def is_on(self, kind: FaultKind, now_s: float) -> bool:
        """Whether a fault of this kind is in force on everything: one that matches or counts requests is not."""
        return any(
            fault.kind is kind and fault.from_s <= now_s < fault.until_s and not fault.matching and fault.times is None
            for fault in self._faults
        )

    def next_change_s(self, kind: FaultKind, now_s: float) -> float | None:
        """When the next fault of this kind begins or ends."""
        edges = [edge_s for fault in self._faults if fault.kind is kind for edge_s in (fault.from_s, fault.until_s)]
        return min((edge_s for edge_s in edges if now_s < edge_s < math.inf), default=None)
