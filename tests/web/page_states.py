"""States of both pages, as the contract of docs/api.md gives them; names of units and people are data."""

from typing import Any

State = dict[str, Any]  # Any: JSON

_UNITS = (
    "1 乐清一队 28.13 120.97;2 乐清二队 28.31 121.03;3 玉环海岛队 28.12 121.22;4 温岭一队 28.38 121.36;"
    "5 温岭二队 28.46 121.47;6 石塘转移组 28.28 121.60;7 大陈岛前突队 28.46 121.90;8 椒江指挥车 28.69 121.45;"
    "9 椒江排涝队 28.72 121.35;10 黄岩排涝队 28.63 121.15;11 路桥排涝队 28.57 121.37;12 临海古城队 28.83 121.08;"
    "13 临海大田队 28.91 121.21;14 三门健跳队 29.04 121.59;15 三门海塘组 29.12 121.44;16 宁海长街队 29.26 121.71;"
    "17 象山石浦队 29.22 121.92;18 象山鹤浦队 29.10 121.89;19 渔山岛巡护组 28.88 122.25;20 奉化救援队 29.62 121.39;"
    "21 北仑危化组 29.86 121.85;22 镇海危化组 29.95 121.65;23 舟山前指车 30.02 122.14;24 六横岛队 29.72 122.11;"
    "25 桃花岛组 29.81 122.28;26 瑞安救援队 27.80 120.62;27 飞云江队 27.70 120.53;28 鳌江救援队 27.58 120.50;"
    "29 南麂岛组 27.46 121.07;30 苍南救援队 27.50 120.38;31 霞关渔港组 27.19 120.46;32 洞头前突队 27.84 121.15;"
    "33 鹿西岛组 28.00 121.19;34 瓯海山洪组 27.97 120.50;35 永嘉岩坦队 28.43 120.70;36 仙居山洪组 28.84 120.73;"
    "37 天台山洪组 29.14 121.02;38 省卫星通信车 28.83 121.58;39 省无人机组 28.60 121.70;40 省医疗一队 28.48 121.26"
)
_LINKS = (("4g", 8_200_000, 0.052), ("vsat", 470_000, 0.612), ("radio", 9_600, 0.31))
_PIXEL_SVG = "/api/picture/"


def _unit(row: str, now_ms: int) -> State:
    number, name, lat, lon = row.split()
    heard_ms = now_ms - 1000 - (int(number) * 7 % 29) * 1000
    links = [
        {"name": link, "transport": "udp", "state": "up", "rate_bps": rate_bps, "rtt_s": rtt_s, "loss_ratio": 0.004}
        for link, rate_bps, rtt_s in _LINKS
    ]
    return {
        "id": f"kit-{number}",
        "number": int(number),
        "name": name,
        "state": "on_time",
        "last_heard_ms": heard_ms,
        "due_s": 60,
        "muted_until_ms": None,
        "back_after_s": None,
        "position": {
            "lat": float(lat),
            "lon": float(lon),
            "captured_ms": heard_ms - 3000,
            "system": "BD",
            "datum": "CGCS2000",
        },
        "track": [],
        "links": links,
        "reported_ms": heard_ms,
        "backlog": [
            {"kind": "position_reading", "bundles": 2, "bytes": 210, "expected_s": 1},
            {"kind": "picture", "bundles": int(number) % 3, "bytes": 184_000, "expected_s": 190},
        ],
        "last_link": "radio",
        "last_received": {"what": "reading", "text": "风速 31 m/s", "captured_ms": heard_ms},
        "gap": None,
        "arrivals": [],
        "messages": [],
        "held": [],
        "largest": [],
        "store": {"used_bytes": 310_000_000, "quota_bytes": 1_000_000_000, "is_full": False},
    }


def unit_of(state: State, number: int) -> State:
    """The unit ``number`` of a state."""
    return next(unit for unit in state["units"] if unit["number"] == number)


def _fall_silent(unit: State, state: str, heard_ms: int) -> None:
    """Nothing of ``unit`` is younger than ``heard_ms``."""
    unit.update(state=state, last_heard_ms=heard_ms, reported_ms=heard_ms)
    for fact in ("position", "last_received"):
        unit[fact]["captured_ms"] = heard_ms


