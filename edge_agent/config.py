"""Configuration: one TOML file into frozen values, or every problem in it at once."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.addresses import UNIX_PATH_MAX_BYTES, UNIX_PREFIX, Address, is_loopback, parse_host_port, spell
from edge_agent.command.groups import UnitGroup
from edge_agent.command.layers import ARCHIVE_ALLOWED, FOLDER_ALLOWED, LayerError, MapLayer, open_archive, open_folder
from edge_agent.command.limits import ReadingLimit
from edge_agent.config_lines import KeyPath, find_lines
from edge_agent.config_policy import (
    QuietHours,
    check_policy,
    link_policy,
    parse_quiet_hours,
    policy_warnings,
    refuse_undeliverable,
)
from edge_agent.config_schema import (
    API,
    COMMAND_NODES,
    DRIVER,
    FLOW,
    GROUP,
    LAYER,
    LIMIT,
    LINK,
    LINK_TABLE_KEYS,
    LINKS,
    NODE,
    SECTIONS,
    SECURITY,
    STORE,
    WEB,
    flow_rule,
    reading_limit,
)
from edge_agent.config_tables import ConfigError, ConfigProblem, TableReader, show
from edge_agent.core.bundle import COMMAND, LEVELS
from edge_agent.core.limits import LinkPolicy
from edge_agent.flows import FlowRule
from edge_agent.ports import Setting
from edge_agent.registry import Plugins, PluginUnknownError

_SINGLE_TABLES = {
    "node": NODE,
    "security": SECURITY,
    "store": STORE,
    "api": API,
    "web": WEB,
    "command": COMMAND_NODES,
    "links": LINKS,
}
AUTO_TRANSPORT = "udp"
NO_LOGIN_REASON = (
    "a loopback address such as 127.0.0.1:{port}: others could use it without a login, which does not exist"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """One way of leaving. ``table`` is validated by the transport's own SETTINGS."""

    name: str
    transport: str
    table: Mapping[str, Any]  # Any: see ports.Table
    rate_bps: float | None
    policy: LinkPolicy
    is_listener: bool
    kind: str = ""
    """What it is measured against in a link report; empty: nobody said."""
    quiet_hours: QuietHours | None = None
    has_metered: bool = True
    """Whether the file says what it costs, or that a person shall say; else a burst link counts as metered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverConfig:
    """One device. ``flow`` empty: the driver's own choice for each payload."""

    name: str
    kind: str
    flow: str
    table: Mapping[str, Any]  # Any: see ports.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an agent is started with. Paths are absolute or count from the working directory."""

    file: Path
    node_id: str
    number: int
    name: str
    role: str
    data_dir: Path
    report_interval_s: float
    secret_file: Path
    quota_bytes: int
    api: Address
    web: str | None
    operation: str
    frame_ancestors: tuple[str, ...]
    links: tuple[LinkConfig, ...]
    auto_remotes: tuple[str, ...]
    """Where links go that are made for interfaces as they come; empty: none are made."""
    flows: tuple[FlowRule, ...]
    drivers: tuple[DriverConfig, ...]
    limits: tuple[ReadingLimit, ...]
    layers: tuple[MapLayer, ...]
    groups: tuple[UnitGroup, ...]
    level: str
    reports_to: tuple[str, ...]
    """Levels that see what this node sends to ``command`` below FLASH; empty: all."""
    others: tuple[str, ...]
    copies_to: tuple[str, ...]
    """Command nodes that show all that this one shows."""
    escalate_after_s: float

    def warnings(self) -> list[str]:
        """What is allowed in it and should be known before somebody relies on it."""
        return policy_warnings(
            {link.name: link.policy for link in self.links}, {link.name: link.quiet_hours for link in self.links}
        )


