"""Words for ``why``: one sentence that a rescuer understands, in English or Chinese (terms by docs/glossary.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge_agent.core.bundle import CLOCK_FLOOR_MS, Precedence
from edge_agent.core.effects import LinkState
from edge_agent.core.report import Obstacle
from edge_agent.outlook import spell_rate
from edge_agent.why import LinkWord, Waiting, Why

LANGUAGES = ("en", "zh")
SOON_S = 60.0  # below it seconds say more than the time of day
LINKS_TOLD = 4  # of those that do not carry it; a sentence has an end

_LINKS_ZH = {  # the names that pages translate, too
    "4g": "4G",
    "5g": "5G",
    "vsat": "卫星",
    "satellite": "卫星",
    "radio": "电台",
    "mesh": "自组网",
    "beidou": "北斗",
    "sms": "短信",
    "lan": "有线",
}
_GRADES_ZH = {
    Precedence.FLASH: "特提",
    Precedence.IMMEDIATE: "特急",
    Precedence.PRIORITY: "加急",
    Precedence.ROUTINE: "平急",
    Precedence.DEFERRED: "缓传",
}
_REASONS_ZH = {
    "no answer": "无应答",
    "silent": "没有声音",
    "not heard there": "对方收不到",
    "starting": "正在启动",
    "asked": "已问对方,等回答",
}

_WORDS: Mapping[str, tuple[str, str]] = {  # English, Chinese
    "waiting": ("waiting: {what}", "等待中:{what}"),
    "only": ("only {link} left", "只剩{link}"),
    "by": ("by {links}", "经{links}"),
    "no_link": ("no link is up", "没有一条链路通"),
    "no_links": ("no link leads there", "没有通往那里的链路"),
    "none_may": ("no link takes it now", "现在没有链路可发"),
    "under_way": ("being sent, {arrived} of {whole} are there", "正在发,已到 {arrived}/{whole}"),
    "next": ("next to go", "下一条就发"),
    "sos": ("{n} SOS", "{n} 条求救"),
    "others": ("{n} others", "{n} 条其他"),
    "some": ("{n}", "{n} 条"),
    "ahead": ("{what} ahead", "前面有 {what}"),
    "ahead_at_most": ("at most {what} ahead", "前面至多 {what}"),
    "and": (" and ", "、"),
    "soon": ("expected in {span}", "预计 {span}后送出"),
    "expected": ("expected {at}", "预计 {at} 送出"),
    "seconds": ("{n} s", "{n} 秒"),
    "minutes": ("{n} min", "{n} 分钟"),
    "hours": ("{n} h", "{n} 小时"),
    "command": ("command", "指挥部"),
    "wait": (" (another {span})", "(还要 {span})"),
    "forwarded": ("{at}forwarded to {peer}{via}, not yet delivered", "{at}已转交{peer}{via},尚未送达"),
    "delivered": ("{at}delivered{via}", "{at}已送达{via}"),
    "delivered_here": ("{at}delivered here", "{at}已送达本机"),
    "held": ("{at}delivered, needs confirmation: it may be too old", "{at}已送达,要人再确认:可能太旧"),
    "read": ("{at}read{by}", "{at}已阅{by}"),
    "done": ("{at}done{by}", "{at}已办结{by}"),
    "expired": ("{at}expired before it was delivered", "{at}已过期,未送达"),
    "superseded": ("{at}replaced by a newer one", "{at}已被更新替代"),
    "cancelled": ("{at}cancelled{detail}", "{at}已撤销{detail}"),
    "evicted": ("{at}given up: the store was full and this was the least urgent", "{at}已放弃:存储满,它最不急"),
    "refused": ("{at}refused{detail}", "{at}被拒收{detail}"),
    "via": (" by {links}", "(经{links})"),
    "comma": (", ", ","),
    "semicolon": ("; ", ";"),
    "colon": (": ", ":"),
    "brackets": (" ({what})", "({what})"),
}

_OBSTACLES: Mapping[str, tuple[str, str]] = {  # English, Chinese; the words are apart, for "refused" is a state too
    Obstacle.NOT_ALLOWED: ("{link} does not carry {grade}", "{link}不发{grade}"),
    Obstacle.UNDESCRIBED: ("{link} carries no {grade} until its cost is told", "{link}资费未说明,不发{grade}"),
    Obstacle.BUDGET: ("{link} has used up its bytes of the day{wait}", "{link}今日流量已用完{wait}"),
    Obstacle.MONTH_BUDGET: ("{link} has used up its bytes of the month{wait}", "{link}本月流量已用完{wait}"),
    Obstacle.QUIET_HOURS: ("{link} is quiet at this hour, but for FLASH", "{link}在静默时段,只发特提"),
    Obstacle.PROFILE: ("{link} carries no {grade} under the quiet profile", "静默模式下{link}不发{grade}"),
    Obstacle.TOO_LARGE: ("{link} takes nothing of this size", "{link}不发这么大的"),
    Obstacle.STANDBY: ("{link} is held in reserve", "{link}备用中"),
    Obstacle.INTERVAL: ("{link} pauses after what it sent{wait}", "{link}刚发过,间隔未到{wait}"),
    Obstacle.DOWN: ("{link} is down{reason}", "{link}断{reason}"),
    "unheard": ("{link} has heard nobody yet", "{link}还没有接通"),
    Obstacle.OTHER_NODE: (
        "{link} leads to another post than the one it is begun to",
        "{link}通往别处,已开始发往另一处",
    ),
    Obstacle.REFUSED: ("{peer} does not take it{wait}", "{peer}暂时不收{wait}"),
    Obstacle.PEER_FULL: ("{peer} takes no more for now", "{peer}暂时收不下"),
    Obstacle.IN_DOUBT: ("{link} has not answered for a moment", "{link}一时无应答"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Says ``Why`` in one language at one moment (``now_ms``, UTC by the node's clock)."""

    language: str
    now_ms: int

    def sentence(self, why: Why) -> str:
        """The one sentence."""
        if why.waiting is not None:
            return self._waits(why, why.waiting)
        at = "" if why.at_ms is None else self._clock(why.at_ms) + (" " if self.language == "zh" else ": ")
        name = "delivered_here" if why.state == "delivered" and why.is_here else why.state
        return self._say(
            name,
            at=at,
            peer=self._peer(why.peer, is_command=why.is_peer_command),
            via=self._say("via", links=self._links(why.via)) if why.via else "",
            by=self._bracketed(why.detail),
            detail=f"{self._say('colon')}{why.detail}" if why.detail else "",
        )

    def _say(self, word: str, **values: object) -> str:
        return self._fill(_WORDS[word], values)

    def _fill(self, words: tuple[str, str], values: Mapping[str, object]) -> str:
        return words[LANGUAGES.index(self.language)].format(**values)

    def _waits(self, why: Why, waiting: Waiting) -> str:
        carrying = [word for word in waiting.links if word.may]
        refusing = [word for word in waiting.links if not word.may]
        parts = [self._carriers(carrying, refusing)]
        if waiting.arrived_bytes:
            whole = why.payload_bytes
            parts.append(self._say("under_way", arrived=_spell_bytes(waiting.arrived_bytes), whole=_spell_bytes(whole)))
        elif carrying or waiting.ahead:
            parts.append(self._ahead(waiting))
        if waiting.expected_s is not None:
            parts.append(self._expected(waiting.expected_s))
        told = list(dict.fromkeys(self._refusal(word, why.precedence) for word in refusing))[:LINKS_TOLD]
        what = self._say("comma").join(parts)
        return self._say("waiting", what=self._say("semicolon").join([what, *told]))

    def _carriers(self, carrying: Sequence[LinkWord], refusing: Sequence[LinkWord]) -> str:
        if not carrying:
            if not refusing:
                return self._say("no_links")
            is_down = all(word.obstacle == Obstacle.DOWN for word in refusing)
            return self._say("no_link" if is_down else "none_may")
        rates: dict[str, float] = {}
        for word in carrying:
            rates[word.link] = max(rates.get(word.link, 0.0), word.rate_bps or 0.0)
        spelled = [
            self._link(link) + (self._bracketed(spell_rate(rate)) if rate else "") for link, rate in rates.items()
        ]
        if len(rates) == 1 and any(word.link not in rates for word in refusing):
            ((link, rate),) = rates.items()
            return self._say("only", link=self._link(link)) + (self._bracketed(spell_rate(rate)) if rate else "")
        return self._say("by", links=self._say("comma").join(spelled))

    def _ahead(self, waiting: Waiting) -> str:
        if not waiting.ahead:
            return self._say("next")
        others = waiting.ahead - waiting.ahead_sos
        parts = [self._say("sos", n=waiting.ahead_sos)] if waiting.ahead_sos else []
        if others:
            parts.append(self._say("others" if waiting.ahead_sos else "some", n=others))
        what = self._say("and").join(parts)
        return self._say("ahead" if waiting.is_exact else "ahead_at_most", what=what)

    def _expected(self, expected_s: float) -> str:
        if expected_s < SOON_S or self.now_ms < CLOCK_FLOOR_MS:
            return self._say("soon", span=self._span(expected_s))
        return self._say("expected", at=self._clock(self.now_ms + round(expected_s * 1000)))

    def _refusal(self, word: LinkWord, precedence: Precedence) -> str:
        is_unheard = word.obstacle == Obstacle.DOWN and word.state == LinkState.UNKNOWN.value
        values = {
            "link": self._link(word.link),
            "peer": self._peer(word.peer, is_command=word.is_command),
            "grade": _GRADES_ZH[precedence] if self.language == "zh" else precedence.name,
            "reason": self._bracketed(self._reason(word.reason)),
            "wait": "" if word.wait_s is None else self._say("wait", span=self._span(word.wait_s)),
        }
        return self._fill(_OBSTACLES["unheard" if is_unheard else word.obstacle], values)

    def _reason(self, reason: str) -> str:
        return _REASONS_ZH.get(reason, reason) if self.language == "zh" else reason

    def _bracketed(self, what: str) -> str:
        return self._say("brackets", what=what) if what else ""

    def _peer(self, peer: str, *, is_command: bool) -> str:
        return self._say("command") if is_command else peer

    def _links(self, links: Sequence[str]) -> str:
        return " + ".join(self._link(link) for link in links)

    def _link(self, link: str) -> str:
        return _LINKS_ZH.get(link.lower(), link) if self.language == "zh" else link

    def _span(self, seconds: float) -> str:
        if seconds < 100:
            return self._say("seconds", n=max(1, round(seconds)))
        if seconds < 100 * 60:
            return self._say("minutes", n=round(seconds / 60))
        return self._say("hours", n=round(seconds / 3600))

    def _clock(self, at_ms: int) -> str:
        """Time of day where the node is, with the date when it is another day."""
        at, now = (datetime.fromtimestamp(each / 1000).astimezone() for each in (at_ms, self.now_ms))
        return at.strftime("%H:%M" if at.date() == now.date() else "%m-%d %H:%M")


def _spell_bytes(count: int) -> str:
    for unit, size in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
