"""What each link may carry now: its table, what a person said it costs, the profile, quiet hours, and what is spent.

The core enforces a policy and knows no calendar; this part keeps the calendar, tells the core, and keeps in the store
what a restart must not forget (docs/adr/0038-what-a-link-costs.md).
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog

from edge_agent.config import LinkConfig
from edge_agent.core.budgets import NEVER_S, Spent
from edge_agent.core.bundle import CLOCK_FLOOR_MS, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.core.limits import LinkPolicy
from edge_agent.disk.store import Disk
from edge_agent.link_ledger import LinkLedger, read_ledger
from edge_agent.link_port import LinkPort
from edge_agent.runner import Runner

LOOK_S = 5.0
"""How late quiet hours, midnight and a spent budget of an earlier process are seen, at most."""
KEEP_S = 60.0
KEEP_BYTES = 65_536
"""What a kill may leave uncounted: so much traffic, or a minute of less."""
LEDGERS_MAX = 64
"""Links whose spending is kept, those of modems that come and go with them."""
LOW_POWER_KEEPALIVE_S = 95.0
"""An idle link is asked so seldom that its death is known within 5 min (three times this and 5 s)."""
CHOICES_NAME = "link_choices"
SPENT_NAME = "link_spent"
ACTIONS = ("profile", "link")
_URGENT = frozenset((Precedence.FLASH, Precedence.IMMEDIATE))
_BELOW_FLASH = frozenset(Precedence) - {Precedence.FLASH}
_BELOW_IMMEDIATE = frozenset(Precedence) - _URGENT
CLOCK_SLACK_S = 2.0

log = structlog.get_logger()


class Profile(StrEnum):
    """How this node uses all its links, by one command or tap."""

    NORMAL = "normal"
    QUIET = "quiet"
    """Links whose bytes cost carry FLASH and IMMEDIATE only."""
    EMERGENCY = "emergency"
    """No budget holds back IMMEDIATE."""
    LOW_POWER = "low-power"
    """No live pictures, no pulses, idle links asked as seldom as they may be."""


class Tariff(StrEnum):
    """What a person said of a link that the configuration leaves open."""

    FREE = "free"
    METERED = "metered"
    EMERGENCY = "emergency"
    """FLASH and IMMEDIATE only."""


def policy_now(
    link: LinkConfig, *, is_burst: bool, tariff: Tariff | None, profile: Profile, is_quiet: bool
) -> LinkPolicy:
    """What one link may carry under all that holds now."""
    policy = link.policy
    if policy.metered is None and tariff is not None:
        policy = _described(policy, tariff)
    elif is_burst and not link.has_metered:
        policy = replace(policy, metered=True)  # each message has a price, whoever forgot to say so
    if profile is Profile.LOW_POWER:
        keepalive_s = 0.0 if policy.keepalive_s == 0 else max(policy.ask_every_s, LOW_POWER_KEEPALIVE_S)
        policy = replace(policy, keepalive_s=keepalive_s, pulses=False)
    if profile is Profile.EMERGENCY:
        policy = replace(policy, lifted=_URGENT)
    if is_quiet:
        return replace(policy, held_back=_BELOW_FLASH, held_why="quiet_hours")
    if profile is Profile.QUIET and policy.metered is not False:
        return replace(policy, held_back=_BELOW_IMMEDIATE, held_why="profile")
    return policy


def _described(policy: LinkPolicy, tariff: Tariff) -> LinkPolicy:
    """By a person's word; a metered link keeps the budget of an undescribed one where the file gives none."""
    if tariff is Tariff.FREE:
        return replace(policy, metered=False)
    described = replace(policy, metered=True, bytes_per_day=policy.day_budget_bytes)
    if tariff is Tariff.EMERGENCY:
        return replace(described, precedences=policy.precedences & _URGENT)
    return described


