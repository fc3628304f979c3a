"""Scenario files: TOML with durations in words.

duration = "120s"
[[node]]     id = "command"   role = "command"
[[node]]     id = "kit-1"
[[link]]     name = "vsat"   from = "kit-1"   to = "command"   profile = "vsat"
[[traffic]]  from = "kit-1"   flow = "text"   every = "2s"   bytes = 200
[[step]]     at = "60s"   link = "vsat"   outage = "8s"   hold = true
[[check]]    kind = "delivered_within"   flow = "text"   within = "12s"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_agent.config_lines import find_lines
from edge_agent.config_tables import ConfigError, ConfigProblem, TableReader
from edge_agent.core.bundle import COMMAND, NODE_ID_PATTERN, FlowOrder, Precedence
from edge_agent.ports import Setting
from link_sim.durations import ALLOWED, is_duration, seconds
from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile, profile, profile_from
from link_sim.scenarios.scenario import Check, Scenario, ScenarioLink, ScenarioNode, Step, Traffic
from link_sim.traces.files import Way

ROLES = ("kit", "relay", COMMAND)
CHECK_KINDS = ("delivered", "delivered_within", "gap_below", "no_duplicates", "no_loss", "sent_below")
_PRECEDENCES = tuple(each.name.lower() for each in Precedence)
_ORDERS = tuple(each.value for each in FlowOrder)
_DIRECTIONS = ("up", "down", "both")


def _duration(default: object = "") -> Setting:
    return Setting(kind=str, allowed=ALLOWED, default=default, accepts=is_duration)


def _required_duration() -> Setting:
    return Setting(kind=str, allowed=ALLOWED, accepts=is_duration)


def _text(allowed: str = "a name") -> Setting:
    return Setting(kind=str, allowed=allowed, accepts=bool)


_OWN: Mapping[str, Setting] = MappingProxyType(
    {
        "name": Setting(kind=str, allowed="a name", default=""),
        "seed": Setting(kind=int, allowed="0 or more", default=1, accepts=lambda seed: seed >= 0),
        "duration": _required_duration(),
        **{name: Setting(kind=list, allowed=f"[[{name}]]", default=[]) for name in ("node", "link", "traffic", "step")},
        "check": Setting(kind=list, allowed="[[check]]", default=[]),
    }
)
_NODE: Mapping[str, Setting] = MappingProxyType(
    {
        "id": Setting(
            kind=str, allowed="a-z, 0-9, . _ -, up to 32", accepts=lambda text: bool(NODE_ID_PATTERN.fullmatch(text))
        ),
        "role": Setting(kind=str, allowed=", ".join(ROLES), default="kit", accepts=lambda role: role in ROLES),
        "commit": _duration("2ms"),
    }
)
_LINK: Mapping[str, Setting] = MappingProxyType(
    {
        "name": _text(),
        "from": _text("the id of a node"),
        "to": _text("the id of a node"),
        "profile": Setting(kind=str, allowed="a profile's name, or a file *.toml", default="clean"),
        "up": Setting(kind=dict, allowed="keys of a link profile", default=MappingProxyType({})),
        "down": Setting(kind=dict, allowed="keys of a link profile", default=MappingProxyType({})),
        "causes": Setting(
            kind=list,
            allowed="names that steps may use to fail several links at once",
            default=(),
            accepts=lambda causes: all(isinstance(each, str) and each for each in causes),
        ),
    }
)
_TRAFFIC: Mapping[str, Setting] = MappingProxyType(
    {
        "from": _text("the id of a node"),
        "to": Setting(kind=str, allowed="the id of a node, or command", default=COMMAND),
        "flow": _text("the name of a flow"),
        "precedence": Setting(
            kind=str, allowed=", ".join(_PRECEDENCES), default="routine", accepts=lambda name: name in _PRECEDENCES
        ),
        "order": Setting(kind=str, allowed=", ".join(_ORDERS), default="fifo", accepts=lambda name: name in _ORDERS),
        "bytes": Setting(
            kind=int, allowed="1 to 50,000,000", default=200, accepts=lambda size: 1 <= size <= 50_000_000
        ),
        "every": _duration(),
        "start": _duration("1s"),
        "stop": _duration(),
        "lifetime": _duration("1d"),
    }
)
_STEP: Mapping[str, Setting] = MappingProxyType(
    {
        "at": _required_duration(),
        "every": _duration(),
        "count": Setting(kind=int, allowed="1 to 10,000", default=1, accepts=lambda count: 1 <= count <= 10_000),
        "link": Setting(kind=str, allowed="the name of a link", default=""),
        "cause": Setting(kind=str, allowed="a name from causes of a link", default=""),
        "node": Setting(kind=str, allowed="the id of a node", default=""),
        "direction": Setting(
            kind=str, allowed=", ".join(_DIRECTIONS), default="both", accepts=lambda name: name in _DIRECTIONS
        ),
        "outage": _duration(),
        "hold": Setting(kind=bool, allowed="true: frames wait for the end of the outage", default=False),
        "set": Setting(kind=dict, allowed="keys of a link profile", default=MappingProxyType({})),
        "restore": Setting(kind=bool, allowed="true: the numbers of the start", default=False),
        "crash": _duration(),
        "unplug": _duration(),
    }
)
_CHECK: Mapping[str, Setting] = MappingProxyType(
    {
        "kind": Setting(kind=str, allowed=", ".join(CHECK_KINDS), accepts=lambda kind: kind in CHECK_KINDS),
        "flow": Setting(kind=str, allowed="a flow, or a glob", default="*"),
        "within": _duration(),
        "ratio": Setting(kind=float, allowed="above 0, to 1", default=1.0, accepts=lambda ratio: 0 < ratio <= 1),
        "link": Setting(kind=str, allowed="the name of a link", default=""),
        "bytes": Setting(kind=int, allowed="0 or more", default=0, accepts=lambda size: size >= 0),
        "points": Setting(kind=int, allowed="1 to 1,000", default=1, accepts=lambda points: 1 <= points <= 1000),
    }
)


def load_scenario(path: Path) -> Scenario:
    """The scenario of a file. Raises ConfigError with every problem: file, line, key, value, what is allowed."""
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError((ConfigProblem(file=path, line=0, key="", text=str(error)),)) from error
    return _Loader(TableReader(path, find_lines(text))).load(table)


@dataclass(slots=True)
class _Loader:
    reader: TableReader
    nodes: list[ScenarioNode] = field(default_factory=list)
    links: list[ScenarioLink] = field(default_factory=list)
    steps: list[tuple[int, Step]] = field(default_factory=list)
    """Each with the number of its table; in order of time once all are read."""
    outages: dict[tuple[str, str], list[tuple[float, float, int]]] = field(default_factory=dict)

    def load(self, table: Mapping[str, Any]) -> Scenario:  # Any: TOML
        own = self.reader.read(table, _OWN, ())
        for at, each in self._tables(own, "node"):
            self._add_node(at, each)
        if not self.nodes and not self.reader.problems:
            self.reader.add((), "no [[node]]: a scenario has two at least")
        for at, each in self._tables(own, "link"):
            self._add_link(at, each)
        traffic = [self._traffic(at, each) for at, each in self._tables(own, "traffic")]
        for at, each in self._tables(own, "step"):
            self._add_step(at, each)
        self.steps.sort(key=lambda each: each[1].at_s)
        self._go_through_numbers()
        checks = [self._check(at, each) for at, each in self._tables(own, "check")]
        if self.reader.problems:
            raise ConfigError(tuple(self.reader.problems))
        return Scenario(
            name=own["name"] or self.reader.file.stem,
            seed=own["seed"],
            duration_s=seconds(own["duration"]),
            nodes=tuple(self.nodes),
            links=tuple(self.links),
            traffic=tuple(each for each in traffic if each is not None),
            steps=tuple(step for _, step in self.steps),
            checks=tuple(each for each in checks if each is not None),
        )

    def _tables(self, own: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:  # Any: TOML
        found: list[tuple[int, Mapping[str, Any]]] = []
        for at, each in enumerate(own.get(name, [])):
            if isinstance(each, dict):
                found.append((at, each))
            else:
                self.reader.refuse((name, at), each, f"a table [[{name}]]")
        return found

    def _read(
        self, path: tuple[str, int], table: Mapping[str, Any], settings: Mapping[str, Setting]
    ) -> dict[str, Any] | None:
        """The values of one table; None when something in it is wrong. Any: TOML."""
        problems = len(self.reader.problems)
        values = self.reader.read(table, settings, path)
        return values if len(self.reader.problems) == problems else None

    def _add_node(self, at: int, table: Mapping[str, Any]) -> None:  # Any: TOML
        values = self._read(("node", at), table, _NODE)
        if values is None:
            return
        if any(node.id == values["id"] for node in self.nodes):
            self.reader.refuse(("node", at, "id"), values["id"], "an id that no other node has")
            return
        self.nodes.append(ScenarioNode(id=values["id"], role=values["role"], commit_s=seconds(values["commit"])))

    def _is_node(self, path: tuple[str | int, ...], name: str) -> bool:
        known = [node.id for node in self.nodes]
        if name not in known:
            self.reader.refuse(path, name, ", ".join(known) or "no node is there")
        return name in known

    def _add_link(self, at: int, table: Mapping[str, Any]) -> None:  # Any: TOML
        if isinstance(table.get("name"), str):
            self.reader.names[("link", at)] = table["name"]
        values = self._read(("link", at), table, _LINK)
        if values is None:
            return
        name, near, far = values["name"], values["from"], values["to"]
        are_known = [self._is_node(("link", at, key), values[key]) for key in ("from", "to")]
        if near == far:
            self.reader.refuse(("link", at, "to"), far, "another node than from")
        if any((link.name, link.near) == (name, near) for link in self.links):
            self.reader.refuse(("link", at, "name"), name, f"a name that no other link of {near} has")
            return
        path = self._path(at, values)
        if path is not None and all(are_known) and near != far:
            self.links.append(ScenarioLink(name=name, near=near, far=far, path=path, causes=tuple(values["causes"])))

    def _path(self, at: int, values: Mapping[str, Any]) -> PathProfile | None:  # Any: TOML
        named = values["profile"]
        try:
            found = profile(str(self.reader.file.parent / named) if named.endswith(".toml") else named)
        except ProfileError as error:
            self.reader.add(("link", at, "profile"), f"= {named!r}: {error}")
            return None
        ways: dict[str, LinkProfile] = {}
        for way in ("up", "down"):
            try:
                ways[way] = profile_from(way, values[way], getattr(found, way))
            except ProfileError as error:
                self.reader.add(("link", at, way), str(error))
        return PathProfile(name=found.name, up=ways["up"], down=ways["down"]) if len(ways) == 2 else None

    def _traffic(self, at: int, table: Mapping[str, Any]) -> Traffic | None:  # Any: TOML
        values = self._read(("traffic", at), table, _TRAFFIC)
        if values is None or not self._is_node(("traffic", at, "from"), values["from"]):
            return None
        if values["to"] != COMMAND and not self._is_node(("traffic", at, "to"), values["to"]):
            return None
        return Traffic(
            near=values["from"],
            to=values["to"],
            flow=values["flow"],
            precedence=Precedence[values["precedence"].upper()],
            order=FlowOrder(values["order"]),
            payload_bytes=values["bytes"],
            every_s=_span_s(values["every"]),
            start_s=seconds(values["start"]),
            stop_s=_span_s(values["stop"]),
            lifetime_s=seconds(values["lifetime"]),
        )

    def _add_step(self, at: int, table: Mapping[str, Any]) -> None:  # Any: TOML
        path = ("step", at)
        values = self._read(path, table, _STEP)
        if values is None:
            return
        spans = {name: _span_s(values[name]) for name in ("outage", "crash", "unplug")}
        does = [name for name in (*spans, "set", "restore") if table.get(name)]
        if len(does) != 1:
            self.reader.add(path, f"does {' and '.join(does) or 'nothing'}: one of outage, set, restore, crash, unplug")
            return
        links = self._links_of(path, values, does[0])
        if links is None:
            return
        every_s = _span_s(values["every"])
        if values["count"] > 1 and not every_s:
            self.reader.add((*path, "count"), f'= {values["count"]}: every is missing, such as every = "30s"')
            return
        for number in range(values["count"]):
            step = Step(
                at_s=seconds(values["at"]) + number * every_s,
                links=links,
                node=values["node"],
                direction=values["direction"],
                outage_s=spans["outage"],
                holds=values["hold"],
                changes=values["set"],
                restores=values["restore"],
                crash_s=spans["crash"],
                unplug_s=spans["unplug"],
            )
            self.steps.append((at, step))
            self._keep_apart(at, step)

    def _links_of(self, path: tuple[str, int], values: Mapping[str, Any], does: str) -> tuple[str, ...] | None:
        """The links that a step is about, empty for one about a node; None when that is wrong. Any: TOML."""
        link, cause, node = values["link"], values["cause"], values["node"]
        if does == "crash":
            return () if self._is_node((*path, "node"), node) else None
        if bool(link) == bool(cause):
            self.reader.add(
                path, "is about no link: one of link and cause" if not link else "has link and cause: one of them"
            )
            return None
        if node and not self._is_node((*path, "node"), node):
            return None
        if does == "unplug" and not node:
            self.reader.add((*path, "node"), "is missing: at which node the transport is unplugged")
            return None
        named = tuple(dict.fromkeys(each.name for each in self.links if link == each.name or cause in each.causes))
        if not named:
            known = (
                {each.name for each in self.links} if link else {name for each in self.links for name in each.causes}
            )
            self.reader.refuse(
                (*path, "link" if link else "cause"), link or cause, ", ".join(sorted(known)) or "none is there"
            )
            return None
        return named

    def _keep_apart(self, at: int, step: Step) -> None:
        """Two outages of one direction may not overlap: the end of the first would end the second."""
        if not step.outage_s:
            return
        ways = ("up", "down") if step.direction == "both" else (step.direction,)
        for link in step.links:
            for way in ways:
                spans = self.outages.setdefault((link, way), [])
                for start_s, end_s, other in spans:
                    if step.at_s < end_s and start_s < step.at_s + step.outage_s:
                        said = f"at {step.at_s:g} s overlaps that of step #{other + 1}, {start_s:g} to {end_s:g} s,"
                        self.reader.add(("step", at, "outage"), f"{said} on {link} {way}: make them one")
                        return
                spans.append((step.at_s, step.at_s + step.outage_s, at))

    def _go_through_numbers(self) -> None:
        """What a step sets must go with the numbers that its links have by then."""
        wrong: set[int] = set()
        for link in self.links:
            for way in Way:
                first = numbers = getattr(link.path, way.value)
                for at, step in self.steps:
                    is_meant = link.name in step.links and step.node in ("", link.near, link.far)
                    if not is_meant or step.direction not in (way.value, "both") or at in wrong:
                        continue
                    where = f"on {link.name} {way.value}"
                    try:
                        numbers = first if step.restores else profile_from(where, step.changes, numbers, way=way)
                    except ProfileError as error:
                        wrong.add(at)
                        self.reader.add(("step", at, "set"), str(error))

    def _check(self, at: int, table: Mapping[str, Any]) -> Check | None:  # Any: TOML
        values = self._read(("check", at), table, _CHECK)
        if values is None:
            return None
        kind, within_s = values["kind"], _span_s(values["within"])
        if kind in ("delivered_within", "gap_below") and not within_s:
            self.reader.add(("check", at, "within"), f'is missing: {kind} needs it, such as within = "2s"')
        if kind == "sent_below" and not any(link.name == values["link"] for link in self.links):
            known = ", ".join(dict.fromkeys(link.name for link in self.links))
            self.reader.refuse(("check", at, "link"), values["link"], known or "no link is there")
        return Check(
            kind=kind,
            flow=values["flow"],
            within_s=within_s,
            ratio=values["ratio"],
            link=values["link"],
            limit_bytes=values["bytes"],
            points=values["points"],
        )


def _span_s(text: str) -> float:
    """Seconds of a duration that may be absent."""
    return seconds(text) if text else 0.0
