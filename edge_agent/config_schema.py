"""What each table of a configuration may hold: keys, kinds, defaults and what is allowed."""

from collections.abc import Mapping
from typing import Any

from edge_agent.addresses import UNIX_PREFIX, is_loopback, parse_host_port
from edge_agent.command.layers import ARCHIVE_ALLOWED, DATUMS, FOLDER_ALLOWED
from edge_agent.command.limits import ReadingLimit
from edge_agent.config_policy import POLICY, PRECEDENCE_WORDS
from edge_agent.core.bundle import LEVELS, LIFETIME_MAX_S, NODE_ID_PATTERN, FlowOrder, Precedence
from edge_agent.flows import FlowRule
from edge_agent.link_kinds import LinkKind
from edge_agent.ports import Setting

SECTIONS = (
    "node",
    "security",
    "store",
    "api",
    "web",
    "command",
    "links",
    "link",
    "flow",
    "driver",
    "limit",
    "layer",
    "group",
)
ROLES = ("kit", "relay", "command")
ORDER_WORDS = tuple(order.value for order in FlowOrder)
LINK_KINDS = tuple(kind.value for kind in LinkKind if kind)
LINK_TABLE_KEYS = ("listen",)
"""A transport's key that, when set, makes its link serve any number of peers."""


def _is_listen(text: str) -> bool:
    if text.startswith(UNIX_PREFIX):
        return len(text) > len(UNIX_PREFIX)
    return _is_host_port(text)


def _is_host_port(text: str) -> bool:
    parse_host_port(text)  # raises ValueError, which refuses
    return True


def _is_name(text: str) -> bool:
    return NODE_ID_PATTERN.fullmatch(text) is not None


def _are_own_origins(origins: list[object]) -> bool:
    return all(isinstance(origin, str) and _is_own_origin(origin) for origin in origins)


def _is_own_origin(origin: str) -> bool:
    scheme, _, address = origin.partition("://")  # whole, without a path: a browser compares it as it stands
    return scheme in ("http", "https") and is_loopback(parse_host_port(address))


_NAME_ALLOWED = "1 to 32 of a-z 0-9 . _ - starting with a letter or digit"

NODE: Mapping[str, Setting] = {
    "id": Setting(kind=str, allowed=_NAME_ALLOWED, accepts=_is_name),
    "number": Setting(kind=int, allowed="0 to 65535", default=0, accepts=lambda number: 0 <= number <= 65_535),
    "name": Setting(kind=str, allowed="at most 64 characters", default="", accepts=lambda name: len(name) <= 64),
    "role": Setting(kind=str, allowed=", ".join(ROLES), default="kit", accepts=lambda role: role in ROLES),
    "level": Setting(
        kind=str,
        allowed=f"{', '.join(LEVELS)}, of a command node; leave it out where there is one level",
        default="",
        accepts=lambda level: level in LEVELS,
    ),
    "reports_to": Setting(
        kind=list,
        allowed=f"one or more of {', '.join(LEVELS)}, of a kit or relay; leave it out for all",
        default=[],
        accepts=lambda levels: bool(levels) and all(level in LEVELS for level in levels),
        takes_one=True,
    ),
    "data_dir": Setting(kind=str, allowed="a folder this agent may write in", default="", is_path=True),
    "report_interval_s": Setting(
        kind=float, allowed="0.5 to 86400 seconds", default=30.0, accepts=lambda s: 0.5 <= s <= 86_400
    ),
}
SECURITY: Mapping[str, Setting] = {
    "secret_file": Setting(kind=str, allowed="a file of mode 0600", accepts=bool, is_path=True),
}
STORE: Mapping[str, Setting] = {
    "quota_bytes": Setting(
        kind=int,
        allowed="10_000_000 (10 MB) or more",
        default=1_000_000_000,
        accepts=lambda quota_bytes: quota_bytes >= 10_000_000,
    ),
}
API: Mapping[str, Setting] = {
    "listen": Setting(kind=str, allowed='"unix:PATH" or "127.0.0.1:PORT"', default="", accepts=_is_listen),
}
WEB: Mapping[str, Setting] = {
    "listen": Setting(kind=str, allowed='"127.0.0.1:PORT"', default="", accepts=_is_host_port),
    "operation": Setting(
        kind=str, allowed="at most 64 characters, shown on the page", default="", accepts=lambda name: len(name) <= 64
    ),
    "frame_ancestors": Setting(
        kind=list,
        allowed='origins of this machine that may show the page in a frame, such as "http://127.0.0.1:8090"',
        default=[],
        accepts=_are_own_origins,
    ),
}
COMMAND_NODES: Mapping[str, Setting] = {
    "others": Setting(
        kind=list,
        allowed="ids of command nodes that get a call for help nobody has confirmed",
        default=[],
        accepts=lambda names: all(isinstance(name, str) and _is_name(name) for name in names),
    ),
    "copies_to": Setting(
        kind=list,
        allowed="ids of command nodes, of this level and others, that show all that this one shows",
        default=[],
        accepts=lambda names: all(isinstance(name, str) and _is_name(name) for name in names),
    ),
    "escalate_after_s": Setting(
        kind=float, allowed="5 to 3600 seconds", default=60.0, accepts=lambda after_s: 5 <= after_s <= 3600
    ),
}
LINKS: Mapping[str, Setting] = {
    "auto": Setting(
        kind=bool,
        allowed="true for a link by each interface that comes with a default route and no link of its own, else false",
        default=False,
    ),
    "remote": Setting(
        kind=list,
        allowed='addresses "HOST:PORT" of the command post; leave it out for those of the links over UDP',
        default=[],
        accepts=lambda texts: bool(texts) and all(isinstance(text, str) and _is_host_port(text) for text in texts),
        takes_one=True,
    ),
}
GROUP: Mapping[str, Setting] = {
    "name": Setting(kind=str, allowed=_NAME_ALLOWED, accepts=_is_name),
    "units": Setting(
        kind=list,
        allowed="one or more ids of units, or globs of them",
        accepts=lambda names: bool(names) and all(isinstance(name, str) and 0 < len(name) <= 32 for name in names),
    ),
}
LINK: Mapping[str, Setting] = {
    "kind": Setting(kind=str, allowed=", ".join(LINK_KINDS), default="", accepts=lambda kind: kind in LINK_KINDS),
    "name": Setting(kind=str, allowed=_NAME_ALLOWED, accepts=_is_name),
    "transport": Setting(kind=str, allowed="the name of an installed transport"),
    "rate_bps": Setting(
        kind=float, allowed="bits a second, 50 to 1e10", default=0.0, accepts=lambda bps: 50 <= bps <= 1e10
    ),
    **POLICY,
}
FLOW: Mapping[str, Setting] = {
    "name": Setting(
        kind=str,
        allowed="a flow's name or a glob of at most 64 bytes",
        accepts=lambda name: 0 < len(name.encode()) <= 64,
    ),
    "order": Setting(kind=str, allowed=", ".join(ORDER_WORDS), default="", accepts=lambda word: word in ORDER_WORDS),
    "precedence": Setting(
        kind=str, allowed=", ".join(PRECEDENCE_WORDS), default="", accepts=lambda word: word in PRECEDENCE_WORDS
    ),
    "lifetime_s": Setting(
        kind=float,
        allowed=f"1 to {LIFETIME_MAX_S} seconds",
        default=0.0,
        accepts=lambda lifetime_s: 1 <= lifetime_s <= LIFETIME_MAX_S,
    ),
    "protected": Setting(
        kind=bool,
        allowed="true to send its short messages on two links, and hold 30 % of each where IMMEDIATE would take all",
        default=None,
    ),
}
DRIVER: Mapping[str, Setting] = {
    "name": Setting(kind=str, allowed=_NAME_ALLOWED, accepts=_is_name),
    "kind": Setting(kind=str, allowed="the name of an installed driver"),
    "flow": Setting(
        kind=str,
        allowed="a flow's name of at most 64 bytes",
        default="",
        accepts=lambda name: 0 < len(name.encode()) <= 64,
    ),
}

