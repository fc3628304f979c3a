"""The process that makes a printable link report for a page (``link_report_maker``): JSON in, HTML out."""

import json
import os
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from edge_agent.link_report_page import page_text
from edge_agent.link_report_rows import StatedLink, link_days
from edge_agent.link_seconds_files import days_of

NICENESS = 10
"""Messages go first."""


def make(asked_text: str, now: int) -> str:
    """The page of what was asked for. Raises OSError, ValueError."""
    asked = json.loads(asked_text)
    today = datetime.fromtimestamp(now, UTC).date()
    day = date.fromisoformat(asked["day"]) if asked["day"] else today
    folder = Path(asked["folder"])
    links = link_days(folder, asked["node_id"], day, [StatedLink(*each) for each in asked["links"]], now)
    return page_text(links, asked["node_id"], day, days=sorted({*days_of(folder), today.isoformat()}))


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a real file, not a test's
    sys.stdout.write(make(sys.stdin.read(), int(time.time())))
