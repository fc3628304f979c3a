"""Which interfaces get a link of their own, what it is called, and what it may carry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_agent.auto_links import AUTO_LINKS_MAX, AutoLinks
from edge_agent.config import Config, LinkConfig, load_config
from edge_agent.config_tables import ConfigError
from edge_agent.core.limits import LinkPolicy
from edge_agent.interfaces import Interface, InterfaceWatch
from edge_agent.registry import Plugins
from transports.udp import UdpTransport

PLUGINS = Plugins(transports={"udp": lambda: UdpTransport})
HEAD = '[node]\nid = "kit-1"\n[security]\nsecret_file = "secret.key"\n'
REMOTE = '[[link]]\nname = "4g"\ntransport = "udp"\nremote = ["198.51.100.7:7000", "post.example:7000"]\n'
REMOTE += 'bind_interface = "wwan0"\n'


def read(folder: Path, text: str) -> Config:
    (folder / "secret.key").touch(mode=0o600)
    (folder / "kit.toml").write_text(HEAD + text)
    return load_config(folder / "kit.toml", PLUGINS)


def watch_of(*interfaces: Interface) -> InterfaceWatch:
    watch = InterfaceWatch.__new__(InterfaceWatch)
    watch.interfaces = {each.index: each for each in interfaces}
    return watch


def interface(index: int, name: str, **changes: Any) -> Interface:  # Any: fields of an Interface
    fields: Mapping[str, Any] = {"carries": True, "addresses": {f"10.7.{index}.2"}, "default_routes": {2}, **changes}
    return Interface(index, name, **fields)


async def nobody(link: LinkConfig) -> None:
    raise AssertionError("not run here")


def made(config: Config, *rounds: InterfaceWatch) -> list[list[LinkConfig]]:
    links = AutoLinks(config, UdpTransport, nobody)
    return [links.wanted(watch) for watch in rounds]


def test_an_interface_that_leads_out_gets_one_link_of_a_policy_nobody_described(tmp_path: Path) -> None:
    config = read(tmp_path, f"[links]\nauto = true\n{REMOTE}")
    [[link], again] = made(config, *[watch_of(interface(3, "enx0A"))] * 2)
    assert again == []
    assert (link.name, link.transport, link.policy, link.is_listener) == ("enx0a", "udp", LinkPolicy(), False)
    assert link.table["bind_interface"] == "enx0A"
    assert link.table["remote"] == ["198.51.100.7:7000", "post.example:7000"]
    UdpTransport(link.table)


@pytest.mark.parametrize(
    "other",
    [
        interface(3, "wwan0"),
        interface(3, "docker0", default_routes=set()),
        interface(3, "eth7", addresses=set()),
        interface(3, "eth7", carries=False),
        interface(3, "lo", is_loopback=True),
    ],
)
def test_interfaces_of_other_links_and_those_that_lead_nowhere_get_none(tmp_path: Path, other: Interface) -> None:
    config = read(tmp_path, f"[links]\nauto = true\n{REMOTE}")
    assert made(config, watch_of(other)) == [[]]


def test_names_are_free_and_their_number_is_bounded(tmp_path: Path) -> None:
    config = read(tmp_path, f"[links]\nauto = true\n{REMOTE}".replace('"4g"', '"usb0"'))
    many = [interface(3, "usb0"), *[interface(at, f"usb{at}") for at in range(4, 40)]]
    [links] = made(config, watch_of(*many))
    assert links[0].name == "usb0-2"
    assert len(links) == AUTO_LINKS_MAX == len({link.name for link in links})


def test_the_interface_by_which_an_unbound_link_leaves_gets_none(tmp_path: Path) -> None:
    unbound = REMOTE.replace("198.51.100.7", "127.0.0.1").replace('bind_interface = "wwan0"\n', "")
    config = read(tmp_path, f"[links]\nauto = true\n{unbound}")
    assert made(config, watch_of(interface(3, "eth0", addresses={"127.0.0.1"}))) == [[]]


def test_addresses_may_be_stated_and_none_at_all_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, f"[links]\n{REMOTE}").auto_remotes == ()
    assert read(tmp_path, '[links]\nauto = true\nremote = "198.51.100.9:1"\n').auto_remotes == ("198.51.100.9:1",)
    with pytest.raises(ConfigError, match=r"kit.toml:6: links.auto = true is not possible: no link over UDP"):
        read(tmp_path, "[links]\nauto = true\n")
    with pytest.raises(ConfigError, match=r'links.remote = \["nowhere"\]: allowed: addresses "HOST:PORT"'):
        read(tmp_path, '[links]\nauto = true\nremote = ["nowhere"]\n')
