"""Bench files: stand-ins, their faults and the network between them in TOML, durations in words.

[network]        profile = "beidou-rsmc"   loss_ratio = 0.1       # any key of a link profile
[[device]]       name = "kit"   kind = "beidou"   card = "0200001"   interval = "60s"
[[device.fault]] kind = "silent"   from = "10s"   for = "5s"
[[device]]       name = "command"   kind = "beidou"   card = "0200002"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_agent.config_lines import KeyPath, find_lines
from edge_agent.config_tables import ConfigError, ConfigProblem, TableReader
from edge_agent.ports import Setting
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.kinds import KINDS, Makings
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.stand_in import StandIn
from link_sim.durations import ALLOWED, is_duration, seconds
from link_sim.errors import ProfileError
from link_sim.profiles import profile, profile_from

_NO_TABLE: Mapping[str, Any] = MappingProxyType({})
_FAULT_KINDS = tuple(kind.value for kind in FaultKind)
_TOP: Mapping[str, Setting] = MappingProxyType(
    {
        "seed": Setting(kind=int, allowed="0 or more", default=1, accepts=lambda seed: seed >= 0),
        "network": Setting(kind=dict, allowed="profile, and keys of a link profile", default=_NO_TABLE),
        "device": Setting(kind=list, allowed="[[device]], one at least", accepts=bool),
    }
)
_COMMON: Mapping[str, Setting] = MappingProxyType(
    {
        "name": Setting(
            kind=str,
            allowed="a file name without /",
            accepts=lambda name: name not in ("", ".", "..") and "/" not in name,
        ),
        "kind": Setting(kind=str, allowed=", ".join(KINDS), accepts=lambda kind: kind in KINDS),
        "baud_rate": Setting(kind=int, allowed="bit/s; 0: no pacing, none: the device's own", default=-1),
        "fault": Setting(kind=list, allowed="[[device.fault]]", default=()),
    }
)
_FAULT: Mapping[str, Setting] = MappingProxyType(
    {
        "kind": Setting(kind=str, allowed=", ".join(_FAULT_KINDS), accepts=lambda kind: kind in _FAULT_KINDS),
        "from": Setting(kind=str, allowed=ALLOWED, default="0s", accepts=is_duration),
        "for": Setting(kind=str, allowed=ALLOWED, default="", accepts=is_duration),
        "matching": Setting(kind=str, allowed="text of a request", default=""),
        "times": Setting(kind=int, allowed="1 or more", default=0, accepts=lambda times: times >= 1),
        "value": Setting(kind=float, allowed="0 or more", default=0.0, accepts=lambda value: value >= 0),
    }
)


@dataclass(frozen=True, slots=True)
class LoadedBench:
    """The stand-ins of a file by name, and the network that joins them."""

    devices: Mapping[str, StandIn]
    network: MessageNetwork


def load_bench(path: Path) -> LoadedBench:
    """The bench of a file. Raises ConfigError with every problem: file, line, key, value, what is allowed."""
    try:
        return read_bench(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((ConfigProblem(file=path, line=0, key="", text=str(error)),)) from error


def read_bench(text: str, path: Path) -> LoadedBench:
    """The bench of a TOML text; ``path`` is named in problems, and its folder is where files lie."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((ConfigProblem(file=path, line=0, key="", text=str(error)),)) from error
    loader = _Loader(TableReader(path, find_lines(text)))
    bench = loader.load(table)
    if loader.reader.problems or bench is None:
        raise ConfigError(tuple(loader.reader.problems))
    return bench


class _Loader:
    """Reads one file; what is wrong is kept by ``reader``."""

    def __init__(self, reader: TableReader) -> None:
        self.reader = reader

    def load(self, table: Mapping[str, Any]) -> LoadedBench | None:  # Any: see ports.Table
        values = self.reader.read(table, _TOP, ())
        seed = values.get("seed", 1)
        network = self._network(values.get("network", _NO_TABLE), seed)
        if network is None or "device" not in values:
            return None
        devices: dict[str, StandIn] = {}
        for number, each in enumerate(values["device"]):
            at: KeyPath = ("device", number)
            if not isinstance(each, dict):
                self.reader.refuse(at, each, "a table [[device]]")
                continue
            name = each.get("name")
            if name in devices:
                self.reader.refuse((*at, "name"), name, "a name that no other device has")
            device = self._device(each, at, Makings(network=network, seed=seed + number))
            if device is not None:
                devices[str(name)] = device
        return LoadedBench(devices, network)

    def _network(self, table: Mapping[str, Any], seed: int) -> MessageNetwork | None:  # Any: see ports.Table
        numbers = dict(table)
        name = numbers.pop("profile", "clean")
        try:
            base = profile(str(name)).up
            return MessageNetwork(profile_from("network", numbers, base), seed=seed)
        except ProfileError as error:
            self.reader.add(("network",), f": {error}")
            return None

    def _device(self, table: Mapping[str, Any], at: KeyPath, makings: Makings) -> StandIn | None:
        kind = KINDS.get(str(table.get("kind")))
        problems_before = len(self.reader.problems)
        if kind is None:  # then nobody knows which other keys are allowed
            self.reader.read({key: value for key, value in table.items() if key in _COMMON}, _COMMON, at)
            return None
        values = self.reader.read(table, {**_COMMON, **kind.settings}, at)
        faults = [self._fault(each, (*at, "fault", number)) for number, each in enumerate(values.get("fault", ()))]
        if len(self.reader.problems) > problems_before:
            return None
        makings.faults = tuple(fault for fault in faults if fault is not None)
        makings.baud_rate = values["baud_rate"]
        try:
            return kind.make(values, makings)
        except (DeviceError, OSError) as error:
            self.reader.add(at, f": {error}")
            return None

    def _fault(self, table: Any, at: KeyPath) -> Fault | None:  # Any: whatever the file holds
        if not isinstance(table, dict):
            self.reader.refuse(at, table, "a table [[device.fault]]")
            return None
        problems_before = len(self.reader.problems)
        values = self.reader.read(table, _FAULT, at)
        if len(self.reader.problems) > problems_before:
            return None
        from_s = seconds(values["from"])
        until_s = from_s + seconds(values["for"]) if values["for"] else float("inf")
        try:
            return Fault(
                kind=FaultKind(values["kind"]),
                from_s=from_s,
                until_s=until_s,
                matching=values["matching"],
                times=values["times"] or None,
                value=values["value"],
            )
        except DeviceError as error:
            self.reader.add(at, f": {error}")
            return None
