"""Calendars and choices: when a day begins anew, what each profile and each word of a person means for a link."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from edge_agent.config import LinkConfig
from edge_agent.config_policy import parse_quiet_hours
from edge_agent.core.budgets import COLUMNS, RECEIVED, Spent
from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import LinkPolicy
from edge_agent.link_ledger import LinkLedger, read_ledger
from edge_agent.link_terms import LOW_POWER_KEEPALIVE_S, LinkTerms, Profile, Tariff, policy_now

SATURDAY, SUNDAY, FIRST = date(2026, 11, 28), date(2026, 11, 29), date(2026, 12, 1)
ALL = frozenset(Precedence)
URGENT = frozenset((Precedence.FLASH, Precedence.IMMEDIATE))


def columns(**sizes: int) -> list[int]:
    row = [0] * COLUMNS
    for name, size in sizes.items():
        row[RECEIVED if name == "received" else Precedence[name.upper()]] = size
    return row


def link(policy: LinkPolicy, *, has_metered: bool = True, quiet: str = "") -> LinkConfig:
    return LinkConfig(
        name="4g",
        transport="udp",
        table={},
        rate_bps=None,
        policy=policy,
        is_listener=False,
        quiet_hours=parse_quiet_hours(quiet),
        has_metered=has_metered,
    )


def now(policy: LinkPolicy, *, has_metered: bool = True, **given: Any) -> LinkPolicy:  # Any: those of policy_now
    terms = {"is_burst": False, "tariff": None, "profile": Profile.NORMAL, "is_quiet": False, **given}
    return policy_now(link(policy, has_metered=has_metered), **terms)


def test_a_day_and_a_month_begin_anew_and_a_restart_begins_nothing() -> None:
    ledger = LinkLedger()
    assert not ledger.turn(SATURDAY)
    assert ledger.take(columns(routine=100, received=10), 0.0, is_dated=True) == 110
    ledger = read_ledger(ledger.content())  # another process
    assert not ledger.turn(SATURDAY)
    ledger.take(columns(routine=5), 1.0, is_dated=True)
    assert (ledger.day_bytes, ledger.month_bytes) == (115, 115)
    assert ledger.turn(SUNDAY)
    assert (ledger.day_bytes, ledger.month_bytes) == (0, 115)
    ledger.take(columns(routine=12), 2.0, is_dated=True)
    assert ledger.turn(FIRST)
    assert (ledger.day_bytes, ledger.month_bytes) == (0, 0)


def test_a_clock_nobody_set_begins_nothing_and_what_it_counted_is_of_the_first_day_known() -> None:
    ledger = LinkLedger()
    ledger.turn(SATURDAY)
    ledger.take(columns(routine=100), 0.0, is_dated=True)
    ledger = read_ledger(ledger.content())
    assert not ledger.turn(None)  # a kit without a battery boots in 1970
    ledger.take(columns(routine=7), 1.0, is_dated=False)
    assert ledger.day_bytes == 107
    ledger = read_ledger(ledger.content())
    assert ledger.turn(SUNDAY)
    assert (ledger.day_bytes, ledger.month_bytes) == (7, 107)
    assert ledger.turn(FIRST)
    assert (ledger.day_bytes, ledger.month_bytes) == (0, 0)


def test_a_clock_that_goes_back_begins_no_day_twice() -> None:
    ledger = LinkLedger()
    ledger.turn(SUNDAY)
    ledger.take(columns(routine=100), 0.0, is_dated=True)
    assert not ledger.turn(SATURDAY)
    assert ledger.day_bytes == 100
    assert ledger.turn(SUNDAY)


def test_the_rate_is_that_of_the_last_quarter_of_an_hour() -> None:
    ledger = LinkLedger()
    ledger.take(columns(routine=0), 0.0, is_dated=True)
    assert ledger.rate_bytes_s(30.0) is None
    for minute in range(1, 61):
        ledger.take(columns(routine=60_000 * min(minute, 30)), 60.0 * minute, is_dated=True)
    assert ledger.rate_bytes_s(3600.0) == pytest.approx(0.0)
    ledger.take(columns(routine=1_800_000 + 90_000), 3660.0, is_dated=True)
    assert ledger.rate_bytes_s(3660.0) == pytest.approx(90_000 / 900, rel=0.1)


@pytest.mark.parametrize("content", [{}, {"day": "x"}, {"day": [1], "month": [-1], "undated": []}, {"on": "today"}])
def test_a_ledger_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        read_ledger(content)


def test_a_ledger_of_another_version_keeps_the_columns_both_have() -> None:
    ledger = read_ledger({"day": [5], "month": [7] * 20, "undated": [], "on": "2026-11-28"})
    assert (ledger.day, ledger.month, ledger.on) == ([5, *[0] * (COLUMNS - 1)], [7] * COLUMNS, SATURDAY)


def test_a_persons_word_describes_what_the_file_leaves_open() -> None:
    asked = LinkPolicy(cost_per_mb=3.0)
    assert now(asked) == asked
    assert (now(asked, tariff=Tariff.FREE).metered, now(asked, tariff=Tariff.FREE).day_budget_bytes) == (False, None)
    metered = now(asked, tariff=Tariff.METERED)
    assert (metered.metered, metered.bytes_per_day, metered.precedences) == (True, 20_000_000, ALL)
    emergency = now(asked, tariff=Tariff.EMERGENCY)
    assert (emergency.metered, emergency.precedences) == (True, URGENT)
    described = LinkPolicy(metered=True, bytes_per_day=5)
    assert now(described, tariff=Tariff.FREE) == described


def test_a_burst_link_is_never_free_by_itself() -> None:
    assert now(LinkPolicy(metered=False), is_burst=True, has_metered=False).metered is True
    assert now(LinkPolicy(metered=False), is_burst=True, has_metered=True).metered is False
    assert now(LinkPolicy(metered=False), is_burst=False, has_metered=False).metered is False


def test_profiles_change_what_their_words_say_and_never_flash() -> None:
    free, priced = LinkPolicy(metered=False), LinkPolicy(metered=True, bytes_per_day=10)
    for profile in Profile:
        for policy in (free, priced, LinkPolicy()):
            for is_quiet in (False, True):
                held = now(policy, profile=profile, is_quiet=is_quiet)
                assert Precedence.FLASH not in held.held_back
                assert Precedence.FLASH in held.lifted
                assert held.precedences == policy.precedences
    quiet = now(priced, profile=Profile.QUIET)
    assert (quiet.held_back, quiet.held_why) == (ALL - URGENT, "profile")
    assert now(free, profile=Profile.QUIET) == free
    assert now(priced, profile=Profile.EMERGENCY).lifted == URGENT
    low = now(free, profile=Profile.LOW_POWER)
    assert (low.keepalive_s, low.pulses, low.precedences) == (LOW_POWER_KEEPALIVE_S, False, ALL)
    assert 3 * LOW_POWER_KEEPALIVE_S + 5 <= 300
    assert now(replace(free, keepalive_s=600.0), profile=Profile.LOW_POWER).keepalive_s == 600.0
    night = now(free, is_quiet=True)
    assert (night.held_back, night.held_why) == (ALL - {Precedence.FLASH}, "quiet_hours")


class Clock:
    """Stands where the store's ages stand."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now_ms(self) -> int:
        return round(self.at.timestamp() * 1000)