def command_empty(now_ms: int) -> State:
    """A command post to which no unit has reported."""
    return {
        "role": "command",
        "now_ms": now_ms,
        "csrf": "token-1",
        "node": {"id": "cp-1", "name": "省指挥部"},
        "operation": "台风抢险",
        "duty": {"name": "王敏", "since_ms": now_ms - 3_600_000},
        "units": [],
        "alarms": [],
        "orders": [],
        "readings": [],
        "pictures": [],
        "events": [],
        "layers": [],
        "groups": [],
    }


def command_normal(now_ms: int) -> State:
    """Forty units, five with something to note, nothing unconfirmed."""
    state = command_empty(now_ms)
    state["units"] = [_unit(row, now_ms) for row in _UNITS.split(";")]
    for number, silent_s in ((31, 134), (29, 96)):
        _fall_silent(unit_of(state, number), "late", now_ms - silent_s * 1000)
    for number in (21, 24, 35):
        unit_of(state, number)["state"] = "noted"
    unit_of(state, 24)["links"][0]["state"] = "down"
    unit_of(state, 35)["links"][0]["state"] = "degraded"
    state["readings"] = [_reading(now_ms, *row) for row in _READINGS]
    state["orders"] = _orders(now_ms)
    state["pictures"] = [_picture(now_ms, n, 24 - n) for n in range(3)]
    state["events"] = _events(now_ms)
    state["alarms"] = [_alarm(now_ms - 6_700_000, "alarm", [21], confirmed="李强", closed="李强", text="甲烷")]
    return state


_READINGS: tuple[tuple[int, str, float | None, str, float | None], ...] = (
    (21, "甲烷", 4.1, "%LEL", 5.0),
    (9, "内河水位", 3.42, "m", 3.8),
    (31, "风速", 29, "m/s", 40.0),
    (17, "雨量 1 h", 46, "mm", None),
    (12, "水温", None, "°C", None),
)


def _reading(now_ms: int, number: int, series: str, value: float | None, unit: str, limit: float | None) -> State:
    history: list[list[float | int | None]] = [
        [now_ms - (40 - n) * 60_000, None if 12 < n < 18 else (value or 20) * (0.8 + n / 200)] for n in range(40)
    ]
    return {
        "unit": f"kit-{number}",
        "series": series,
        "value": value,
        "unit_text": unit,
        "quality": "good" if value is not None else "invalid",
        "captured_ms": now_ms - 7000,
        "limit": limit,
        "nearness": (value or 0) / limit if limit else 0,
        "history": history,
    }


def _orders(now_ms: int) -> list[State]:
    rows = (
        ("撤到二级避风点", ["kit-7"], "forwarded", ["radio"], "", {"forwarded": 1}),
        ("报人数", [], "read", [], "", {"read": 31, "delivered": 6, "accepted": 3}),
        ("联络报告", ["kit-31"], "accepted", [], "", {"accepted": 1}),
        ("停泵", ["kit-9"], "held", [], "", {"held": 1}),
        ("转移 2 号点", ["kit-6"], "done", [], "38 人已到", {"done": 1}),
    )
    return [
        {
            "id": f"o-{n}",
            "at_ms": now_ms - 60_000 - n * 480_000,
            "text": text,
            "to": to,
            "state": state,
            "via": via,
            "state_at_ms": now_ms - 30_000 - n * 400_000,
            "expires_ms": now_ms + 1_000_000,
            "reply": reply,
            "counts": counts,
            "states": dict.fromkeys(to, state),
            "roll": {"read": [], "delivered": [], "not_reached": to, "ended": []},
            "group": "",
            "is_withdrawal": False,
            "cancelled": None,
        }
        for n, (text, to, state, via, reply, counts) in enumerate(rows)
    ]


def _picture(now_ms: int, n: int, number: int) -> State:
    return {
        "id": f"p-{n}",
        "unit": f"kit-{number}",
        "captured_ms": now_ms - 23_000 - n * 100_000,
        "received_ms": now_ms - 20_000,
        "is_small": n % 2 == 0,
        "caption": "",
        "url": f"{_PIXEL_SVG}p-{n}",
    }