def load_config(path: Path, plugins: Plugins) -> Config:
    """The checked configuration. Raises ConfigError with every problem found; starts and creates nothing."""
    document, reader = _parse(path)
    sections = _read_sections(document, reader)
    links = _read_links(document, reader, plugins)
    link_names = None if sections["links"].get("auto") else [link.name for link in links]
    drivers = _read_drivers(document, reader, plugins, link_names)
    flows = [reader.read(table, FLOW, at) for at, table in _tables(document, reader, "flow")]
    limits = _read_limits(document, reader)
    layers = _read_layers(document, reader, sections["node"].get("role", COMMAND))
    groups = [reader.read(table, GROUP, at) for at, table in _tables(document, reader, "group")]
    api, web = _read_listeners(sections, reader)
    auto_remotes = _read_auto_remotes(sections["links"], links, reader)
    if reader.problems:
        raise ConfigError(tuple(sorted(reader.problems, key=lambda problem: problem.line)))
    assert api is not None  # a missing address is a problem, and problems ended above
    node = sections["node"]
    return Config(
        file=path,
        node_id=node["id"],
        number=node["number"],
        name=node["name"] or node["id"],
        role=node["role"],
        data_dir=Path(node["data_dir"]),
        report_interval_s=node["report_interval_s"],
        secret_file=Path(sections["security"]["secret_file"]),
        quota_bytes=sections["store"]["quota_bytes"],
        api=api,
        web=web,
        operation=sections["web"]["operation"],
        frame_ancestors=tuple(sections["web"]["frame_ancestors"]),
        links=tuple(links),
        auto_remotes=auto_remotes,
        flows=tuple(flow_rule(values) for values in flows),
        drivers=tuple(drivers),
        limits=tuple(limits),
        layers=tuple(layers),
        groups=tuple(UnitGroup(name=values["name"], units=tuple(values["units"])) for values in groups),
        level=node["level"],
        reports_to=tuple(level for level in LEVELS if level in node["reports_to"]),
        others=tuple(name for name in sections["command"]["others"] if name != node["id"]),
        copies_to=tuple(dict.fromkeys(name for name in sections["command"]["copies_to"] if name != node["id"])),
        escalate_after_s=sections["command"]["escalate_after_s"],
    )


def load_api_address(path: Path) -> Address:
    """Only where the agent of this file answers, for programs that talk to it. Raises ConfigError."""
    document, reader = _parse(path)
    api, _web = _read_listeners(_read_sections(document, reader, need_secret=False), reader)
    if api is None:
        raise ConfigError(tuple(reader.problems))
    return api


