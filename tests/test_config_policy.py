"""Keys of cost and reserve: what they become, what they may not say, and what ``check`` warns of."""

import math
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.config import Config, load_config
from edge_agent.config_policy import parse_quiet_hours
from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import Standby
from tests.test_config import PLUGINS, problems_of, write

HEAD = '[node]\nid = "kit-1"\n[security]\nsecret_file = "secret.key"\n'
ALL = frozenset(Precedence)


def link(text: str = "", name: str = "a") -> str:
    return f'[[link]]\nname = "{name}"\ntransport = "pigeon"\nremote = "x"\n{text}\n'


def load(folder: Path, *links: str) -> Config:
    return load_config(write(folder, HEAD + "".join(links)), PLUGINS)


def test_every_key_of_a_policy_is_read(tmp_path: Path) -> None:
    text = """metered = true
cost_per_mb = 2.5
bytes_per_day = 1_000
bytes_per_month = 20_000
standby = "cold"
min_interval_s = 60
quiet_hours = "22:00-06:30"
largest_bundle_bytes = 4_096
rate_bps = 512_000
reserve_bps = 384_000"""
    (found,) = load(tmp_path, link(text)).links
    policy = found.policy
    assert (policy.metered, policy.cost_per_mb, policy.bytes_per_day, policy.bytes_per_month) == (
        True,
        2.5,
        1_000,
        20_000,
    )
    assert policy.reserve_bps == 384_000.0
    assert (policy.standby, policy.min_interval_s, policy.largest_bundle_bytes) == (Standby.COLD, 60.0, 4_096)
    assert policy.precedences == ALL
    assert found.quiet_hours is not None
    assert [found.quiet_hours.holds(60 * hour + 29) for hour in (21, 22, 6, 7)] == [False, True, True, False]


def test_a_described_link_is_free_and_one_to_ask_about_is_not(tmp_path: Path) -> None:
    plain, asked = load(tmp_path, link(), link("ask_cost = true", "b")).links
    assert (plain.policy.metered, plain.has_metered, plain.policy.day_budget_bytes) == (False, False, None)
    assert (asked.policy.metered, asked.has_metered, asked.policy.day_budget_bytes) == (None, True, 20_000_000)


@pytest.mark.parametrize("text", ["22:00", "24:00-06:00", "22:00-22:00", "22:60-23:00", "22-6", ""])
def test_quiet_hours_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (told,) = problems_of(tmp_path, HEAD + link(f'quiet_hours = "{text}"'))
    assert told.startswith(f'kit.toml:9: link[a].quiet_hours = "{text}": allowed: "HH:MM-HH:MM" by the clock of this')


def test_quiet_hours_of_one_day_end_on_it() -> None:
    hours = parse_quiet_hours("01:00-02:00")
    assert hours is not None
    assert hours.minutes == set(range(60, 120))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'precedences = ["immediate"]',
            'link[a].precedences = ["immediate"]: allowed: a list with "flash", or forbid_flash = true beside it:'
            " nobody could call for help by this link",
        ),
        (
            'precedences = ["flash"]\nforbid_flash = true',
            'link[a].forbid_flash = true: allowed: false, or precedences without "flash"',
        ),
        (
            "ask_cost = true\nmetered = true",
            "link[a].ask_cost = true: allowed: only without metered: a link is described here or by a person",
        ),
        (
            "bytes_per_day = 2_000\nbytes_per_month = 1_000",
            "link[a].bytes_per_day = 2000: allowed: at most bytes_per_month (1000)",
        ),
        ('standby = "lukewarm"', 'link[a].standby = "lukewarm": allowed: hot, warm, cold'),
        (
            "rate_bps = 512_000\nreserve_bps = 500_000",
            "link[a].reserve_bps = 500000: allowed: 0 to nine tenths of rate_bps (512000)",
        ),
        (
            "rate_bps = 2_000_000\nreserve_bps = 1_900_000.5",
            "link[a].reserve_bps = 1900000.5: allowed: 0 to nine tenths of rate_bps (2000000)",
        ),
        (
            "reserve_bps = 1_000",
            "link[a].reserve_bps = 1000: allowed: 0 to nine tenths of rate_bps, which has to stand beside it",
        ),
        ("min_interval_s = -1", "link[a].min_interval_s = -1: allowed: 0 to 86400 seconds"),
        ("largest_bundle_bytes = 10", "link[a].largest_bundle_bytes = 10: allowed: 64 or more"),
        ("bytes_per_month = -5", "link[a].bytes_per_month = -5: allowed: 0 or more; leave it out for no budget"),
    ],
)
def test_what_a_policy_may_not_say_is_told_with_its_key(tmp_path: Path, text: str, expected: str) -> None:
    told = problems_of(tmp_path, HEAD + link(text) + link(name="b"))
    assert len(told) == 1
    assert expected in told[0]


