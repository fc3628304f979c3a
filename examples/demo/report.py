"""What the demo proves: the report for machines, the proof for the page, the summary for the terminal."""

from typing import Any

from examples.demo.arrivals import Group, is_in_order, order_after
from examples.demo.bench import Bench
from examples.demo.ledger import Ledger
from examples.demo.page import Json
from examples.demo.script import Script

SOS_LIMIT_S = 2.0


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
    ledger: Ledger, script: Script, bench: Bench, command: Json | None, *, zero_ms: int, seconds: float
) -> Json:
    """The report as DESIGN section 10 lays it out, and the order of arrival after the outage."""
    groups = order(ledger, script, zero_ms)
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
        "links": bench.traffic(),
        "arrivals": [each.to_report(n) for n, each in enumerate(groups, 1)],
        "arrivals_in_order": is_in_order(groups),
        "problems": script.problems,
    }


def judge(report: Json) -> list[tuple[str, str, str, str, bool]]:
    """Rows (what in Chinese, what in English, this run, required, holds)."""
    rows = report["precedence"].values()
    lost, doubled = sum(row["lost"] for row in rows), sum(row["duplicated"] for row in rows)
    sos = report["sos"][0] if report["sos"] else {"latency_s": None, "confirmed_s": None, "via": []}
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
            latency_s is not None and latency_s <= SOS_LIMIT_S and sos["via"] == ["radio"],
        ),
        (
            "有人确认,本机看到",
            "Confirmed by a person, seen at the kit",
            "–" if confirmed_s is None else f"{confirmed_s:.1f} s",
            "✓",
            confirmed_s is not None,
        ),
        ("失联报警,恢复后自清", "Lost contact raised and cleared", f"{len(contacts)}", ">= 1", cleared),
        (
            "恢复后先急、再新、后旧",
            "After the outage: urgent, newest, history",
            " < ".join(dict.fromkeys(each["class"] for each in report["arrivals"])) or "–",
            "urgent < newest < history",
            report["arrivals_in_order"],
        ),
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


def order(ledger: Ledger, script: Script, zero_ms: int) -> list[Group]:
    """What came from the first kit since the outage was over, in order."""
    return order_after(ledger.arrivals.values(), "kit-1", script.outage_over_s, zero_ms)


def arrivals(ledger: Ledger, script: Script, zero_ms: int) -> list[Json]:
    """The order of arrival for the page."""
    return [each.to_page(number) for number, each in enumerate(order(ledger, script, zero_ms), 1)]


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