class LinkTerms:
    """Keeps the terms of all links of one node. All methods are called on the loop."""

    def __init__(
        self,
        ports: Sequence[LinkPort],
        runner: Runner,
        disk: Disk,
        *,
        now_s: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        """Read what is kept."""
        self.profile = Profile.NORMAL
        self.ledgers = {port.link: LinkLedger() for port in ports}
        self._ports = {port.link: port for port in ports}
        self._tariffs: dict[str, Tariff] = {}
        self._runner = runner
        self._disk = disk
        self._now_s = now_s
        self._on_change = on_change
        self._unkept_bytes = 0
        self._kept_s = now_s()
        self._ends: tuple[float, float] = (0.0, 0.0)
        self._read(disk.kept)

    def begin(self) -> None:
        """Tell the core of each link and of what it has cost, before any transport runs."""
        self.look()
        for port in self._ports.values():
            self._tell(port)

    def join(self, port: LinkPort) -> None:
        """One more link, made while the agent runs; what one of its name had cost counts on."""
        self.ledgers.setdefault(port.link, LinkLedger())
        self._ports[port.link] = port
        self.look()
        self._tell(port)

    def _tell(self, port: LinkPort) -> None:
        """Have the core know a link before its transport runs."""
        port.policy_of = self._policy_of
        port.policy = self._policy_of(port, port.is_burst)
        self._runner.link_down(port.link, port.policy, "starting", is_listener=port.config.is_listener)
        self._runner.set_terms(port.link, port.policy, self._spent(port.link))

    async def run(self) -> None:
        """Follow the calendar for ever; what was spent is kept when this ends."""
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                self.look()
        finally:
            self.count()
            if self._unkept_bytes:
                self._keep_spent()

    def look(self) -> None:
        """Count, turn day and month where it is time, and tell the core what changed."""
        self.count()
        now, ends = self._local_now(), self._period_ends()
        today = None if now is None else now.date()
        has_begun = {name for name, ledger in self.ledgers.items() if ledger.turn(today)}
        has_moved = any(_differ(old, new) for old, new in zip(self._ends, ends, strict=True))
        self._ends = ends
        for name, port in self._ports.items():
            policy = self._policy_of(port, port.is_burst)
            tells_spent = has_moved or name in has_begun
            if tells_spent or policy != port.policy:
                port.policy = policy
                self._runner.set_terms(name, policy, self._spent(name) if tells_spent else None)
        is_due = self._unkept_bytes and self._now_s() - self._kept_s >= KEEP_S
        if is_due or has_begun or self._unkept_bytes >= KEEP_BYTES:
            self._keep_spent()

    async def set_profile(self, word: object) -> None:
        """From now on, and over restarts. Raises ActionError, StoreError."""
        words = [each.value for each in Profile]
        if word not in words:
            raise ActionError(f"profile {word!r}: allowed: {', '.join(words)}")
        before, self.profile = self.profile, Profile(word)
        if self.profile is not before:
            log.info("profile_chosen", profile=self.profile.value, before=before.value)
        await self._choices_changed()

    async def set_tariff(self, link: object, word: object) -> None:
        """What a person says of a link. Raises ActionError, StoreError."""
        port = self._ports.get(str(link))
        if port is None:
            raise ActionError(f"link {link!r}: allowed: {', '.join(self._ports) or 'none is configured'}")
        if not self.is_open(port.link):
            raise ActionError(f"link {port.link!r} is described in the configuration: change metered there")
        words = [each.value for each in Tariff]
        if word not in words:
            raise ActionError(f"tariff {word!r}: allowed: {', '.join(words)}")
        self._tariffs[_remembered_as(port.config)] = Tariff(word)
        log.info("link_described", link=port.link, tariff=word)
        await self._choices_changed()

    def is_open(self, link: str) -> bool:
        """Whether a person is to say what a link costs."""
        return self._ports[link].config.policy.metered is None

    def tariff(self, link: str) -> Tariff | None:
        """What a person said of a link; None: nobody has."""
        return self._tariffs.get(_remembered_as(self._ports[link].config))

    def policy(self, link: str) -> LinkPolicy:
        """What holds for a link now."""
        return self._ports[link].policy

    def unusual_profile(self) -> str:
        """The profile, "" for the normal one."""
        return "" if self.profile is Profile.NORMAL else self.profile.value

    def now_s(self) -> float:
        """The node's clock."""
        return self._now_s()

    def ends_in_s(self) -> tuple[float, float]:
        """After how long the day and the month end; NEVER_S while nobody knows the date."""
        now_s = self._now_s()
        return self._ends[0] - now_s, self._ends[1] - now_s

    async def act(self, action: str, body: Mapping[str, Any]) -> None:  # Any: JSON
        """What a person pressed: "profile" or "link". Raises ActionError, StoreError."""
        if action == "profile":
            await self.set_profile(body.get("profile"))
        else:
            await self.set_tariff(body.get("link"), body.get("tariff"))

    async def _choices_changed(self) -> None:
        self.look()  # at once: a disk that is in trouble does not keep a person waiting
        self._on_change()
        tariffs = {name: tariff.value for name, tariff in self._tariffs.items()}
        content = {"profile": self.profile.value, "tariffs": tariffs}
        await self._disk.keep(CHOICES_NAME, json.dumps(content))

    def _policy_of(self, port: LinkPort, is_burst: bool) -> LinkPolicy:
        hours, now = port.config.quiet_hours, self._local_now()
        is_quiet = hours is not None and now is not None and hours.holds(60 * now.hour + now.minute)
        tariff = self.tariff(port.link)
        return policy_now(port.config, is_burst=is_burst, tariff=tariff, profile=self.profile, is_quiet=is_quiet)

    def count(self) -> None:
        """Bring the ledgers to what the node has counted by now."""
        now_s, is_dated = self._now_s(), self._local_now() is not None
        for name, columns in self._runner.spent_columns().items():
            ledger = self.ledgers.get(name)
            if ledger is not None:
                self._unkept_bytes += ledger.take(columns, now_s, is_dated=is_dated)

    def _spent(self, link: str) -> Spent:
        ledger = self.ledgers[link]
        day_ends_s, month_ends_s = self._ends
        return Spent(
            day_bytes=ledger.day_bytes,
            month_bytes=ledger.month_bytes,
            day_ends_s=day_ends_s,
            month_ends_s=month_ends_s,
        )

    def _local_now(self) -> datetime | None:
        """Where the node is; None while nobody has set the clock."""
        now_ms = self._disk.ages.now_ms()
        return None if now_ms < CLOCK_FLOOR_MS else datetime.fromtimestamp(now_ms / 1000).astimezone()

    def _period_ends(self) -> tuple[float, float]:
        """When day and month end, by the node's clock; NEVER_S while nobody knows the date."""
        now = self._local_now()
        if now is None:
            return NEVER_S, NEVER_S
        naive = now.replace(tzinfo=None)
        midnight = naive.replace(hour=0, minute=0, second=0, microsecond=0)
        first = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        day_end, month_end = (each.astimezone() for each in (midnight + timedelta(days=1), first))
        now_s = self._now_s()
        return now_s + (day_end - now).total_seconds(), now_s + (month_end - now).total_seconds()

    def _keep_spent(self) -> None:
        self._unkept_bytes, self._kept_s = 0, self._now_s()
        content = {name: ledger.content() for name, ledger in self.ledgers.items()}
        self._disk.note(SPENT_NAME, json.dumps(content))

    def _read(self, kept: Mapping[str, str]) -> None:
        """What was kept; what another version wrote and this one does not understand is left out."""
        choices, spent = (_read_map(kept.get(name)) for name in (CHOICES_NAME, SPENT_NAME))
        if choices.get("profile") in list(Profile):
            self.profile = Profile(choices["profile"])
        tariffs = choices.get("tariffs")
        for name, word in (tariffs if isinstance(tariffs, dict) else {}).items():
            if word in list(Tariff):
                self._tariffs[name] = Tariff(word)
        for name in list(spent)[-LEDGERS_MAX:]:  # also of links whose modem is not plugged in now
            try:
                self.ledgers[name] = read_ledger(spent[name])
            except (ValueError, TypeError, AttributeError) as error:
                log.warning("link_spending_unreadable", link=name, reason=str(error))


def _read_map(text: str | None) -> dict[str, Any]:  # Any: JSON
    content = json.loads(text) if text else {}
    return content if isinstance(content, dict) else {}


def _remembered_as(link: LinkConfig) -> str:
    """By what a person's word is remembered: another interface under the same name is another bill."""
    interface = link.table.get("bind_interface") or link.table.get("port") or ""
    return f"{link.name}@{interface}" if interface else link.name


def _differ(old_s: float, new_s: float) -> bool:
    return old_s != new_s and abs(old_s - new_s) > CLOCK_SLACK_S
