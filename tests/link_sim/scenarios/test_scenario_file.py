"""Scenario files: words become numbers; what is wrong is said with file, line, key, value and what is allowed."""

from pathlib import Path

import pytest

from edge_agent.config_tables import ConfigError
from link_sim.durations import seconds
from link_sim.errors import ProfileError
from link_sim.scenarios.file import load_scenario

SOUND = """
duration = "120s"
[[node]]
id = "command"
role = "command"
[[node]]
id = "kit-1"
[[link]]
name = "a"
from = "kit-1"
to = "command"
causes = ["rain"]
[[link]]
name = "b"
from = "kit-1"
to = "command"
causes = ["rain"]
up = { rate_bps = 9600 }
[[traffic]]
from = "kit-1"
flow = "text"
every = "2s"
"""


DRIVE = f"""{SOUND}
[[link]]
name = "c"
from = "kit-1"
to = "command"
profile = "4g-driving"
"""


def load(tmp_path: Path, text: str, name: str = "tried.toml") -> object:
    path = tmp_path / name
    path.write_text(text)
    return load_scenario(path)


@pytest.mark.parametrize(
    ("text", "expected_s"), [("250ms", 0.25), ("60s", 60.0), ("1h30m", 5400.0), ("1.5 s", 1.5), ("2d", 172_800.0)]
)
def test_durations_in_words(text: str, expected_s: float) -> None:
    assert seconds(text) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(60, 'write "60s"'), ("-8s", 'write "8s"'), ("8 parsecs", "allowed"), ("", "allowed"), ("1s2", "allowed")],
)
def test_durations_without_sense_say_what_to_write(wrong: object, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        seconds(wrong)


def test_a_sound_file_is_read_whole(tmp_path: Path) -> None:
    scenario = load_scenario(
        _file(tmp_path, SOUND + _step('at = "10s"\nevery = "30s"\ncount = 3\ncause = "rain"\noutage = "4s"'))
    )
    assert [link.name for link in scenario.links] == ["a", "b"]
    assert scenario.links[1].path.up.rate_bps == 9600
    assert [(step.at_s, step.links) for step in scenario.steps] == [(at_s, ("a", "b")) for at_s in (10, 40, 70)]


def test_what_a_step_sets_goes_with_the_numbers_that_the_link_has_by_then(tmp_path: Path) -> None:
    steps = (
        ("30s", "b", "set = { jitter_s = 0.2 }"),
        ("20s", "b", "set = { delay_s = 0.3 }"),
        ("9s", "c", "set = { rate_schedule = [], rate_bps = 64000 }"),
    )
    text = DRIVE + "".join(_step(f'at = "{at}"\nlink = "{link}"\n{does}') for at, link, does in steps)
    assert len(load_scenario(_file(tmp_path, text)).steps) == 3
    text += _step('at = "25s"\nlink = "b"\nrestore = true')
    with pytest.raises(ConfigError, match=r"step\[#1\]\.set on b up: jitter_s 0\.2"):
        load_scenario(_file(tmp_path, text))


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tried.toml"
    path.write_text(text)
    return path


def _step(text: str) -> str:
    return f"\n[[step]]\n{text}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('duration = 120\n[[node]]\nid = "a"', "tried.toml:1: duration = 120: allowed: text: a duration with its unit"),
        ('duration = "-3s"\n[[node]]\nid = "a"', 'tried.toml:1: duration = "-3s"'),
        (
            SOUND + '\n[[link]]\nname = "c"\nfrom = "kit-9"\nto = "command"',
            '[c].from = "kit-9": allowed: command, kit-1',
        ),
        (SOUND + '\n[[link]]\nname = "a"\nfrom = "kit-1"\nto = "command"', "a name that no other link of kit-1 has"),
        (SOUND + '\n[[link]]\nname = "c"\nfrom = "kit-1"\nto = "command"\nprofile = "nope"', "profile 'nope'"),
        (SOUND + '\n[[link]]\nname = "c"\nfrom = "kit-1"\nto = "command"\nup = { delay_s = -1 }', "delay_s -1"),
        (SOUND + '\n[[link]]\nname = "c"\nfrom = "kit-1"\nto = "command"\ndown = { speed = 1 }', "speed is not known"),
        (SOUND + _step('at = "1s"\nlink = "a"'), "does nothing: one of outage, set, restore, crash, unplug"),
        (SOUND + _step('at = "1s"\nlink = "a"\noutage = "1s"\nrestore = true'), "does outage and restore"),
        (SOUND + _step('at = "1s"\nlink = "z"\noutage = "1s"'), '.link = "z": allowed: a, b'),
        (SOUND + _step('at = "1s"\ncause = "snow"\noutage = "1s"'), '.cause = "snow": allowed: rain'),
        (SOUND + _step('at = "1s"\nlink = "a"\ncause = "rain"\noutage = "1s"'), "has link and cause"),
        (SOUND + _step('at = "1s"\nlink = "a"\nset = { rate_bps = "fast" }'), "rate_bps 'fast' is not a whole number"),
        (
            DRIVE + _step('at = "9s"\nlink = "c"\nset = { rate_bps = 64000 }'),
            "step[#1].set on c up: rate_bps and rate_schedule: one of them says the rate; rate_schedule = [] beside it",
        ),
        (
            SOUND + _step('at = "9s"\nlink = "b"\ndirection = "down"\nset = { jitter_s = 9.0 }'),
            "step[#1].set on b down: jitter_s 9.0: allowed is 0 to delay_s (0.0)",
        ),
        (SOUND + _step('at = "1s"\nlink = "a"\noutage = "1s"\ncount = 2'), "every is missing"),
        (SOUND + _step('at = "1s"\nnode = "kit-7"\ncrash = "1s"'), '.node = "kit-7"'),
        (SOUND + _step('at = "1s"\nlink = "a"\nunplug = "1s"'), "at which node"),
        (
            SOUND + _step('at = "1s"\nlink = "a"\noutage = "9s"') + _step('at = "5s"\ncause = "rain"\noutage = "1s"'),
            "make them one",
        ),
        (SOUND + '\n[[check]]\nkind = "gap_below"', "within is missing"),
        (SOUND + '\n[[check]]\nkind = "fast"', 'kind = "fast": allowed: delivered, delivered_within'),
        (SOUND + '\n[[check]]\nkind = "sent_below"\nlink = "z"', 'link = "z": allowed: a, b'),
        (SOUND + '\n[[nodes]]\nid = "x"', "did you mean node?"),
        (SOUND + '\n[[node]]\nid = "kit-1"', "an id that no other node has"),
        ("duration = ", "tried.toml: "),
    ],
)
def test_each_fault_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert said in str(raised.value)


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    text = SOUND + _step('at = "x"\nlink = "a"\noutage = "1s"') + '\n[[check]]\nkind = "fast"'
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert len(raised.value.problems) == 2
    assert all(problem.line > 20 for problem in raised.value.problems)
