"""States of both pages with links that cost something."""

from typing import Any

from tests.web.page_states import State, command_after_outage, command_normal, kit_link, kit_normal, unit_of


def _spending(now_ms: int, day_bytes: int, budget_bytes: int | None, *, lasts_s: int | None = None) -> State:
    """What a link has cost; the month has no budget."""
    left = None if budget_bytes is None else max(0, budget_bytes - day_bytes)
    until_ms = None if lasts_s is None else now_ms + 1000 * lasts_s
    return {
        "day_bytes": day_bytes,
        "day_budget_bytes": budget_bytes,
        "day_left_bytes": left,
        "month_bytes": 9 * day_bytes,
        "month_budget_bytes": None,
        "month_left_bytes": None,
        "is_spent": left == 0,
        "until_ms": until_ms,
        "classes": {"immediate": {"left_bytes": left}},
    }


def _priced(now_ms: int, link: State, day_bytes: int, budget_bytes: int | None, **more: Any) -> State:
    terms = {"metered": True, "asks_cost": False, "tariff": None, "standby": "hot", "held_back": ""}
    lasts_s = more.pop("lasts_s", None)
    return link | terms | {"spending": _spending(now_ms, day_bytes, budget_bytes, lasts_s=lasts_s)} | more


def _hint(now_ms: int, source: str, **said: Any) -> State:
    """What a device said of a link 3 s ago."""
    silent = {"is_up": None, "signal_dbm": None, "snr_db": None, "note": "", "warns": False}
    return {"source": source, "at_ms": now_ms - 3_000} | silent | said


def kit_costs(now_ms: int) -> State:
    """A modem nobody has described, a satellite link in reserve whose day is used up, a free one; the quiet profile."""
    state = kit_normal(now_ms)
    state["profile"] = "low-power"
    state["links"] = [
        _priced(
            now_ms, kit_link("4g", "up", 8_200_000), 12_300_000, 20_000_000, asks_cost=True, metered=None, lasts_s=5400
        ),
        _priced(now_ms, kit_link("vsat", "up"), 5_000_000, 5_000_000, standby="cold", held_back="quiet_hours"),
        _priced(now_ms, kit_link("radio", "degraded"), 800_000, None, metered=False),
    ]
    state["links"][0]["hints"] = [_hint(now_ms, "modem-1", signal_dbm=-113.0, note="LTE", warns=True)]
    state["links"][1]["hints"] = [_hint(now_ms, "dish", snr_db=7.25)]
    state["links"][2]["hints"] = [_hint(now_ms, "mesh", is_up=False, warns=True)]
    return state


def _unit_cost(link: str, day_bytes: int, budget_bytes: int, until_ms: int | None = None) -> State:
    """What one link of a unit has cost, as its report says; the month has no budget."""
    month = {"month_bytes": 9 * day_bytes, "month_budget_bytes": None}
    return {"link": link, "day_bytes": day_bytes, "day_budget_bytes": budget_bytes, **month, "until_ms": until_ms}


def command_costs(now_ms: int, *, is_crowded: bool = False) -> State:
    """Unit 32 pays for two links, and sends urgent things beyond their budgets."""
    state = command_after_outage(now_ms) if is_crowded else command_normal(now_ms)
    costs = [_unit_cost("4g", 12_300_000, 20_000_000, now_ms + 5_400_000), _unit_cost("vsat", 5_000_000, 5_000_000)]
    hints = [
        {"link": "4g", **_hint(now_ms, "modem-1", signal_dbm=-113, note="LTE", warns=True)},
        {"link": "vsat", **_hint(now_ms, "dish", snr_db=7)},
    ]
    unit_of(state, 32).update(profile="emergency", costs=costs, hints=hints)
    return state


def command_costs_after_outage(now_ms: int) -> State:
    """The same unit, back after an outage, whose history needs the room."""
    return command_costs(now_ms, is_crowded=True)
