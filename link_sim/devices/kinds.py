"""Kinds of stand-ins: the keys each takes in a bench file, and how one is made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_agent.ports import REQUIRED, Setting
from link_sim.devices.at_modem import AtModem
from link_sim.devices.beidou import BeidouTerminal, Generation
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.modbus import ModbusSlave, RegisterMap
from link_sim.devices.modem_radio import RadioStep, Registration
from link_sim.devices.sbd_modem import SbdModem
from link_sim.devices.stand_in import StandIn
from link_sim.durations import ALLOWED, is_duration, seconds

Values = Mapping[str, Any]  # Any: of the kinds that the Settings of the kind state
_OWN_BAUD_RATE = -1
_REGISTRATIONS = {each.name.lower(): each for each in Registration}
_TABLES = ("holding", "inputs", "coils", "discrete")


@dataclass(slots=True, kw_only=True)
class Makings:
    """What every stand-in is made with. ``baud_rate`` 0: no pacing, -1: the device's own."""

    network: MessageNetwork
    seed: int
    faults: tuple[Fault, ...] = ()
    baud_rate: int = _OWN_BAUD_RATE

    def speed(self, own: int) -> int | None:
        """The baud rate, where ``own`` is the device's."""
        return own if self.baud_rate == _OWN_BAUD_RATE else self.baud_rate or None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of device."""

    make: Callable[[Values, Makings], StandIn]
    settings: Mapping[str, Setting] = field(default_factory=dict)


def _gnss(values: Values, makings: Makings) -> StandIn:
    return GnssReceiver(
        Path(values["log"]).read_bytes(),
        rate_hz=values["rate_hz"],
        loops=values["loops"],
        baud_rate=makings.speed(9600),
        faults=makings.faults,
        seed=makings.seed,
    )


def _modbus(values: Values, makings: Makings) -> StandIn:
    units = {_number("unit", unit): _registers(unit, table) for unit, table in values["units"].items()}
    return ModbusSlave(
        units,
        answer_after_s=seconds(values["answer_after"]),
        baud_rate=makings.speed(9600),
        faults=makings.faults,
        seed=makings.seed,
    )


def _registers(unit: str, table: object) -> RegisterMap:
    """The map of one unit, whose addresses are keys and therefore text."""
    if not isinstance(table, dict) or not set(table) <= set(_TABLES):
        raise DeviceError(f"units.{unit}: allowed is a table of {', '.join(_TABLES)}")
    words: dict[str, dict[int, Any]] = {}  # Any: words or bits, as the map checks
    for name, values in table.items():
        is_bit = name in ("coils", "discrete")
        if not isinstance(values, dict) or not all(
            type(value) is (bool if is_bit else int) for value in values.values()
        ):
            allowed = "true or false" if is_bit else "whole numbers"
            raise DeviceError(f"units.{unit}.{name}: allowed are addresses with {allowed}")
        words[name] = {_number(f"units.{unit}.{name}", address): value for address, value in values.items()}
    return RegisterMap(**words)


def _number(what: str, text: str) -> int:
    if not text.isdigit():
        raise DeviceError(f"{what} {text}: allowed is a whole number")
    return int(text)


def _modem(values: Values, makings: Makings) -> StandIn:
    steps = [_radio_step(each) for each in values["radio"]]
    return AtModem(
        number=values["number"],
        network=makings.network,
        radio=steps or (RadioStep(),),
        pin=values["pin"] or None,
        send_s=seconds(values["send"]),
        slots=values["slots"],
        baud_rate=makings.speed(115_200),
        faults=makings.faults,
        seed=makings.seed,
    )


def _radio_step(table: object) -> RadioStep:
    keys = ("at", "registration", "rssi", "rsrp", "rsrq", "technology")
    if not isinstance(table, dict) or not set(table) <= set(keys):
        raise DeviceError(f"radio {table}: allowed is a table of {', '.join(keys)}")
    at, registration = table.get("at", "0s"), table.get("registration", "home")
    if not is_duration(at) or registration not in _REGISTRATIONS:
        allowed = f"{ALLOWED}, and {', '.join(_REGISTRATIONS)}"
        raise DeviceError(f"radio at {at}, registration {registration}: allowed is {allowed}")
    numbers = {key: table[key] for key in keys[2:] if key in table}
    if not all(type(number) is int for number in numbers.values()):
        raise DeviceError(f"radio {numbers}: allowed are whole numbers")
    return RadioStep(at_s=seconds(at), registration=_REGISTRATIONS[registration], **numbers)


def _beidou(values: Values, makings: Makings) -> StandIn:
    return BeidouTerminal(
        card=values["card"],
        network=makings.network,
        generation=Generation(values["generation"]),
        interval_s=round(seconds(values["interval"])),
        level=values["level"],
        has_card=values["has_card"],
        baud_rate=makings.speed(115_200),
        faults=makings.faults,
        seed=makings.seed,
    )


def _sbd(values: Values, makings: Makings) -> StandIn:
    return SbdModem(
        imei=values["imei"],
        destination=values["destination"],
        network=makings.network,
        session_s=seconds(values["session"]),
        signal_bars=values["signal_bars"],
        baud_rate=makings.speed(19_200),
        faults=makings.faults,
        seed=makings.seed,
    )


def _duration(default: str) -> Setting:
    return Setting(kind=str, allowed=ALLOWED, default=default, accepts=is_duration)


def _digits(default: object = REQUIRED) -> Setting:
    return Setting(kind=str, allowed="digits, in quotes", default=default, accepts=str.isdigit)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "gnss": Kind(
            _gnss,
            {
                "log": Setting(kind=str, allowed="a file of NMEA sentences", is_path=True),
                "rate_hz": Setting(kind=float, allowed="0.01 to 50", default=1.0),
                "loops": Setting(kind=bool, allowed="true: over and over", default=True),
            },
        ),
        "modbus": Kind(
            _modbus,
            {
                "units": Setting(
                    kind=dict, allowed=f"tables [device.units.N], each of {', '.join(_TABLES)}", accepts=bool
                ),
                "answer_after": _duration("2ms"),
            },
        ),
        "modem": Kind(
            _modem,
            {
                "number": _digits(),
                "pin": _digits(""),
                "send": _duration("1500ms"),
                "slots": Setting(kind=int, allowed="1 to 255", default=20),
                "radio": Setting(kind=list, allowed="tables of at, registration, rssi, rsrp, rsrq", default=()),
            },
        ),
        "beidou": Kind(
            _beidou,
            {
                "card": _digits(),
                "generation": Setting(
                    kind=str,
                    allowed=", ".join(each.value for each in Generation),
                    default=Generation.BD2.value,
                    accepts=lambda text: text in [each.value for each in Generation],
                ),
                "interval": _duration("60s"),
                "level": Setting(kind=int, allowed="1 to 5", default=3, accepts=lambda level: 1 <= level <= 5),
                "has_card": Setting(kind=bool, allowed="false: no card is in it", default=True),
            },
        ),
        "sbd": Kind(
            _sbd,
            {
                "imei": _digits(),
                "destination": _digits(),
                "session": _duration("8s"),
                "signal_bars": Setting(kind=int, allowed="0 to 5", default=4),
            },
        ),
    }
)