def _events(now_ms: int) -> list[State]:
    rows: tuple[tuple[int, str, State], ...] = (
        (24, "picture", {"size": "small"}),
        (35, "link", {"link": "4g", "from": "up", "to": "degraded"}),
        (7, "order", {"text": "撤到二级避风点", "state": "forwarded"}),
        (31, "link", {"link": "4g", "from": "up", "to": "down"}),
        (17, "picture", {"size": "full"}),
        (0, "duty", {"by": "王敏"}),
    )
    return [
        {"id": f"e-{n}", "at_ms": now_ms - 23_000 * (n + 1), "unit": f"kit-{number}", "code": code, "values": values}
        for n, (number, code, values) in enumerate(rows)
    ]


def _alarm(raised_ms: int, kind: str, numbers: list[int], *, confirmed: str = "", **more: Any) -> State:
    closed = more.pop("closed", "")
    stamp = {"at_ms": raised_ms + 7000, "reason": ""}
    return {
        "id": f"{kind}-{'-'.join(map(str, numbers))}",
        "kind": kind,
        "units": [f"kit-{number}" for number in numbers],
        "raised_ms": raised_ms,
        "received_ms": raised_ms + 1400,
        "latency_s": 1.4,
        "via": ["radio"],
        "text": "",
        "withdrawn_ms": None,
        "confirmed": {"by": confirmed, **stamp} if confirmed else None,
        "closed": {"by": closed, **stamp} if closed else None,
        "cleared_ms": None,
        "back_ms": None,
        "position": None,
    } | more


def command_lost(now_ms: int, *, acknowledged: str = "") -> State:
    """Unit 19 silent for 31 min 12 s."""
    state = command_normal(now_ms)
    unit = unit_of(state, 19)
    _fall_silent(unit, "lost", now_ms - 1_872_000)
    state["alarms"].append(_alarm(now_ms - 1_692_000, "lost", [19], confirmed=acknowledged))
    return state


def command_sos(now_ms: int) -> State:
    """An SOS 6 s old that nobody confirmed; an older lost contact is acknowledged."""
    state = command_lost(now_ms, acknowledged="王敏")
    unit = unit_of(state, 7)
    unit["last_heard_ms"] = now_ms - 4600
    for link in unit["links"][:2]:
        link["state"] = "down"
    state["alarms"].append(_alarm(now_ms - 6000, "sos", [7], position=unit["position"]))
    state["events"].insert(0, {"id": "e-sos", "at_ms": now_ms - 4600, "unit": "kit-7", "code": "sos", "values": {}})
    return state


def command_group_lost(now_ms: int) -> State:
    """Seven units lost within a minute: one alarm; sound of unconfirmed for more than 60 s."""
    state = command_normal(now_ms)
    numbers = [14, 15, 16, 17, 18, 19, 38]
    for number in numbers:
        _fall_silent(unit_of(state, number), "lost", now_ms - 400_000)
    state["alarms"].append(_alarm(now_ms - 220_000, "lost", numbers, via=["4g"]))
    return state


def command_threat(now_ms: int) -> State:
    """A rule with ``life_threat`` and, unconfirmed beside it, an ordinary alarm; an SOS was withdrawn."""
    state = command_normal(now_ms)
    state["alarms"] += [
        _alarm(now_ms - 20_000, "threat", [21], text="甲烷 5.6 %LEL", back_ms=now_ms - 4000),
        _alarm(now_ms - 9000, "alarm", [9], text="内河水位 3.92 m"),
    ]
    return state


def command_withdrawn(now_ms: int) -> State:
    """An SOS that the team took back within 10 s and that nobody confirmed for more than a minute."""
    state = command_normal(now_ms)
    state["alarms"].append(_alarm(now_ms - 75_000, "sos", [5], withdrawn_ms=now_ms - 68_000))
    return state


