"""What a configuration says of a node's page: who may frame it, what the operation is called, limits of readings."""

from pathlib import Path

import pytest

from edge_agent.command.limits import ReadingLimit
from edge_agent.config import load_config
from edge_agent.registry import Plugins
from tests.test_config import problems_of, write

PLUGINS = Plugins(transports={}, drivers={})
NODE = '[node]\nid = "command"\nrole = "command"\n[security]\nsecret_file = "secret.key"\n'


def test_a_page_has_its_operation_its_frames_and_its_limits(tmp_path: Path) -> None:
    text = f"""{NODE}[web]
listen = "127.0.0.1:8080"
operation = "台风抢险"
frame_ancestors = ["http://127.0.0.1:8090", "http://[::1]:1", "https://localhost:443"]
[[limit]]
series = "ch4"
high = 1
[[limit]]
series = "water *"
unit = "kit-*"
low = 0.5
"""
    config = load_config(write(tmp_path, text), PLUGINS)
    assert config.operation == "台风抢险"
    assert config.frame_ancestors == ("http://127.0.0.1:8090", "http://[::1]:1", "https://localhost:443")
    assert config.limits == (
        ReadingLimit(series="ch4", limit=1.0),
        ReadingLimit(series="water *", unit="kit-*", limit=0.5, is_floor=True),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[web]\nframe_ancestors = ["http://192.168.1.5:80"]', "kit.toml:2: web.frame_ancestors = "),
        ('[web]\nframe_ancestors = ["http://127.0.0.1"]', "kit.toml:2: web.frame_ancestors = "),
        ('[web]\nframe_ancestors = ["http://127.0.0.1:1/x"]', "kit.toml:2: web.frame_ancestors = "),
        ('[web]\nframe_ancestors = ["file://127.0.0.1:1"]', "kit.toml:2: web.frame_ancestors = "),
        ('[web]\nframe_ancestors = ["*", 3]', "kit.toml:2: web.frame_ancestors = "),
        (f'[web]\noperation = "{"x" * 65}"', "kit.toml:2: web.operation = "),
        ('[[limit]]\nseries = "a"', "kit.toml:1: limit[#1] is not possible: give exactly one of high and low"),
        ('[[limit]]\nseries = "a"\nhigh = 1\nlow = 1', "kit.toml:1: limit[#1] is not possible: give exactly one"),
        ('[[limit]]\nseries = "a"\nhigh = 0', "kit.toml:3: limit[#1].high = 0: allowed: a number above 0"),
        ("[[limit]]\nhigh = 1", "kit.toml:1: limit[#1].series is missing: allowed: a series' name or a glob"),
    ],
)
def test_what_is_not_possible_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems_of(tmp_path, text))