class Shelf:
    """Stands where the store stands: what is kept outlives one ``LinkTerms``."""

    def __init__(self, at: datetime) -> None:
        self.kept: dict[str, str] = {}
        self.ages = Clock(at)

    def note(self, name: str, text: str) -> None:
        self.kept[name] = text

    async def keep(self, name: str, text: str) -> None:
        self.note(name, text)


class Told:
    """Stands where the runner stands, and hears what the core would."""

    def __init__(self) -> None:
        self.columns: dict[str, list[int]] = {}
        self.terms: dict[str, tuple[LinkPolicy, Spent | None]] = {}

    def link_down(self, link: str, policy: LinkPolicy, reason: str, *, is_listener: bool) -> None:
        self.columns.setdefault(link, columns())

    def set_terms(self, link: str, policy: LinkPolicy, spent: Spent | None) -> None:
        self.terms[link] = (policy, spent)

    def spent_columns(self) -> dict[str, list[int]]:
        return self.columns


class Port:
    """A link's port without a transport."""

    def __init__(self, config: LinkConfig) -> None:
        self.link, self.config, self.policy, self.is_burst = config.name, config, config.policy, False
        self.policy_of: object = None


class Desk:
    """One process: terms of a link "4g" over a shelf, with a clock of its own."""

    def __init__(self, shelf: Shelf, config: LinkConfig) -> None:
        self.shelf, self.told, self.now_s = shelf, Told(), 0.0
        self.port = Port(config)
        self.terms = self.terms_of(self.port)
        self.terms.begin()

    def terms_of(self, *ports: Port) -> LinkTerms:
        stand_ins: Any = (ports, self.told, self.shelf)  # Any: they stand where the parts of an agent stand
        return LinkTerms(*stand_ins, now_s=lambda: self.now_s, on_change=lambda: None)

    def spend(self, link: str, size: int, *, after_s: float = 61.0) -> None:
        self.told.columns[link][Precedence.ROUTINE] += size
        self.now_s += after_s
        self.shelf.ages.at += timedelta(seconds=after_s)
        self.terms.look()


