"""What ``edge-agent status`` says of links, and of trouble with the store and the clock, in English or Chinese."""

from collections.abc import Iterator, Mapping
from typing import Any

_WORDS: Mapping[str, tuple[str, str]] = {  # English, Chinese
    "failure": (
        "store: THE DISK TAKES NOTHING ({why}): nothing can be accepted until it does",
        "存储:硬盘写不进去({why}):恢复之前什么都存不下",
    ),
    "unreadable": (
        "store: THE DISK CANNOT BE READ ({why}): what waits is kept, and goes on once it can",
        "存储:硬盘读不出来({why}):已存的不会丢,恢复后继续发送",
    ),
    "full": (
        "store: THE DISK IS FULL: only calls for help are still taken; free some space",
        "存储:硬盘满了:只收求救;请腾出空间",
    ),
    "set_aside": (
        "store: a damaged database was set aside at this start: {where}",
        "存储:启动时发现数据库损坏,已另存:{where}",
    ),
    "damage": (
        "store: DAMAGED, the next start sets it aside: {why}",
        "存储:数据库损坏,下次启动会另存:{why}",
    ),
    "copied": (
        "store: this data directory was copied or restored; it goes on under new numbers",
        "存储:这个数据目录是复制或恢复来的,改用新编号继续",
    ),
    "clock_unset": (
        "clock: NOT SET: times are told by ages until it is",
        "时钟:未校准:校准之前,时间按已过多久推算",
    ),
    "clock_moved": (
        "clock: was moved by {step} s, {ago} s ago: earlier times may be wrong",
        "时钟:{ago} 秒前被拨动 {step} 秒:在此之前的时间可能不准",
    ),
    "rate": ("estimated {kbps} kbit/s", "估计速率 {kbps} kbit/s"),
    "rate_measured": ("estimated {kbps} kbit/s (measured {ago} s ago)", "估计速率 {kbps} kbit/s({ago} 秒前测得)"),
    "goodput": ("goodput {kbps} kbit/s", "实收 {kbps} kbit/s"),
    "flapping": ("flapping for {span} s, down {falls} times", "时断时续 {span} 秒,断过 {falls} 次"),
}


def say_trouble(store: Mapping[str, Any], clock: Mapping[str, Any], language: str) -> Iterator[str]:
    """A sentence for each thing that is wrong; both as ``status --json`` has them (Any: JSON)."""

    def say(name: str, **values: object) -> str:
        return _say(name, language, **values)

    if store["failure"]:
        yield say("failure", why=store["failure"])
    elif store["is_full"]:
        yield say("full")
    if store.get("unreadable"):  # an agent of an earlier version does not say
        yield say("unreadable", why=store["unreadable"])
    if store["set_aside"]:
        yield say("set_aside", where=store["set_aside"])
    if store["damage"]:
        yield say("damage", why=store["damage"])
    if store["was_copied"]:
        yield say("copied")
    if not clock["is_set"]:
        yield say("clock_unset")
    elif clock["step_s"] is not None:
        yield say("clock_moved", step=f"{clock['step_s']:+.0f}", ago=f"{clock['settled_ago_s']:.0f}")


def say_rate(link: Mapping[str, Any], language: str) -> str:
    """What a link is believed to carry, how old that is, what it carries now, and whether it flaps (Any: JSON).

    An agent of an earlier version says less.
    """
    words = []
    if link["rate_bps"]:
        age_s = link.get("rate_age_s")
        ago = "" if age_s is None else f"{age_s:.0f}"
        name = "rate_measured" if ago else "rate"
        words.append(_say(name, language, kbps=f"{link['rate_bps'] / 1000:.1f}", ago=ago))
    if link["goodput_bps"]:
        words.append(_say("goodput", language, kbps=f"{link['goodput_bps'] / 1000:.1f}"))
    if link.get("falls"):
        words.append(_say("flapping", language, span=f"{link['flapping_s']:.0f}", falls=link["falls"]))
    return "".join(f", {each}" for each in words)


def _say(name: str, language: str, **values: object) -> str:
    return _WORDS[name][language == "zh"].format(**values)