def command_after_outage(now_ms: int) -> State:
    """Unit 32 is back after 16 min 50 s; history is filling in."""
    state = command_normal(now_ms)
    unit = unit_of(state, 32)
    unit.update(state="back", back_after_s=1010, last_heard_ms=now_ms - 4000, reported_ms=now_ms - 4000)
    unit["links"][0]["state"] = "down"
    unit["backlog"] = [
        {"kind": "picture", "bundles": 3, "bytes": 1_800_000, "expected_s": 40},
        {"kind": "history", "bundles": 540, "bytes": 61_000, "expected_s": 120},
    ]
    begin_ms = now_ms - 1_920_000
    parts = (("received", 500_000), ("missing", 540_000), ("late", 480_000), ("received", 400_000))
    unit["gap"] = {
        "from_ms": begin_ms,
        "to_ms": now_ms,
        "complete_in_s": 120,
        "parts": [{"state": name, "ms": ms} for name, ms in parts],
    }
    rows = (
        ("alarm", "水位 3.9 m", 0, "urgent", 1),
        ("text", "码头封闭", 960, "urgent", 1),
        ("position", "", 0, "newest", 1),
        ("reading", "", 3, "newest", 6),
        ("picture", "", 49, "newest", 1),
        ("reading", "", 900, "history", 1416),
    )
    unit["arrivals"] = [
        {
            "n": n + 1,
            "arrived_ms": now_ms - 450_000 + n * 1000,
            "captured_ms": now_ms - 450_000 + n * 1000 - late_s * 1000,
            "what": what,
            "text": text,
            "class": order,
            "count": count,
        }
        for n, (what, text, late_s, order, count) in enumerate(rows)
    ]
    unit["track"] = [
        {
            "lat": 27.93 - n * 0.009,
            "lon": 121.23 - n * 0.009,
            "captured_ms": begin_ms + at * 60_000,
            "is_late": 3 < n < 7,
        }
        for n, at in enumerate((0, 2, 4, 14, 16, 18, 20, 22, 24))
    ]
    unit["position"] |= {"lat": 27.858, "lon": 121.158}
    state["alarms"].append(_alarm(now_ms - 1_460_000, "lost", [32], confirmed="王敏", cleared_ms=now_ms - 450_000))
    unit["messages"] = [
        {
            "id": "m-1",
            "text": "码头封闭",
            "phrase": "",
            "at_ms": now_ms - 960_000,
            "precedence": "immediate",
            "read": None,
        }
    ]
    return state


def command_many_reports(now_ms: int) -> State:
    """As after the outage, with five reports of the unit and four outages on its bar."""
    state = command_after_outage(now_ms)
    unit = unit_of(state, 32)
    [message] = unit["messages"]
    unit["messages"] = [
        message
        | {"id": f"m-{n}", "at_ms": now_ms - n * 60_000, "read": {"by": "王敏", "at_ms": now_ms} if n % 2 else None}
        for n in range(5)
    ]
    minutes = (("late", 4), ("received", 9), ("missing", 2), ("late", 1), ("received", 9), ("late", 3), ("received", 4))
    unit["gap"]["parts"] = [{"state": name, "ms": count * 60_000} for name, count in minutes]
    return state


def command_withdrawal(now_ms: int) -> State:
    """A call to leave to forty teams: 31 read, 6 delivered, 3 not reached; one unit's store is full."""
    state = command_normal(now_ms)
    units = [unit["id"] for unit in state["units"]]
    words = ["read"] * 31 + ["delivered"] * 6 + ["forwarded", "accepted", "accepted"]
    state["groups"] = [{"name": "coast", "units": units}]
    order = {
        **state["orders"][0],
        "id": "cp-1~00000000000000aa~F1",
        "text": "堤要决口,立即撤到高处",
        "to": units,
        "group": "coast",
        "is_withdrawal": True,
        "state": "accepted",
        "states": dict(zip(units, words, strict=True)),
        "roll": {"read": units[:31], "delivered": units[31:37], "not_reached": units[37:], "ended": []},
        "counts": {"read": 31, "delivered": 6, "forwarded": 1, "accepted": 2},
    }
    state["orders"] = [order, *state["orders"]]
    unit = unit_of(state, 32)
    unit["held"] = [
        {"precedence": "immediate", "bundles": 2, "bytes": 900, "oldest_age_s": 45},
        {"precedence": "routine", "bundles": 3, "bytes": 7_300_000, "oldest_age_s": 5400},
    ]
    unit["largest"] = [
        {"bundle": f"kit-32~00000000000000aa~R{n}", "flow": "picture", "bytes": size, "age_s": 5400 - n, "asked": asked}
        for n, (size, asked) in enumerate(((4_200_000, ""), (3_000_000, "pull"), (90_000, "cancel")))
    ]
    unit["state"] = "noted"
    unit["store"] = {"used_bytes": 1_000_000_000, "quota_bytes": 1_000_000_000, "is_full": True}
    return state