NOON = datetime(2026, 11, 28, 12, 0).astimezone()


def test_a_day_ends_at_the_midnight_of_where_the_node_is_and_a_restart_tells_the_core_what_was_spent() -> None:
    shelf = Shelf(NOON)
    first = Desk(shelf, link(LinkPolicy(metered=True, bytes_per_day=1_000)))
    assert first.told.terms["4g"][1] == Spent(day_bytes=0, month_bytes=0, day_ends_s=43_200, month_ends_s=216_000)
    first.spend("4g", 700)
    second = Desk(shelf, link(LinkPolicy(metered=True, bytes_per_day=1_000)))
    spent = second.told.terms["4g"][1]
    assert spent is not None
    assert (spent.day_bytes, spent.month_bytes) == (700, 700)
    second.spend("4g", 50, after_s=43_200)
    spent = second.told.terms["4g"][1]
    assert spent is not None
    assert (spent.day_bytes, spent.month_bytes, round(spent.day_ends_s)) == (0, 750, 129_539)


def test_quiet_hours_come_and_go_by_the_clock_of_the_machine() -> None:
    desk = Desk(Shelf(NOON), link(LinkPolicy(metered=False), quiet="22:00-06:00"))
    held = []
    for _ in range(24):
        desk.spend("4g", 0, after_s=3_600)
        held.append(desk.told.terms["4g"][0].held_why)
    assert held == [""] * 9 + ["quiet_hours"] * 8 + [""] * 7
    assert Desk(Shelf(datetime(1970, 1, 1, 23).astimezone()), desk.port.config).told.terms["4g"][0].held_why == ""


async def test_a_modem_that_comes_and_goes_keeps_its_bill_and_what_a_person_said() -> None:
    shelf = Shelf(NOON)
    usb = replace(link(LinkPolicy()), name="usb", table={"bind_interface": "enx1"})
    first = Desk(shelf, link(LinkPolicy(metered=False)))
    first.terms.join(Port(usb))  # type: ignore[arg-type]  # stands where a port stands
    first.spend("usb", 5_000)
    await first.terms.set_tariff("usb", "metered")
    second = Desk(shelf, link(LinkPolicy(metered=False)))
    second.spend("4g", 1)  # writes what is kept anew, without the modem
    third = Desk(shelf, link(LinkPolicy(metered=False)))
    third.terms.join(Port(usb))  # type: ignore[arg-type]  # as above
    policy, spent = third.told.terms["usb"]
    assert (policy.metered, spent and spent.day_bytes) == (True, 5_000)
    other = Port(replace(usb, table={"bind_interface": "enx2"}))  # another modem at the same place
    third.terms.join(other)  # type: ignore[arg-type]  # as above
    assert third.told.terms["usb"][0].metered is None
