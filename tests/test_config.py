"""A wrong configuration is told whole: file, line, key, value, what is allowed; a right one becomes typed values."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from edge_agent.addresses import HostPort
from edge_agent.config import load_api_address, load_config
from edge_agent.config_tables import ConfigError
from edge_agent.core.bundle import FlowOrder, Precedence
from edge_agent.flows import FlowTable
from edge_agent.ports import DriverPort, Setting, Table, TransportPort
from edge_agent.registry import Plugins, installed_plugins

CONFIGS = Path(__file__).parents[1] / "config"


class Pigeon:
    """A stranger's transport."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "remote": Setting(kind=str, allowed="where to", default=""),
        "listen": Setting(kind=str, allowed="where at", default=""),
        "wings": Setting(kind=int, allowed="1 to 4", default=2, accepts=lambda wings: 1 <= wings <= 4),
    }

    def __init__(self, table: Table) -> None:
        if bool(table["remote"]) == bool(table["listen"]):
            raise ValueError("give exactly one of remote and listen")

    async def run(self, port: TransportPort) -> None:
        """Never called here."""


class Telegraph(Pigeon):
    """A transport that must know its own rate."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        **Pigeon.SETTINGS,
        "rate_bps": Setting(kind=float, allowed="10 to 100", default=50.0, accepts=lambda bps: 10 <= bps <= 100),
    }


class Nose:
    """A stranger's driver."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "port": Setting(kind=str, allowed="a device", is_path=True),
        "link": Setting(kind=str, allowed="the name of a [[link]]", default="", names_link=True),
        "map": Setting(
            kind=list, allowed="tables with smell", default=[], accepts=lambda m: all(e["smell"] for e in m)
        ),
    }

    def __init__(self, table: Table) -> None:
        self.table = table

    async def run(self, port: DriverPort) -> None:
        """Never called here."""


PLUGINS = Plugins(transports={"pigeon": lambda: Pigeon, "telegraph": lambda: Telegraph}, drivers={"nose": lambda: Nose})

RIGHT = """
[node]
id = "kit-1"
number = 7
name = "Rescue team 1"
[security]
secret_file = "secret.key"
[api]
listen = "127.0.0.1:8440"
[web]
listen = "[::1]:8080"
[[link]]
name = "a"
transport = "pigeon"
remote = "north"
rate_bps = 9600
precedences = ["flash", "routine"]
bytes_per_day = 1000
metered = false
kind = "satellite"
[[link]]
name = "b"
transport = "telegraph"
listen = "south"
[[flow]]
name = "gas*"
precedence = "deferred"
[[driver]]
name = "nose"
kind = "nose"
flow = "gas"
port = "dev/nose"
"""


def write(folder: Path, text: str) -> Path:
    """A configuration file with a secret beside it."""
    path = folder / "kit.toml"
    path.write_text(text)
    secret = folder / "secret.key"
    secret.touch()
    secret.chmod(0o600)
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, PLUGINS)
    return str(caught.value).replace(str(folder) + os.sep, "").splitlines()