COMMAND_STATES = {
    "empty": command_empty,
    "normal": command_normal,
    "sos": command_sos,
    "lost": command_lost,
    "group_lost": command_group_lost,
    "threat": command_threat,
    "withdrawn": command_withdrawn,
    "after_outage": command_after_outage,
    "many_reports": command_many_reports,
    "withdrawal": command_withdrawal,
}


def _message(now_ms: int, n: int, kind: str, text: str, state: str, **more: Any) -> State:
    return {
        "id": f"m-{n}",
        "kind": kind,
        "text": text,
        "phrase": "",
        "at_ms": now_ms - n * 180_000,
        "precedence": "immediate",
        "state": state,
        "via": [],
        "by": "",
        "state_at_ms": now_ms - n * 180_000 + 60_000,
        "reason": "",
        "undo_until_ms": None,
        "small_state": None,
        "bytes": 60,
        "answer": "",
        "why": None,
    } | more


def kit_link(name: str, state: str, rate_bps: float | None = None, reason: str = "") -> State:
    return {"name": name, "transport": name, "state": state, "rate_bps": rate_bps, "reason": reason}


def kit_normal(now_ms: int) -> State:
    """Two links up, one degraded, nothing waits, twelve messages."""
    messages = [
        _message(now_ms, 1, "text", "码头水深 1.2 m,可行船", "read", by="王敏"),
        _message(now_ms, 2, "photo", "东侧堤口", "delivered", small_state="delivered", bytes=2_400_000),
        _message(now_ms, 3, "order", "撤到二级避风点", "delivered", by="王敏"),
        *(_message(now_ms, n, "phrase", "", "done", phrase="all_safe", by="王敏") for n in range(4, 13)),
    ]
    return {
        "role": "kit",
        "now_ms": now_ms,
        "csrf": "token-1",
        "started_ms": now_ms - 3_600_000,
        "is_clock_set": True,
        "node": {"id": "kit-7", "number": 7, "name": "大陈岛前突队"},
        "command_heard_ms": now_ms - 3000,
        "links": [kit_link("4g", "up", 8_200_000), kit_link("vsat", "up"), kit_link("radio", "degraded")],
        "missing": [],
        "position": {
            "lat": 28.46,
            "lon": 121.9,
            "captured_ms": now_ms - 11_000,
            "system": "BD",
            "datum": "CGCS2000",
        },
        "messages": messages,
        "waiting": 0,
        "sos": None,
        "siren": None,
        "store": {"used_bytes": 310_000_000, "quota_bytes": 1_000_000_000, "is_full": False},
    }


def _why(code: str, **more: Any) -> State:
    return {"code": code, "link": "", "rate_bps": None, "ahead": {}, "ahead_sos": 0, "expected_ms": None} | more


def kit_all_down(now_ms: int) -> State:
    """No link for seven minutes; three messages wait."""
    state = kit_normal(now_ms)
    state["command_heard_ms"] = now_ms - 425_000
    state["links"] = [kit_link(name, "down", reason="no_answer") for name in ("4g", "vsat", "radio")]
    state["messages"] = [
        _message(now_ms, 1, "text", "两人受伤,需要担架", "accepted", why=_why("no_link")),
        _message(
            now_ms, 2, "photo", "北侧塌方", "accepted", why=_why("no_link"), small_state="accepted", bytes=2_400_000
        ),
        _message(now_ms, 3, "phrase", "", "accepted", phrase="road_cut", why=_why("no_link")),
    ]
    state["waiting"] = 3
    return state


def kit_radio_only(now_ms: int) -> State:
    """Only the radio is left; a photo waits behind one IMMEDIATE."""
    state = kit_normal(now_ms)
    state["links"] = [kit_link("4g", "down"), kit_link("vsat", "down"), kit_link("radio", "up", 9600)]
    why = _why("only", link="radio", rate_bps=9600, ahead={"immediate": 1}, expected_ms=now_ms + 196_000)
    state["messages"] = [
        _message(now_ms, 0, "text", "两人受伤,需要担架", "delivered", via=["radio"]),
        _message(
            now_ms,
            1,
            "photo",
            "北侧塌方",
            "accepted",
            why=why,
            small_state="delivered",
            bytes=2_400_000,
        ),
        *(_message(now_ms, n, "text", f"第 {n} 份报告", "read", by="王敏") for n in range(2, 14)),
    ]
    state["waiting"] = 1
    return state


