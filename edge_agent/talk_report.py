"""``edge-agent report``: what the links of this node did on one day. It reads files; no agent needs to run."""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from edge_agent.cli import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE
from edge_agent.config import Config, load_config
from edge_agent.config_tables import ConfigError
from edge_agent.core.errors import EdgeAgentError
from edge_agent.link_report import Verdict, Window, overall
from edge_agent.link_report_page import page_text
from edge_agent.link_report_rows import (
    LinkDay,
    ReportError,
    StatedLink,
    cells_of,
    check_signature,
    csv_text,
    iso,
    link_days,
)
from edge_agent.link_seconds_files import FOLDER, days_of
from edge_agent.registry import installed_plugins
from edge_agent.security.secret_file import load_secret
from edge_agent.talk import complain, language_of, print_text

_VERDICT_WORDS = {
    "en": {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.OPEN: "open", Verdict.NONE: "no target"},
    "zh": {Verdict.PASS: "合格", Verdict.FAIL: "不合格", Verdict.OPEN: "无法判定", Verdict.NONE: "无指标"},
}
_LINES = {
    "en": "  {start} up {up} s, down {down} s, unobserved {unobserved} s; availability {availability}, "
    "delay {delay}, jitter {jitter}, success {success}, ES {errored}, SES {severe}, {switches} switches: {verdict}",
    "zh": "  {start} 可用 {up} 秒,不可用 {down} 秒,未观测 {unobserved} 秒;可用率 {availability},"
    "时延 {delay},抖动 {jitter},成功率 {success},ES {errored},SES {severe},切换 {switches} 次:{verdict}",
}


def report(options: argparse.Namespace) -> int:
    """Print the report of a day, or write it as CSV and as a page; or say whether a CSV is genuine."""
    try:
        config = load_config(options.config, installed_plugins())
        secret = load_secret(config.secret_file)
        if options.verify is not None:
            return _verify(options.verify, secret)
        return _report(options, config, secret)
    except (ConfigError, EdgeAgentError) as error:
        complain(str(error) if isinstance(error, ConfigError) else f"edge-agent report: {error}")
        return EXIT_USAGE
    except OSError as error:
        complain(f"edge-agent report: {error.filename}: {error.strerror}")
        return EXIT_USAGE


def _verify(file: Path, secret: bytes) -> int:
    try:
        check_signature(file.read_bytes(), secret)
    except ReportError as error:
        complain(f"{file}: {error}")
        return EXIT_REFUSED
    print_text(f"{file}: made by somebody who holds this deployment's secret, and not changed since")
    return EXIT_DONE


def _report(options: argparse.Namespace, config: Config, secret: bytes) -> int:
    folder = config.data_dir / FOLDER
    now = int(time.time())
    day = options.day or datetime.fromtimestamp(now, UTC).date()
    stated = [StatedLink(each.name, each.transport, each.kind) for each in config.links]
    links = link_days(folder, config.node_id, day, stated, now)
    if not any(window.observed_s for link in links for window in link.windows):
        known = list(days_of(folder))
        complain(f"no link was observed on {day} (UTC); there are: {', '.join(known) or 'no days'}")
        return EXIT_REFUSED
    if options.csv is not None:
        options.csv.write_text(csv_text(links, secret), encoding="utf-8")
    if options.html is not None:
        options.html.write_text(page_text(links, config.node_id, day), encoding="utf-8")
    if options.json:
        print_text(json.dumps(_json(links, config.node_id, day), ensure_ascii=False, indent=2))
    elif options.csv is None and options.html is None:
        _print(links, config.node_id, day)
    return EXIT_DONE


def _json(links: Sequence[LinkDay], node_id: str, day: date) -> dict[str, object]:
    rows = [
        {**cells_of(link, window), "targets": [asdict(check) for check in link.checks(window)]}
        for link in links
        for window in link.windows
    ]
    return {"node": node_id, "day": day.isoformat(), "rows": rows}


def _print(links: Sequence[LinkDay], node_id: str, day: date) -> None:
    language = language_of(os.environ)
    print_text(f"{node_id}, {day.isoformat()} (UTC)")
    for link in links:
        peer = f" -> {link.place.peer}" if link.place.peer else ""
        print_text(f"{link.place.link}{peer} ({link.kind.kind.value or 'kind not stated'}, {link.kind.source})")
        for window in link.windows:
            print_text(_line(link, window, language))


def _line(link: LinkDay, window: Window, language: str) -> str:
    is_day = window is link.windows[-1]
    return _LINES[language].format(
        start="24 h " if is_day else iso(window.start)[11:16],
        up=window.up_s,
        down=window.down_s,
        unobserved=window.unobserved_s,
        availability=_percent(window.availability_ratio),
        delay="-"
        if window.delay_s is None or window.error_s is None
        else f"{window.delay_s * 1000:.1f} ± {window.error_s * 1000:.1f} ms",
        jitter="-" if window.jitter_s is None else f"{window.jitter_s * 1000:.1f} ms",
        success=_percent(window.success_ratio),
        errored=window.errored_s,
        severe=window.severe_s,
        switches=window.switches,
        verdict=_VERDICT_WORDS[language][overall(link.checks(window))],
    )


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio * 100:.4f} %"
