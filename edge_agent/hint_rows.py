"""What devices say of a node's links, as its report tells command: few bytes, and on thin links changes only."""

from collections.abc import Iterable
from typing import Any

from edge_agent.core.link_hint import HintReport
from edge_agent.core.report import LinkReport
from edge_agent.telemetry.payloads import HINTS_MAX

TOLD_TIMES = 3
"""A report that waits gives way to the next one: so many of those that could leave carry a change."""
Row = list[Any]  # Any: the types of a UnitReport's row


class HintRows:
    """Remembers what was told, to say nothing new in no byte."""

    def __init__(self) -> None:
        self._told: list[Row] = []
        self._left = 0

    def next_rows(self, links: Iterable[LinkReport], *, is_thin: bool, is_open: bool) -> list[Row] | None:
        """For the next report; None: as before. ``is_thin``: only changes are worth their bytes; ``is_open``: it may
        leave soon. A figure that moved is no change, a link that is connected or warned of is one."""
        found = {(link.link, hint.source): _row(link.link, hint) for link in links for hint in link.hints}
        rows = list(found.values())[:HINTS_MAX]
        news = [[*row[:2], *row[4:6]] for row in rows]
        if news != self._told:
            self._told, self._left = news, TOLD_TIMES
        if not self._left and (is_thin or not rows):
            return None
        self._left = max(0, self._left - is_open)
        return rows


def _row(link: str, told: HintReport) -> Row:
    """Figures are whole: a float costs nine bytes."""
    hint = told.hint
    dbm, snr_db = (None if each is None else round(each) for each in (hint.signal_dbm, hint.snr_db))
    return [link, told.source, dbm, snr_db, hint.is_up, told.warns, hint.note]