def test_a_set_of_links_that_leaves_a_precedence_out_is_refused(tmp_path: Path) -> None:
    urgent = 'precedences = ["flash", "immediate"]'
    told = problems_of(tmp_path, HEAD + link(urgent) + link(urgent, "b"))
    assert [line.split(" = ")[0] for line in told] == [
        f'kit.toml:14: link[b].precedences leaves out "{word}", and no other link carries it: allowed: at least one'
        f' link with "{word}" in precedences and budgets above 0'
        for word in ("priority", "routine", "deferred")
    ]
    assert load(tmp_path, link(urgent), link(name="b")).links


def test_budgets_of_nothing_leave_out_all_but_flash(tmp_path: Path) -> None:
    told = problems_of(tmp_path, HEAD + link("bytes_per_day = 0"))
    assert len(told) == 4
    assert 'link[a].bytes_per_day 0 leaves nothing for "immediate"' in told[0]
    assert load(tmp_path, link("bytes_per_day = 0"), link(name="b")).links


def test_links_that_all_forbid_flash_are_refused(tmp_path: Path) -> None:
    (told,) = problems_of(tmp_path, HEAD + link("forbid_flash = true"))
    assert 'link[a].precedences leaves out "flash", and no other link carries it' in told


def test_what_is_allowed_and_dangerous_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(
        tmp_path,
        link('forbid_flash = true\nquiet_hours = "22:00-06:00"\nlargest_bundle_bytes = 1_000'),
        link('quiet_hours = "05:00-07:00"\nlargest_bundle_bytes = 2_000', "b"),
    )
    assert config.links[0].policy.precedences == ALL - {Precedence.FLASH}
    assert config.warnings() == [
        "link[a].forbid_flash = true: no call for help leaves by this link",
        "link.largest_bundle_bytes: no link takes a bundle above 2000 bytes (FLASH excepted)",
        "link.quiet_hours: at 05:00 every link is quiet: only FLASH leaves",
    ]
    assert load(tmp_path, link(), link('quiet_hours = "05:00-07:00"', "b")).warnings() == []


def test_check_prints_the_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEAD + link("forbid_flash = true") + link(name="b")
    path = write(tmp_path, text.replace('"pigeon"\nremote = "x"', '"udp"\nremote = "127.0.0.1:9"'))
    (tmp_path / "secret.key").write_text("00" * 32)
    assert main(["check", str(path)]) == 0
    assert (
        f"{path}: warning: link[a].forbid_flash = true: no call for help leaves by this link" in capsys.readouterr().out
    )


def test_how_often_an_idle_link_is_asked(tmp_path: Path) -> None:
    links = [link(), link("metered = true", "b"), link("keepalive_s = 7", "c"), link("keepalive_s = 0", "d")]
    config = load(tmp_path, *links)
    assert [each.policy.ask_every_s for each in config.links] == [25.0, 240.0, 7.0, math.inf]
    (warning,) = config.warnings()
    assert warning.startswith("link[d].keepalive_s = 0: while nothing waits for it this link says nothing")
    (problem,) = problems_of(tmp_path, HEAD + link("keepalive_s = 0.5"))
    assert "keepalive_s = 0.5: allowed: 1 to 3600 seconds, or 0 for a link that says nothing" in str(problem)