def _parse(path: Path) -> tuple[dict[str, Any], TableReader]:
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise _one_problem(path, 0, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _one_problem(path, line, f"is not UTF-8 text: byte 0x{error.object[error.start]:02x}") from error
    except tomllib.TOMLDecodeError as error:
        match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        line = int(match.group(1)) if match and match.group(1) else text.count("\n") + 1
        raise _one_problem(path, line, f"is not valid TOML: {error}") from error
    return document, TableReader(path, find_lines(text))


def _one_problem(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError((ConfigProblem(file=path, line=line, key="", text=text),))


def _read_sections(
    document: Mapping[str, Any], reader: TableReader, *, need_secret: bool = True
) -> dict[str, dict[str, Any]]:
    for key in document:
        if key not in SECTIONS:
            reader.add((key,), f"is unknown: allowed: {', '.join(SECTIONS)}")
    sections: dict[str, dict[str, Any]] = {}
    for key, settings in _SINGLE_TABLES.items():
        table = document.get(key, {})
        if not isinstance(table, dict):
            reader.refuse((key,), table, f"a table, written [{key}]")
            table = {}
        sections[key] = reader.read(table, settings, (key,))
    node = sections["node"]
    if node.get("id") == COMMAND and node.get("role") != COMMAND:
        reader.refuse(("node", "id"), COMMAND, 'only with role = "command": it names every command post')
    if node.get("reports_to") and node.get("role") == COMMAND:
        reader.refuse(("node", "reports_to"), node["reports_to"], 'only with role = "kit" or "relay"')
    copies_to = sections["command"]["copies_to"]
    if copies_to and node.get("role") != COMMAND:
        reader.refuse(("command", "copies_to"), copies_to, 'only with role = "command"')
    elif COMMAND in copies_to:
        reader.refuse(("command", "copies_to"), COMMAND, "ids that mean one post each; this one means all of them")
    if not node.get("data_dir"):
        node["data_dir"] = str(reader.file.parent / "var" / node.get("id", ""))
    secret_file = sections["security"].get("secret_file")
    if need_secret and secret_file and not Path(secret_file).is_file():
        folder = f"{reader.file.parent}{os.sep}"
        written = secret_file.removeprefix(folder)  # as the file has it: a long folder would hide the name
        reader.refuse(
            ("security", "secret_file"), written, 'an existing file of mode 0600; "edge-agent init" makes one'
        )
    return sections


def _read_listeners(
    sections: Mapping[str, Mapping[str, Any]], reader: TableReader
) -> tuple[Address | None, str | None]:
    """Addresses of the local API and of the page (None: no page). Without login both stay on this machine."""
    text = sections["api"].get("listen")
    if text == "":
        text = f"{UNIX_PREFIX}{Path(sections['node']['data_dir']) / 'api.sock'}"
    elif text is not None and text.startswith(UNIX_PREFIX):
        text = f"{UNIX_PREFIX}{reader.file.parent / text.removeprefix(UNIX_PREFIX)}"
    api = None if text is None else _listener(text, reader, ("api", "listen"))
    web_text = sections["web"].get("listen")
    if not web_text:
        return api, None
    web = _listener(web_text, reader, ("web", "listen"))
    return api, None if web is None else spell(web)


def _listener(text: str, reader: TableReader, path: KeyPath) -> Address | None:
    if text.startswith(UNIX_PREFIX):
        unix_path = Path(text.removeprefix(UNIX_PREFIX))
        if len(str(unix_path).encode()) > UNIX_PATH_MAX_BYTES:
            reader.refuse(path, text, f"a path of at most {UNIX_PATH_MAX_BYTES} bytes, or 127.0.0.1:PORT")
            return None
        return unix_path
    address = parse_host_port(text)
    if not is_loopback(address):
        reader.refuse(path, text, NO_LOGIN_REASON.format(port=address.port))
        return None
    return address


def _tables(document: Mapping[str, Any], reader: TableReader, key: str) -> list[tuple[KeyPath, dict[str, Any]]]:
    """The members of an array of tables with their paths."""
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reader.refuse((key,), tables, f"tables, each written [[{key}]]")
        return []
    for index, table in enumerate(tables):
        if isinstance(table.get("name"), str):
            reader.names[(key, index)] = table["name"]
    return [((key, index), table) for index, table in enumerate(tables)]


def _read_links(document: Mapping[str, Any], reader: TableReader, plugins: Plugins) -> list[LinkConfig]:
    links: list[LinkConfig] = []
    policies: list[tuple[KeyPath, LinkPolicy]] = []
    taken: dict[str, KeyPath] = {}
    tables = _tables(document, reader, "link")
    for path, table in tables:
        own = _plugin_settings(table, reader, path, "transport", plugins)
        if own is None:
            continue
        rate = {"rate_bps": own["rate_bps"]} if "rate_bps" in own else {}  # a transport may need to know its own rate
        values = reader.read(table, {**own, **LINK, **rate}, path)
        _refuse_second(values.get("name"), reader, path, taken)
        problems_before = len(reader.problems)
        if LINK.keys() <= values.keys():
            check_policy(values, reader, path)
        plugin_table = {key: values[key] for key in own if key in values}
        _try_build(plugins.transport(table["transport"]), plugin_table, own, reader, path)
        if len(reader.problems) == problems_before and LINK.keys() <= values.keys():
            policies.append((path, link_policy(values)))
            links.append(
                LinkConfig(
                    name=values["name"],
                    transport=values["transport"],
                    table=plugin_table,
                    rate_bps=None if rate else values["rate_bps"] or None,
                    policy=policies[-1][1],
                    is_listener=any(plugin_table.get(key) for key in LINK_TABLE_KEYS),
                    kind=values["kind"],
                    quiet_hours=parse_quiet_hours(values["quiet_hours"]),
                    has_metered=values["metered"] is not None or values["ask_cost"],
                )
            )
    if len(links) == len(tables):
        refuse_undeliverable(policies, reader)
    return links


def _read_auto_remotes(section: Mapping[str, Any], links: Sequence[LinkConfig], reader: TableReader) -> tuple[str, ...]:
    """Addresses for links that are made as interfaces come: stated, or those of the links there are."""
    if not section.get("auto"):
        return ()
    remotes = section.get("remote") or [
        remote for link in links if link.transport == AUTO_TRANSPORT for remote in link.table.get("remote", ())
    ]
    if not remotes and not reader.problems:
        reader.add(
            ("links", "auto"), '= true is not possible: no link over UDP has a remote; give remote = "HOST:PORT"'
        )
    return tuple(dict.fromkeys(remotes))


def _read_drivers(
    document: Mapping[str, Any], reader: TableReader, plugins: Plugins, link_names: Sequence[str] | None
) -> list[DriverConfig]:
    """``link_names``: those that a driver may speak of; None: any, for more may come."""
    drivers: list[DriverConfig] = []
    taken: dict[str, KeyPath] = {}
    for path, table in _tables(document, reader, "driver"):
        own = _plugin_settings(table, reader, path, "kind", plugins)
        if own is None:
            continue
        values = reader.read(table, {**own, **DRIVER}, path)
        _refuse_second(values.get("name"), reader, path, taken)
        plugin_table = {key: values[key] for key in own if key in values}
        for key in [key for key, value in plugin_table.items() if own[key].names_link and value]:
            if link_names is not None and plugin_table[key] not in link_names:
                allowed = ", ".join(link_names) or "none, there is no [[link]]"
                reader.add((*path, key), f"= {plugin_table[key]!r} names no link; allowed: {allowed}")
        _try_build(plugins.driver(table["kind"]), plugin_table, own, reader, path)
        if DRIVER.keys() <= values.keys():
            drivers.append(
                DriverConfig(name=values["name"], kind=values["kind"], flow=values["flow"], table=plugin_table)
            )
    return drivers


def _read_limits(document: Mapping[str, Any], reader: TableReader) -> list[ReadingLimit]:
    limits: list[ReadingLimit] = []
    for path, table in _tables(document, reader, "limit"):
        values = reader.read(table, LIMIT, path)
        if LIMIT.keys() <= values.keys():
            try:
                limits.append(reading_limit(values))
            except ValueError as error:
                reader.add(path, f"is not possible: {error}")
    return limits


def _read_layers(document: Mapping[str, Any], reader: TableReader, role: str) -> list[MapLayer]:
    layers: list[MapLayer] = []
    taken: dict[str, KeyPath] = {}
    for path, table in _tables(document, reader, "layer"):
        values = reader.read(table, LAYER, path)
        _refuse_second(values.get("name"), reader, path, taken)
        if role != COMMAND:
            reader.add(path, 'is not possible: only the page of role = "command" has a map')
        given = [key for key in ("file", "folder") if key in table]
        if len(given) != 1:
            reader.add(path, "is not possible: give exactly one of file and folder")
            continue
        [key] = given
        if key not in values:
            continue
        opener, allowed = (open_archive, ARCHIVE_ALLOWED) if key == "file" else (open_folder, FOLDER_ALLOWED)
        try:
            source = opener(Path(values[key]))
        except LayerError as error:
            reader.add((*path, key), f"= {show(table[key])}: {error}; allowed: {allowed}")
            continue
        if LAYER.keys() <= values.keys():
            texts = {name: values[name] for name in ("name", "datum", "approval", "attribution")}
            layers.append(MapLayer(source=source, **texts))
    return layers


def _plugin_settings(
    table: Mapping[str, Any], reader: TableReader, path: KeyPath, word: str, plugins: Plugins
) -> Mapping[str, Setting] | None:
    """The plugin's own SETTINGS; None, with the problem noted, when there is no such plugin."""
    name = table.get(word)
    available = sorted(plugins.transports if word == "transport" else plugins.drivers)
    if not isinstance(name, str):
        text = "is missing" if name is None else f"= {show(name)}"
        reader.add((*path, word), f"{text}: allowed: {', '.join(available)}")
        return None
    try:
        plugin = plugins.transport(name) if word == "transport" else plugins.driver(name)
    except PluginUnknownError as error:
        reader.add((*path, word), f"= {show(name)}: {error}")
        return None
    return plugin.SETTINGS


def _refuse_second(name: str | None, reader: TableReader, path: KeyPath, taken: dict[str, KeyPath]) -> None:
    if name is None:
        return
    first = taken.setdefault(name, path)
    if first is not path:
        line = reader.lines.get((*first, "name"), 0)
        reader.refuse((*path, "name"), name, f"a name of its own; line {line} has this one already")


def _try_build(
    plugin: type[Any],  # Any: a Transport or a Driver, whose constructors are alike
    table: Mapping[str, Any],
    own: Mapping[str, Setting],
    reader: TableReader,
    path: KeyPath,
) -> None:
    """Construct the plugin once, because rules between keys ("remote or listen") are known to its constructor only."""
    if own.keys() <= table.keys():
        try:
            plugin(table)
        except ValueError as error:
            reader.add(path, f"is not possible: {error}")
