"""What the demo proves: the report for machines, the proof for the page, the summary for the terminal."""

from typing import Any

from examples.demo.bench import Bench
from examples.demo.ledger import Ledger
from examples.demo.page import Json
from examples.demo.script import Script

SOS_LIMIT_S = 2.0
KINDS = {
    "sos": ("求救", "SOS"),
    "position": ("位置", "position"),
    "reading": ("读数", "reading"),
    "report": ("状态", "status"),
    "picture": ("图片", "picture"),
    "text": ("文字", "text"),
}


def lost_contacts(command: Json | None, zero_ms: int) -> list[Json]:
    """Alarms of lost contact as command raised them, in seconds of the demo."""
    rows: list[Json] = []
    for alarm in command["alarms"] if command is not None else ():
        if alarm["kind"] == "lost":
            cleared_ms = alarm["cleared_ms"]
            rows += [
                {
                    "unit": unit,
                    "raised_at_s": round((alarm["raised_ms"] - zero_ms) / 1000, 3),
                    "cleared_at_s": None if cleared_ms is None else round((cleared_ms - zero_ms) / 1000, 3),
                }
                for unit in alarm["units"]
            ]
    return rows


def make_report(
    ledger: Ledger, script: Script, status: Json, command: Json | None, *, zero_ms: int, seconds: float
) -> Json:
    """The report as DESIGN section 10 lays it out."""
    return {
        "seconds": round(seconds, 1),
        "precedence": ledger.tally(),
        "sos": [
            {
                "bundle": sos.bundle,
                "raised_at_s": sos.raised_at_s,
                "latency_s": sos.latency_s,
                "confirmed_s": sos.confirmed_s,
                "via": sos.via,
            }
            for sos in script.sos
        ],
        "lost_contact": lost_contacts(command, zero_ms),
        "longest_silence_s": ledger.longest_silence_s("kit-1"),
        "links": {
            link["name"]: {"sent_bytes": link["sent_bytes"], "received_bytes": link["received_bytes"]}
            for link in status.get("links", ())
        },
        "problems": script.problems,
    }


def judge(report: Json) -> list[tuple[str, str, str, str, bool]]:
    """Rows (what in Chinese, what in English, this run, required, holds)."""
    rows = report["precedence"].values()
    lost, doubled = sum(row["lost"] for row in rows), sum(row["duplicated"] for row in rows)
    sos = report["sos"][0] if report["sos"] else {"latency_s": None, "confirmed_s": None}
    latency_s, confirmed_s = sos["latency_s"], sos["confirmed_s"]
    contacts = [each for each in report["lost_contact"] if each["unit"] == "kit-1"]
    cleared = bool(contacts) and all(each["cleared_at_s"] is not None for each in contacts)
    return [
        (
            "凡已存入的都有下落",
            "Everything accepted is accounted for",
            f"{lost} · {doubled}",
            "0 · 0",
            lost == doubled == 0,
        ),
        (
            "只剩电台时求救到达",
            "SOS by the radio alone",
            "–" if latency_s is None else f"{latency_s:.2f} s",
            f"<= {SOS_LIMIT_S:g} s",
            latency_s is not None and latency_s <= SOS_LIMIT_S,
        ),
        (
            "有人确认,本机看到",
            "Confirmed by a person, seen at the kit",
            "–" if confirmed_s is None else f"{confirmed_s:.1f} s",
            "✓",
            confirmed_s is not None,
        ),
        ("失联报警,恢复后自清", "Lost contact raised and cleared", f"{len(contacts)}", ">= 1", cleared),
    ]


def is_good(report: Json) -> bool:
    """Whether the run proved what it promises."""
    return all(holds for *_, holds in judge(report)) and not report["problems"]


def make_proof(report: Json, bench: Bench, script: Script, command_line: str) -> Json:
    """The last screen of the demo page (docs/api.md, section "demo")."""
    sos = report["sos"][0] if report["sos"] else None
    marks: list[Json] = []
    if sos is not None and sos["latency_s"] is not None:
        at_s = sos["raised_at_s"]
        clock = f"{int(at_s // 60)}:{int(at_s % 60):02d}"
        text = f"{clock} → {sos['latency_s']:.1f} s"
        marks.append({"at_s": at_s, "zh": f"求救 {text}", "en": f"SOS {text}", "row": "top"})
    for contact in report["lost_contact"]:
        marks.append({"at_s": contact["raised_at_s"], "zh": "失联", "en": "lost contact", "row": "bottom"})
        if contact["cleared_at_s"] is not None:
            marks.append({"at_s": contact["cleared_at_s"], "zh": "恢复", "en": "back", "row": "bottom"})
    good = is_good(report)
    zh = "三条链路先后断开。没有丢失,没有重复。" if good else "这一次没有全部达到,见下表。"
    en = (
        "Three links failed one after another. Nothing lost, nothing doubled."
        if good
        else "Not all of it held: see below."
    )
    return {
        "sentence": {"zh": zh, "en": en},
        "rows": [
            {"zh": zh_, "en": en_, "run": {"zh": run, "en": run}, "required": {"zh": need, "en": need}, "holds": holds}
            for zh_, en_, run, need, holds in judge(report)
        ],
        "timeline": {"end_s": report["seconds"], "links": bench.timeline(report["seconds"]), "marks": marks},
        "command": command_line,
        "report": "/demo/report.json",
        "items": None,
    }


def arrivals(ledger: Ledger, since_s: float | None) -> list[Json]:
    """Kinds in the order in which they first came after the outage."""
    if since_s is None:
        return []
    rows: list[Json] = []
    seen: set[str] = set()
    for arrival in ledger.arrivals.values():
        kind = arrival.flow.split(".", 1)[0]
        if arrival.source == "kit-1" and arrival.at_s >= since_s and kind in KINDS and kind not in seen:
            seen.add(kind)
            zh, en = KINDS[kind]
            rows.append({"n": len(rows) + 1, "zh": zh, "en": en, "is_pending": False})
    return rows


def summary(report: Json) -> list[str]:
    """The result in lines for the terminal."""
    lines = [
        f"  {'holds' if holds else 'FAILS':5}  {en}: {run} (required {need})"
        for _, en, run, need, holds in judge(report)
    ]
    total: dict[str, Any] = {}  # Any: counts
    for row in report["precedence"].values():
        for column, number in row.items():
            total[column] = total.get(column, 0) + number
    lines.append("  " + ", ".join(f"{column} {number}" for column, number in total.items()))
    return lines + [f"  problem: {problem}" for problem in report["problems"]]