def test_a_right_file_becomes_typed_values(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, RIGHT), PLUGINS)
    assert (config.node_id, config.number, config.role) == ("kit-1", 7, "kit")
    assert config.data_dir == tmp_path / "var/kit-1"
    assert config.secret_file == tmp_path / "secret.key"
    assert config.api == HostPort(host="127.0.0.1", port=8440)
    assert config.web == "[::1]:8080"
    first, second = config.links
    assert first.rate_bps == 9600
    assert first.policy.precedences == {Precedence.FLASH, Precedence.ROUTINE}
    assert (first.policy.bytes_per_day, first.policy.metered, first.is_listener) == (1000, False, False)
    assert (first.kind, second.kind) == ("satellite", "")
    assert first.table == {"remote": "north", "listen": "", "wings": 2}
    assert (second.policy.metered, second.policy.bytes_per_day, second.is_listener) == (False, None, True)
    assert second.table["rate_bps"] == 50.0
    assert second.rate_bps is None  # the transport says its rate itself
    assert config.drivers[0].table["port"] == str(tmp_path / "dev/nose")


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """[node]
id = "Kit 1"
nmae = "x"
number = "seven"
[security]
secret_file = "missing.key"
[api]
listen = "0.0.0.0:8440"
[web]
listen = "192.168.1.5:8080"
[[link]]
name = "a"
transport = "pigeon"
remote = "x"
listen = "y"
[[link]]
name = "a"
transport = "pigeon"
remote = "x"
wings = 9
rate_bps = -5
precedences = ["flash", "flush"]
kind = "fast"
[[link]]
transport = "pidgin"
[[flow]]
name = "gas"
order = "sideways"
[[driver]]
name = "nose"
kind = "nose"
map = [{ smell = true }, {}]
[extra]
"""
    told = problems_of(tmp_path, text)
    for expected in (
        'kit.toml:2: node.id = "Kit 1": allowed: 1 to 32 of a-z 0-9',
        'kit.toml:3: node.nmae = "x": unknown key; did you mean name? allowed: data_dir, id, level, name, number',
        'kit.toml:4: node.number = "seven": allowed: an integer: 0 to 65535',
        'kit.toml:6: security.secret_file = "missing.key": allowed: an existing file of mode 0600',
        'kit.toml:8: api.listen = "0.0.0.0:8440": allowed: a loopback address such as 127.0.0.1:8440',
        'kit.toml:10: web.listen = "192.168.1.5:8080": allowed: a loopback address',
        "kit.toml:11: link[a] is not possible: give exactly one of remote and listen",
        'kit.toml:17: link[a].name = "a": allowed: a name of its own; line 12 has this one already',
        "kit.toml:20: link[a].wings = 9: allowed: 1 to 4",
        "kit.toml:21: link[a].rate_bps = -5: allowed: bits a second",
        'kit.toml:22: link[a].precedences = ["flash", "flush"]: allowed: one or more of flash, immediate',
        'kit.toml:23: link[a].kind = "fast": allowed: wired, cellular, radio, satellite',
        'kit.toml:25: link[#3].transport = "pidgin": no transport of this name is installed; available: pigeon',
        'kit.toml:28: flow[gas].order = "sideways": allowed: fifo, newest, latest',
        "kit.toml:29: driver[nose].port is missing: allowed: a device",
        "kit.toml:32: driver[nose].map = [{smell = true}, {}]: allowed: tables with smell",
        "kit.toml:33: extra is unknown: allowed: node, security",
    ):
        assert any(line.startswith(expected) for line in told), (expected, told)
    assert len(told) == 17
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[node]\nid = \n", "kit.toml:2: is not valid TOML: Invalid value"),
        ("[node]\nid = 'a'\nid = 'b'\n", "kit.toml:3: is not valid TOML: Cannot overwrite a value"),
        ("node = 3\nlink = 4\n", "kit.toml:1: node = 3: allowed: a table, written [node]"),
        ("[[link]]\nname = 'a'\n", "kit.toml:1: link[a].transport is missing: allowed: pigeon, telegraph"),
        ("[node]\nid = 'command'\n", 'kit.toml:2: node.id = "command": allowed: only with role = "command"'),
        ("[api]\nlisten = '127.0.0.1:99999'", 'kit.toml:2: api.listen = "127.0.0.1:99999": allowed:'),
        (f"[api]\nlisten = 'unix:{'x' * 120}'", 'kit.toml:2: api.listen = "unix:'),
        ("[store]\nquota_bytes = 1.5e9", "kit.toml:2: store.quota_bytes = 1500000000.0: allowed: an integer"),
        ("[store]\nquota_bytes = true", "kit.toml:2: store.quota_bytes = true: allowed: an integer"),
    ],
)
def test_one_problem_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems_of(tmp_path, text))


def test_bytes_that_are_not_text_and_missing_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "kit.toml"
    with pytest.raises(ConfigError, match=r"kit\.toml: cannot be read: No such file"):
        load_config(path, PLUGINS)
    path.write_bytes(b"[node]\nid = '\xff'\n")
    with pytest.raises(ConfigError, match=r"kit\.toml:2: is not UTF-8 text: byte 0xff"):
        load_config(path, PLUGINS)


def test_the_api_address_is_read_without_plugins_or_secret(tmp_path: Path) -> None:
    path = tmp_path / "kit.toml"
    path.write_text('[node]\nid = "kit-1"\n[security]\nsecret_file = "nowhere"\n[api]\nlisten = "unix:a.sock"\n')
    assert load_api_address(path) == tmp_path / "a.sock"
    path.write_text('[node]\nid = "k"\n[security]\nsecret_file = "x"\n')
    assert load_api_address(path) == tmp_path / "var/k/api.sock"


def test_flows_take_what_they_leave_out_from_the_built_in_table(tmp_path: Path) -> None:
    flows = FlowTable(load_config(write(tmp_path, RIGHT), PLUGINS).flows)
    assert flows.terms("gas.co").precedence is Precedence.DEFERRED
    assert flows.terms("gas.co").order is FlowOrder.FIFO
    assert flows.terms("position").order is FlowOrder.NEWEST
    assert flows.terms("sos").precedence is Precedence.FLASH
    assert flows.terms("report").order is FlowOrder.LATEST