_BOUND_ALLOWED = "a number above 0, in the unit of the readings"
LIMIT: Mapping[str, Setting] = {
    "series": Setting(kind=str, allowed="a series' name or a glob", accepts=bool),
    "unit": Setting(kind=str, allowed="a unit's id or a glob", default="*", accepts=bool),
    "high": Setting(kind=float, allowed=_BOUND_ALLOWED, default=None, accepts=lambda limit: 0 < limit < 1e300),
    "life_threat": Setting(
        kind=bool, allowed="true where whoever is there is in danger beyond the limit, else false", default=False
    ),
    "low": Setting(kind=float, allowed=_BOUND_ALLOWED, default=None, accepts=lambda limit: 0 < limit < 1e300),
}

LAYER: Mapping[str, Setting] = {
    "name": Setting(kind=str, allowed="1 to 64 characters, shown on the map", accepts=lambda name: 0 < len(name) <= 64),
    "file": Setting(kind=str, allowed=ARCHIVE_ALLOWED, default="", accepts=bool, is_path=True),
    "folder": Setting(kind=str, allowed=FOLDER_ALLOWED, default="", accepts=bool, is_path=True),
    "datum": Setting(
        kind=str,
        allowed=f"{', '.join(DATUMS)}; tiles in GCJ-02 are up to 700 m off and have to be made anew in one of these",
        accepts=lambda datum: datum in DATUMS,
    ),
    "approval": Setting(
        kind=str,
        allowed="1 to 64 characters: the approval number of the map, shown on it",
        accepts=lambda number: 0 < len(number) <= 64,
    ),
    "attribution": Setting(
        kind=str, allowed="at most 128 characters, shown on the map", default="", accepts=lambda text: len(text) <= 128
    ),
}


def flow_rule(values: Mapping[str, Any]) -> FlowRule:
    """The rule of a checked [[flow]] table; what it leaves out stays open."""
    return FlowRule(
        pattern=values["name"],
        order=FlowOrder(values["order"]) if values["order"] else None,
        precedence=Precedence[values["precedence"].upper()] if values["precedence"] else None,
        lifetime_s=values["lifetime_s"] or None,
        protected=values["protected"],
    )


def reading_limit(values: Mapping[str, Any]) -> ReadingLimit:
    """The limit of a checked [[limit]] table. Raises ValueError when it says neither or both of high and low."""
    high, low = values["high"], values["low"]
    if (high is None) == (low is None):
        raise ValueError("give exactly one of high and low")
    is_floor = high is None
    return ReadingLimit(
        series=values["series"],
        unit=values["unit"],
        limit=low if is_floor else high,
        is_floor=is_floor,
        life_threat=values["life_threat"],
    )
