"""The link report as one printable page, in English and Chinese side by side; it loads nothing from anywhere."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from html import escape

from edge_agent.link_report import WINDOW_S, Check, Verdict, Window, overall
from edge_agent.link_report_rows import LinkDay, iso

_HEADINGS: Mapping[str, tuple[str, str]] = {
    "window": ("From (UTC)", "起始(UTC)"),
    "up_s": ("Up s", "可用秒"),
    "down_s": ("Down s", "不可用秒"),
    "unobserved_s": ("Unobserved s", "未观测秒"),
    "availability": ("Availability", "可用率"),
    "delay": ("One-way delay ms (± error)", "单向时延 ms(±误差)"),
    "jitter": ("Jitter ms", "抖动 ms"),
    "success": ("Success ratio", "传输成功率"),
    "errored": ("ES", "误块秒 ES"),
    "severe": ("SES", "严重误块秒 SES"),
    "outages": ("Outages", "中断次数"),
    "mttr": ("MTTR s", "平均修复 s"),
    "switches": ("Switches (ms each)", "切换次数(每次 ms)"),
    "verdict": ("Result", "结论"),
}
_VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.PASS: ("pass", "合格"),
    Verdict.FAIL: ("FAIL", "不合格"),
    Verdict.OPEN: ("open", "无法判定"),
    Verdict.NONE: ("no target", "无指标"),
}
_KINDS: Mapping[str, tuple[str, str]] = {
    "wired": ("wired", "有线"),
    "cellular": ("cellular", "蜂窝"),
    "radio": ("radio", "无线电"),
    "satellite": ("satellite", "卫星"),
    "": ("not stated", "未说明"),
}
_SOURCES: Mapping[str, tuple[str, str]] = {
    "config": ("by the configuration", "按配置"),
    "transport": ("by its transport", "按传输方式"),
    "unstated": ('say it with kind = "..." in its [[link]] table', '请在 [[link]] 表中写明 kind = "..."'),
}
_NOTES = (
    (
        "Delays: half of the link's quickest round trip, plus the waiting on the way there; one way may be longer or "
        "shorter by the error stated. Unobserved seconds count neither as up nor as down. A result is open where less "
        "than 90 % of a span was observed, or where the error reaches across the target.",
        "时延:取本链路最短往返时间的一半,再加去程排队等待;实际单向时延可能相差所列误差。"
        "未观测秒既不计为可用也不计为不可用。观测不足 90 %,或误差跨越指标时,结论为“无法判定”。",
    ),
    ("Definitions: docs/link-report.md", "定义见 docs/link-report.zh.md"),
)
STYLE = """
body { font: 10pt/1.35 sans-serif; margin: 12mm; color: #000; background: #fff }
h1 { font-size: 15pt; margin: 0 0 2mm } h2 { font-size: 12pt; margin: 7mm 0 1mm }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { border: 1px solid #777; padding: 1mm; text-align: right; vertical-align: top } th { font-weight: 600 }
th span { display: block; font-weight: 400 } tr.day td { font-weight: 600 } .fail { text-decoration: underline }
tr { break-inside: avoid } thead { display: table-header-group } p { margin: 1mm 0 }
nav a { display: inline-block; padding: 3mm 4mm; color: #000 } nav b { padding: 3mm 4mm }
@media print { nav { display: none } }
@page { size: A4 landscape; margin: 10mm }
"""


def page_text(links: Sequence[LinkDay], node_id: str, day: date, *, days: Sequence[str] = ()) -> str:
    """The whole page. ``days`` that have a report lead to it where a node serves this page; they are not printed."""
    title = f"Link report 链路报告 · {node_id} · {day.isoformat()}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f'<p>{escape(english)}</p><p lang="zh">{escape(chinese)}</p>' for english, chinese in _NOTES),
        *_day_links(day, days),
        *(part for link in links for part in _link_parts(link)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _day_links(day: date, days: Sequence[str]) -> Iterable[str]:
    if days:
        yield "<nav>Days (UTC) 日期(UTC):"
        for each in days:
            text = escape(each)
            yield f"<b>{text}</b>" if each == day.isoformat() else f'<a href="/report/{text}">{text}</a>'
        yield "</nav>"


def _link_parts(link: LinkDay) -> Iterable[str]:
    kind, source = _KINDS[link.kind.kind.value], _SOURCES[link.kind.source]
    peer = link.place.peer or "–"
    yield f"<h2>{escape(link.place.link)} → {escape(peer)}</h2>"
    yield (
        f"<p>Kind 类别: {escape(' '.join(kind))} ({escape(source[0])}; {escape(source[1])}). "
        f"Transport 传输: {escape(link.transport or '–')}.{_oddities(link)}</p>"
    )
    checks = link.checks(link.windows[-1]) if link.windows else []
    if checks:
        spans = link.windows[-1].span_s / WINDOW_S
        yield f"<p>Targets 指标: {escape('; '.join(_target(each, spans) for each in checks))}</p>"
    yield "<table><thead><tr>"
    yield "".join(f'<th>{escape(en)}<span lang="zh">{escape(zh)}</span></th>' for en, zh in _HEADINGS.values())
    yield "</tr></thead><tbody>"
    for window in link.windows:
        yield _row(link, window)
    yield "</tbody></table>"


def _oddities(link: LinkDay) -> str:
    told = (
        (link.unset_rows, "rows of a clock nobody had set", "行的时钟未校准"),
        (link.doubled_s, "seconds claimed twice by a clock that went back", "秒因时钟回拨重复"),
        (link.unread_lines, "unreadable lines", "行无法读取"),
    )
    return "".join(f" {count} {english} {chinese}." for count, english, chinese in told if count)


def _target(check: Check, spans: float) -> str:
    """One target in words; ``spans``: how many times two hours it is for."""
    name = " ".join(_HEADINGS[check.name])
    if check.name in ("availability", "success"):
        return f"{name} ≥ {check.limit * 100:g} %"
    if check.name in ("errored", "severe"):
        return f"{name} ≤ {check.limit / spans:g} / 2 h"
    return f"{name} ≤ {check.limit * 1000:g}"


def _row(link: LinkDay, window: Window) -> str:
    checks = link.checks(window)
    failed = {check.name for check in checks if check.verdict is Verdict.FAIL}
    is_day = window is link.windows[-1]
    verdict = overall(checks)
    cells = {
        "window": "day 全天" if is_day else iso(window.start)[11:16],
        "up_s": str(window.up_s),
        "down_s": str(window.down_s),
        "unobserved_s": str(window.unobserved_s),
        "availability": _percent(window.availability_ratio),
        "delay": _delay(window),
        "jitter": _ms(window.jitter_s),
        "success": _percent(window.success_ratio),
        "errored": str(window.errored_s),
        "severe": str(window.severe_s),
        "outages": str(window.outages),
        "mttr": "–" if window.repair_s is None else f"{window.repair_s:.1f}",
        "switches": str(window.switches) + ("" if window.switch_s is None else f" ({window.switch_s * 1000:.0f})"),
        "verdict": " ".join(_VERDICTS[verdict]),
    }
    if verdict is Verdict.FAIL:
        failed.add("verdict")
    marked = "".join(
        f'<td class="fail">{escape(text)}</td>' if name in failed else f"<td>{escape(text)}</td>"
        for name, text in cells.items()
    )
    return f'<tr class="day">{marked}</tr>' if is_day else f"<tr>{marked}</tr>"


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio * 100:.4f} %"


def _ms(value_s: float | None) -> str:
    return "–" if value_s is None else f"{value_s * 1000:.1f}"


def _delay(window: Window) -> str:
    if window.delay_s is None or window.error_s is None:
        return "not measurable 不可测"
    return f"{window.delay_s * 1000:.1f} ± {window.error_s * 1000:.1f}"