@pytest.mark.parametrize("name", ["portable-kit", "vehicle", "command-post", "ci"])
def test_shipped_configurations_are_right(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, (CONFIGS / f"{name}.toml").read_text())
    assert load_config(path, installed_plugins()).file == path


def test_a_url_where_a_path_may_stand_stays_a_url(tmp_path: Path) -> None:
    text = RIGHT.replace('"dev/nose"', '"rtsp://kit:pw@10.0.0.2:554/live"')
    (driver,) = load_config(write(tmp_path, text), PLUGINS).drivers
    assert driver.table["port"] == "rtsp://kit:pw@10.0.0.2:554/live"


def test_command_nodes_groups_and_level_become_typed_values(tmp_path: Path) -> None:
    """A node is no other of its own; wrong ones are told with what is allowed."""
    extra = """
[command]
others = ["cp-2", "kit-1"]
escalate_after_s = 90
[[group]]
name = "coast"
units = ["kit-1", "boat-*"]
"""
    config = load_config(write(tmp_path, RIGHT.replace("number = 7", 'number = 7\nlevel = "city"') + extra), PLUGINS)
    assert (config.level, config.others, config.escalate_after_s) == ("city", ("cp-2",), 90.0)
    (group,) = config.groups
    assert group.members(["boat-2", "boat-1", "hill-1"]) == ["kit-1", "boat-1", "boat-2"]
    plain = load_config(write(tmp_path, RIGHT), PLUGINS)
    assert (plain.level, plain.others, plain.escalate_after_s, plain.groups) == ("", (), 60.0, ())
    wrong = '[command]\nothers = ["No Node"]\nescalate_after_s = 1\n[[group]]\nname = "x"\nunits = []\n'
    told = "\n".join(problems_of(tmp_path, RIGHT.replace("number = 7", 'level = "village"') + wrong))
    for words in (
        "allowed: county, city, province",
        "ids of command nodes",
        "allowed: 5 to 3600 seconds",
        "one or more ids of units",
    ):
        assert words in told


def test_a_post_copies_to_each_other_one_once_and_never_to_all_by_one_name(tmp_path: Path) -> None:
    text = (CONFIGS / "command-post.toml").read_text()
    right = f'{text}\n[command]\ncopies_to = ["city-1", "command-county", "county-2", "city-1"]\n'
    config = load_config(write(tmp_path, right), installed_plugins())
    assert config.copies_to == ("city-1", "command-county", "county-2")
    wrong = right.replace('"county-2"', '"command"')
    with pytest.raises(ConfigError, match=r'copies_to = "command": allowed: ids that mean one post each'):
        load_config(write(tmp_path, wrong), installed_plugins())


def test_only_a_command_node_copies(tmp_path: Path) -> None:
    text = (CONFIGS / "portable-kit.toml").read_text()
    with pytest.raises(ConfigError, match=r'command\.copies_to = .*only with role = "command"'):
        load_config(write(tmp_path, f'{text}\n[command]\ncopies_to = ["city-1"]\n'), installed_plugins())


def test_a_kit_names_the_levels_it_reports_to(tmp_path: Path) -> None:
    def config(line: str, role: str = "kit") -> str:
        return RIGHT.replace("[node]\n", f'[node]\nrole = "{role}"\n{line}\n', 1)

    assert load_config(write(tmp_path, config("")), PLUGINS).reports_to == ()
    assert load_config(write(tmp_path, config('reports_to = "city"')), PLUGINS).reports_to == ("city",)
    both = load_config(write(tmp_path, config('reports_to = ["city", "county", "city"]')), PLUGINS)
    assert both.reports_to == ("county", "city")
    for wrong in ('"town"', '["city", 3]', "[]"):
        (problem,) = problems_of(tmp_path, config(f"reports_to = {wrong}"))
        assert "node.reports_to" in problem
        assert "allowed: one or more of county, city, province" in problem
    (problem,) = problems_of(tmp_path, config('reports_to = ["city"]', "command"))
    assert 'node.reports_to = ["city"]: allowed: only with role = "kit" or "relay"' in problem


def test_a_driver_may_speak_of_links_that_are_there_only(tmp_path: Path) -> None:
    load_config(write(tmp_path, RIGHT + 'link = "b"\n'), PLUGINS)
    (problem,) = problems_of(tmp_path, RIGHT + 'link = "4g"\n')
    assert problem.startswith("kit.toml:")
    assert problem.endswith("driver[nose].link = '4g' names no link; allowed: a, b")


def test_a_driver_may_speak_of_any_link_where_links_are_made_as_modems_come(tmp_path: Path) -> None:
    text = RIGHT + 'link = "wwan0"\n[links]\nauto = true\nremote = "192.0.2.1:7000"\n'
    assert load_config(write(tmp_path, text), PLUGINS).drivers[0].table["link"] == "wwan0"
