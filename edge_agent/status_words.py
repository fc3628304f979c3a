"""What ``edge-agent status`` says of trouble with the store and the clock, in English or Chinese."""

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
}


def say_trouble(store: Mapping[str, Any], clock: Mapping[str, Any], language: str) -> Iterator[str]:
    """A sentence for each thing that is wrong; both as ``status --json`` has them (Any: JSON)."""

    def say(name: str, **values: object) -> str:
        return _WORDS[name][language == "zh"].format(**values)

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
