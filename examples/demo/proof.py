"""What a run proved: judged from its report alone, for the exit status, the page's last screen and the terminal."""

from collections import Counter
from dataclasses import dataclass

from examples.demo.arrivals import Rank
from examples.demo.bench import WORDS, Bench
from examples.demo.page import Json

SOS_LIMIT_S = 2.0
SWITCH_LIMIT_S = 4.0
"""Of a satellite that falls silent: a round trip until an answer is missed, one until that is sure, then the radio."""
RANKS = {
    Rank.URGENT.value: ("急", "urgent"),
    Rank.NEWEST.value: ("新", "newest"),
    Rank.HISTORY.value: ("旧", "history"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """The same in Chinese and in English."""

    zh: str
    en: str

    def to_json(self) -> Json:
        """As the demo page takes it."""
        return {"zh": self.zh, "en": self.en}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise, what this run shows of it, what is required, and whether it holds; None: this run cannot tell."""

    what: Words
    run: Words
    required: Words
    holds: bool | None


def _same(text: str) -> Words:
    return Words(text, text)


def judge(report: Json) -> list[Row]:
    """Every promise of the demo."""
    return [_accounts(report), _switches(report), *_sos(report), _lost_contact(report), _order(report)]


def _accounts(report: Json) -> Row:
    rows = report["precedence"].values()
    lost, doubled = sum(row["lost"] for row in rows), sum(row["duplicated"] for row in rows)
    return Row(
        what=Words("凡已存入的都有下落", "Everything accepted is accounted for"),
        run=Words(f"丢失 {lost} · 重复 {doubled}", f"lost {lost} · doubled {doubled}"),
        required=_same("0 · 0"),
        holds=lost == doubled == 0,
    )


def _switches(report: Json) -> Row:
    """A kit that was killed meanwhile knows of none."""
    took_s = report["switches_s"]
    names = [(*WORDS[name], f"{span_s:.2f} s") for name, span_s in took_s.items()]
    return Row(
        what=Words("链路无声中断,另一条接管", "A link falls silent, another takes over"),
        run=Words(
            " · ".join(f"{zh} {span}" for zh, _, span in names) or "–",
            " · ".join(f"{en} {span}" for _, en, span in names) or "–",
        ),
        required=_same(f"≤ {SWITCH_LIMIT_S:g} s"),
        holds=max(took_s.values()) <= SWITCH_LIMIT_S if took_s else None,
    )


def _sos(report: Json) -> list[Row]:
    sos = next((each for each in report["sos"] if each["scripted"]), None)
    latency_s, confirmed_s = (None, None) if sos is None else (sos["latency_s"], sos["confirmed_s"])
    return [
        Row(
            what=Words("只剩电台时求救到达", "SOS by the radio alone"),
            run=_same("–" if latency_s is None else f"{latency_s:.2f} s"),
            required=_same(f"≤ {SOS_LIMIT_S:g} s"),
            holds=sos is not None and latency_s is not None and latency_s <= SOS_LIMIT_S and sos["via"] == ["radio"],
        ),
        Row(
            what=Words("有人确认,本机看到", "Confirmed by a person, seen at the kit"),
            run=_same("–" if confirmed_s is None else f"{confirmed_s:.1f} s"),
            required=Words("看到", "seen"),
            holds=confirmed_s is not None,
        ),
    ]


def _lost_contact(report: Json) -> Row:
    contacts = [each for each in report["lost_contact"] if each["unit"] == "kit-1"]
    cleared = [each for each in contacts if each["cleared_at_s"] is not None]
    return Row(
        what=Words("失联报警,恢复后自清", "Lost contact raised, cleared when heard again"),
        run=Words(f"报警 {len(contacts)} · 已清 {len(cleared)}", f"raised {len(contacts)} · cleared {len(cleared)}"),
        required=Words("≥ 1,全部清除", "≥ 1, all cleared"),
        holds=0 < len(contacts) == len(cleared),
    )


def _order(report: Json) -> Row:
    came = [RANKS[name] for name in dict.fromkeys(each["class"] for each in report["arrivals"])]
    return Row(
        what=Words("恢复后先急、再新、后旧", "After the outage: urgent, newest, history"),
        run=Words(" → ".join(zh for zh, _ in came) or "–", " → ".join(en for _, en in came) or "–"),
        required=Words("急 → 新 → 旧", "urgent → newest → history"),
        holds=report["arrivals_in_order"],
    )


_RESULT = {True: "holds", False: "FAILS", None: "open"}


def is_good(report: Json) -> bool:
    """Whether the run proved what the demo promises, and nothing went wrong on the way."""
    return all(row.holds is not False for row in judge(report)) and not report["problems"]


def make_proof(report: Json, bench: Bench, command_line: str) -> Json:
    """The last screen of the demo page (docs/api.md, section "demo")."""
    if is_good(report):
        sentence = Words(
            "三条链路先后断开。没有丢失,没有重复。",
            "Three links failed one after another. Nothing lost, nothing doubled.",
        )
    else:
        sentence = Words("这一次没有全部达到,见下表。", "Not all of it held: see below.")
    return {
        "sentence": sentence.to_json(),
        "rows": [
            {
                **row.what.to_json(),
                "run": row.run.to_json(),
                "required": row.required.to_json(),
                "holds": row.holds,
            }
            for row in judge(report)
        ],
        "timeline": {"end_s": report["seconds"], "links": bench.timeline(report["seconds"]), "marks": _marks(report)},
        "command": command_line,
        "report": "/demo/report.json",
        "items": None,
    }


def _marks(report: Json) -> list[Json]:
    marks: list[Json] = []
    for sos in report["sos"]:
        if sos["latency_s"] is not None:
            at_s = sos["raised_at_s"]
            text = f"{int(at_s // 60)}:{int(at_s % 60):02d} → {sos['latency_s']:.1f} s"
            marks.append({"at_s": at_s, "zh": f"求救 {text}", "en": f"SOS {text}", "row": "top"})
    if report["arrivals"]:
        words = _order(report).run
        marks.append({"at_s": report["arrivals"][0]["at_s"], "zh": words.zh, "en": words.en, "row": "top"})
    for contact in report["lost_contact"]:
        marks.append({"at_s": contact["raised_at_s"], "zh": "失联", "en": "lost contact", "row": "bottom"})
        if contact["cleared_at_s"] is not None:
            marks.append({"at_s": contact["cleared_at_s"], "zh": "恢复", "en": "back", "row": "bottom"})
    return marks


def summary(report: Json) -> list[str]:
    """The result in lines for the terminal."""
    lines = [
        f"  {_RESULT[row.holds]:5}  {row.what.en}: {row.run.en} (required {row.required.en})" for row in judge(report)
    ]
    total: Counter[str] = Counter()
    for counted in report["precedence"].values():
        total.update(counted)
    lines.append("  " + ", ".join(f"{column} {number}" for column, number in total.items()))
    return lines + [f"  problem: {problem}" for problem in report["problems"]]
