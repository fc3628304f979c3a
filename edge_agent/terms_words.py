"""What ``edge-agent status`` says of profile, cost and what devices tell of links, in English or Chinese."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_WORDS: Mapping[str, tuple[str, str]] = {  # English, Chinese
    "link": ("link {name}: {text}", "链路 {name}:{text}"),
    "spent": ("today {day}{of_day}, this month {month}{of_month}", "今天 {day}{of_day},本月 {month}{of_month}"),
    "of": (" of {budget}", "(共 {budget})"),
    "cost": (", cost this month {cost}", ",本月费用 {cost}"),
    "is_spent": ("; used up: FLASH only{and_lifted}", ";已用完:只发特提{and_lifted}"),
    "and_immediate": (" and IMMEDIATE", "和特急"),
    "until": ("; at this rate until {at}", ";照此速度用到 {at}"),
    "asks_cost": (
        "; nobody has said what it costs: edge-agent link {name} free|metered|emergency",
        ";资费未说明:edge-agent link {name} free|metered|emergency",
    ),
    "hint": ("{source} says {what}{warns}, {age} s ago", "{source} 报告 {what}{warns},{age} 秒前"),
    "connected": ("connected", "已接通"),
    "not_connected": ("not connected", "未接通"),
    "warns": (" (MAY FAIL)", "(可能要断)"),
    "profile": ("profile: {profile}", "模式:{profile}"),
    "quiet": (
        "quiet: links that cost carry FLASH and IMMEDIATE only",
        "静默:计费链路只发特提、特急",
    ),
    "emergency": ("emergency: no budget holds back FLASH and IMMEDIATE", "应急:流量用完也发特提、特急"),
    "low-power": (
        "low power: no live pictures, links are asked seldom whether they work",
        "省电:不发实时画面,少探测链路",
    ),
}


def say_terms(report: Mapping[str, Any], language: str) -> Iterator[str]:  # Any: JSON
    """A sentence for an unusual profile, each link that costs and each word of a device; an earlier agent has none."""
    profile = report.get("profile", "")
    if profile in _WORDS:
        yield _say("profile", language, profile=_say(profile, language))
    told = set()
    for row in report["links"]:
        text = "".join(_cost_parts(row, language)) if "spending" in row and row["name"] not in told else ""
        hints = row.get("hints", ()) if row["name"] not in told else ()
        told.add(row["name"])
        if text:
            yield _say("link", language, name=row["name"], text=text)
        for hint in hints:
            yield _say("link", language, name=row["name"], text=_hint_text(hint, language))


def _hint_text(hint: Mapping[str, Any], language: str) -> str:  # Any: JSON
    figures = [
        "" if hint["signal_dbm"] is None else f"{hint['signal_dbm']:.0f} dBm",
        "" if hint["snr_db"] is None else f"{hint['snr_db']:.1f} dB",
        hint["note"],
        "" if hint["is_up"] is None else _say("connected" if hint["is_up"] else "not_connected", language),
    ]
    what = " ".join(filter(None, figures)) or f"{hint['quality']}"
    warns = _say("warns", language) if hint["warns"] else ""
    return _say("hint", language, source=hint["source"], what=what, warns=warns, age=round(hint["age_s"]))


def _cost_parts(row: Mapping[str, Any], language: str) -> Iterator[str]:  # Any: JSON
    spending = row["spending"]
    budgets = {period: spending[f"{period}_budget_bytes"] for period in ("day", "month")}
    if row["metered"] is False and not row["asks_cost"] and budgets == {"day": None, "month": None}:
        return
    of = {
        f"of_{period}": "" if budget is None else _say("of", language, budget=_spell_mb(budget))
        for period, budget in budgets.items()
    }
    day, month = (_spell_mb(spending[f"{period}_bytes"]) for period in ("day", "month"))
    yield _say("spent", language, day=day, month=month, **of)
    if spending["month_cost"]:
        yield _say("cost", language, cost=f"{spending['month_cost']:.2f}")
    if spending["is_spent"]:
        is_lifted = spending["classes"]["immediate"]["left_bytes"] is None
        yield _say("is_spent", language, and_lifted=_say("and_immediate", language) if is_lifted else "")
    elif spending["until_ms"] is not None:
        at = datetime.fromtimestamp(spending["until_ms"] / 1000).astimezone()
        yield _say("until", language, at=f"{at:%m-%d %H:%M}")
    if row["asks_cost"] and row["tariff"] is None:
        yield _say("asks_cost", language, name=row["name"])


def _say(word: str, language: str, **values: object) -> str:
    return _WORDS[word][language == "zh"].format(**values)


def _spell_mb(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