def kit_just_started(now_ms: int) -> State:
    """Started 21 s ago: no SIM, no fix, no clock, no contact."""
    state = kit_normal(now_ms)
    state.update(started_ms=now_ms - 21_000, command_heard_ms=None, messages=[], position=None, is_clock_set=False)
    state["links"] = [kit_link("4g", "down", reason="no_sim"), kit_link("vsat", "unknown"), kit_link("radio", "up")]
    state["missing"] = [
        {"what": "position", "reason": "no_fix"},
        {"what": "time", "reason": "no_clock"},
        {"what": "sensor", "reason": "no_sensor"},
    ]
    return state


def _sos(now_ms: int, age_s: float, **more: Any) -> State:
    at_ms = now_ms - round(age_s * 1000)
    return {
        "id": "b-1",
        "at_ms": at_ms,
        "undo_until_ms": at_ms + 10_000,
        "withdrawn_ms": None,
        "stored_ms": at_ms,
        "sending": ["radio"],
        "received_ms": None,
        "via": [],
        "confirmed": None,
        "closed": None,
    } | more


def kit_sos_undo(now_ms: int) -> State:
    """An SOS pressed 3 s ago, the radio is sending it."""
    return kit_radio_only(now_ms) | {"sos": _sos(now_ms, 3)}


def kit_sos_received(now_ms: int) -> State:
    """Received at command, nobody confirmed; the ten seconds are over."""
    return kit_radio_only(now_ms) | {"sos": _sos(now_ms, 14, received_ms=now_ms - 12_600, via=["radio"], sending=[])}


def kit_sos_confirmed(now_ms: int) -> State:
    """Confirmed by a named person."""
    return kit_radio_only(now_ms) | {
        "sos": _sos(
            now_ms,
            40,
            received_ms=now_ms - 38_600,
            via=["radio"],
            sending=[],
            confirmed={"by": "王敏", "at_ms": now_ms - 27_000, "reason": ""},
        )
    }


def kit_sos_withdrawn(now_ms: int) -> State:
    """Taken back by the team; nobody at command has looked yet."""
    sos = _sos(now_ms, 9, withdrawn_ms=now_ms - 4000, received_ms=now_ms - 7600, via=["radio"], sending=[])
    return kit_radio_only(now_ms) | {"sos": sos}


def kit_order(now_ms: int) -> State:
    """An order that the team has not answered, a refused report, one that expired."""
    state = kit_normal(now_ms)
    state["messages"] = [
        _message(now_ms, 1, "order", "撤到二级避风点,带上所有人和便携站", "delivered", by="王敏"),
        _message(now_ms, 2, "text", "水位还在涨", "refused", reason="store full"),
        _message(now_ms, 3, "text", "需要饮用水", "expired"),
        _message(now_ms, 4, "order", "报人数", "read", by="王敏", answer="read"),
    ]
    return state


def kit_siren(now_ms: int) -> State:
    """Leave now, 40 s ago, and nobody here has answered."""
    state = kit_radio_only(now_ms)
    order = _message(now_ms, 0, "order", "堤要决口,立即撤到高处,带上所有人", "delivered", by="王敏", is_withdrawal=True)
    order["state_at_ms"] = now_ms - 40_000
    return state | {"messages": [order, *state["messages"]], "siren": order["id"]}


def kit_store_full(now_ms: int) -> State:
    """No link, the store takes urgent things only; one order was cancelled, one expired."""
    state = kit_all_down(now_ms)
    cancelled = {"by": "王敏", "at_ms": now_ms - 60_000}
    state["store"] = {"used_bytes": 999_000_000, "quota_bytes": 1_000_000_000, "is_full": True}
    state["messages"] = [
        *state["messages"],
        _message(now_ms, 8, "order", "去北堤", "cancelled", by="王敏", cancelled=cancelled),
        _message(now_ms, 9, "order", "去南堤", "expired", by="王敏"),
    ]
    return state


KIT_STATES = {
    "normal": kit_normal,
    "all_down": kit_all_down,
    "radio_only": kit_radio_only,
    "just_started": kit_just_started,
    "sos_undo": kit_sos_undo,
    "sos_received": kit_sos_received,
    "sos_confirmed": kit_sos_confirmed,
    "sos_withdrawn": kit_sos_withdrawn,
    "order": kit_order,
    "siren": kit_siren,
    "store_full": kit_store_full,
}
