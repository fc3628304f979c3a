"""What a cellular modem says of its network: registration and signal, as a script of steps.

Source: 3GPP TS 27.007, sections 7.2 (CREG), 8.5 (CSQ), 8.69 (CESQ), 10.1.20 (CGREG), 10.1.22 (CEREG), 10.1.43 (C5GREG),
7.3 (COPS).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from link_sim.devices.at_line import ERROR, OK, Form, Reply, line
from link_sim.devices.errors import DeviceError

REGISTRATION_NAMES = ("+CREG", "+CGREG", "+CEREG", "+C5GREG")
UNKNOWN_RSSI = 99
_NR_SA = 11  # access technology of C5GREG


class Registration(IntEnum):
    """<stat> of the registration commands."""

    IDLE = 0
    HOME = 1
    SEARCHING = 2
    DENIED = 3
    UNKNOWN = 4
    ROAMING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioStep:
    """From ``at_s`` on: registration, ``rssi`` as CSQ tells it, ``rsrp`` and ``rsrq`` as CESQ does, 255 unknown.

    ``technology`` is <AcT>: 0 GSM, 2 UTRAN, 7 E-UTRAN, 11 NR.
    """

    at_s: float = 0.0
    registration: Registration = Registration.HOME
    rssi: int = 20
    rsrp: int = 62
    rsrq: int = 31
    technology: int = 7

    def __post_init__(self) -> None:
        if not (0 <= self.rssi <= 31 or self.rssi == UNKNOWN_RSSI):
            raise DeviceError(f"rssi {self.rssi}: allowed is 0 to 31, or 99 for unknown")
        if not (0 <= self.rsrp <= 97 or self.rsrp == 255) or not (0 <= self.rsrq <= 34 or self.rsrq == 255):
            raise DeviceError(f"rsrp {self.rsrp}, rsrq {self.rsrq}: allowed is 0 to 97 and 0 to 34, or 255 for unknown")

    @property
    def has_service(self) -> bool:
        """Whether a message can be sent."""
        return self.registration in (Registration.HOME, Registration.ROAMING)


class ModemRadio:
    """The step in force, and which registration results the host wants unasked."""

    def __init__(self, steps: Sequence[RadioStep]) -> None:
        times_s = [step.at_s for step in steps]
        if not steps or times_s[0] != 0 or times_s != sorted(set(times_s)):
            raise DeviceError(f"radio steps at {times_s}: allowed are rising times, the first 0")
        self._steps = tuple(steps)
        self._number = 0
        self._modes = dict.fromkeys(REGISTRATION_NAMES, 0)

    @property
    def step(self) -> RadioStep:
        """What is in force now."""
        return self._steps[self._number]

    def next_step_s(self) -> float | None:
        """When the next step begins."""
        return self._steps[self._number + 1].at_s if self._number + 1 < len(self._steps) else None

    def advance(self, now_s: float) -> list[str]:
        """Go to the step of now; the unsolicited results of each step on the way."""
        said: list[str] = []
        while (next_s := self.next_step_s()) is not None and next_s <= now_s:
            before = self.step
            self._number += 1
            if (before.registration, before.technology) != (self.step.registration, self.step.technology):
                said += [f"{name}: {self._place(name, mode)}" for name, mode in self._modes.items() if mode in (1, 2)]
        return said

    def restart(self) -> None:
        """Nothing is wanted unasked any more."""
        self._modes = dict.fromkeys(REGISTRATION_NAMES, 0)

    def register(self, name: str, form: Form, value: str) -> Reply:
        """One of the registration commands; the answer to a query has the mode before the state."""
        if form is Form.TEST:
            return Reply(text=line(f"{name}: (0-2)"))
        if form is Form.READ:
            return Reply(text=line(f"{name}: {self._modes[name]},{self._place(name, self._modes[name])}"))
        if form is Form.SET and value in ("0", "1", "2"):
            self._modes[name] = int(value)
            return OK
        return ERROR

    def _place(self, name: str, mode: int) -> str:
        stat = self.step.registration
        if (name == "+C5GREG") != (self.step.technology == _NR_SA) and name != "+CREG":
            stat = Registration.IDLE
        if mode != 2 or stat not in (Registration.HOME, Registration.ROAMING):
            return str(int(stat))
        return f'{int(stat)},"1A2B","01C3D4E5",{self.step.technology}'

    def signal(self, form: Form, value: str) -> Reply:
        """CSQ."""
        if form is Form.TEST:
            return Reply(text=line("+CSQ: (0-31,99),(0-7,99)"))
        return Reply(text=line(f"+CSQ: {self.step.rssi},99"))

    def extended_signal(self, form: Form, value: str) -> Reply:
        """CESQ, as an LTE modem fills it."""
        if form is Form.TEST:
            return Reply(text=line("+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)"))
        return Reply(text=line(f"+CESQ: 99,99,255,255,{self.step.rsrq},{self.step.rsrp}"))

    def operator(self, form: Form, value: str) -> Reply:
        """COPS; the operator is that of the test networks, 001-01 (TS 23.003)."""
        if form is Form.TEST:
            return Reply(text=line('+COPS: (2,"Test network","Test","00101",7),,(0-4),(0-2)'))
        if form is Form.READ:
            named = f',2,"00101",{self.step.technology}' if self.step.has_service else ""
            return Reply(text=line(f"+COPS: 0{named}"))
        return OK
