"""From raw seconds to a link report: pure sums over windows, and what they are worth against the targets of a kind.

Definitions, in words and with their sources: docs/link-report.md. A second is up, down or unobserved; what was not
observed is neither for nor against a link, and where too much of it is missing the answer is "open".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import groupby, pairwise

from edge_agent.link_kinds import LinkTargets
from edge_agent.link_seconds import SecondRow
from edge_agent.link_seconds_files import DAY_S, DaySeconds

WINDOW_S = 7200
"""Two hours."""
SEVERE_RATIO = 0.3
"""A second in which more of the frames were lost is severely errored."""
OBSERVED_RATIO = 0.9
"""A window of which less was observed passes nothing that counts seconds."""


class Seen(Enum):
    """What one second was."""

    UP = "up"
    DOWN = "down"
    AWAY = "away"
    """Convicted, and nothing was sent that could have proved anything: down if what is around it is."""
    UNOBSERVED = "unobserved"


class Verdict(StrEnum):
    """What came of a target."""

    PASS = "pass"
    FAIL = "fail"
    OPEN = "open"
    """Not enough was observed, or it cannot be measured, to say either."""
    NONE = "no target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """All rows of one second of UTC together. Delays are sums over ``timed`` frames, in seconds."""

    at: int
    seen: Seen
    arrived: int = 0
    lost: int = 0
    timed: int = 0
    delay_sum_s: float = 0.0
    delay_max_s: float = 0.0
    jitter_sum_s: float = 0.0
    error_s: float = 0.0
    doubts: int = 0
    switches: int = 0
    switch_s: float = 0.0

    @property
    def is_severe(self) -> bool:
        return self.seen is Seen.DOWN or self.lost > SEVERE_RATIO * (self.arrived + self.lost)

    @property
    def is_errored(self) -> bool:
        return self.seen is Seen.DOWN or self.lost > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of a day. None: nothing there to measure it by. ``error_s`` bounds the delay both ways.

    ``arrived`` and ``lost`` are frames of seconds that were up: an outage is counted once, as an outage.
    """

    start: int
    span_s: int
    up_s: int
    down_s: int
    arrived: int
    lost: int
    errored_s: int
    severe_s: int
    delay_s: float | None
    delay_max_s: float | None
    error_s: float | None
    jitter_s: float | None
    outages: int
    repair_s: float | None
    doubts: int
    switches: int
    switch_s: float | None

    @property
    def observed_s(self) -> int:
        return self.up_s + self.down_s

    @property
    def unobserved_s(self) -> int:
        return self.span_s - self.observed_s

    @property
    def availability_ratio(self) -> float | None:
        return self.up_s / self.observed_s if self.observed_s else None

    @property
    def success_ratio(self) -> float | None:
        frames = self.arrived + self.lost
        return self.arrived / frames if frames else None


@dataclass(frozen=True, slots=True)
class Check:
    """One target of one window: ``name`` is a key of the words of the report."""

    name: str
    limit: float
    verdict: Verdict


def seconds_of(day: DaySeconds) -> list[Second]:
    """The seconds of a day in their order; of several that claim one place in UTC the worst says what it was."""
    seconds = [_second(at, claims.values()) for at, claims in sorted(day.rows.items())]
    return _settle_away(seconds)


def _second(at: int, claims: Iterable[Sequence[SecondRow]]) -> Second:
    claims = list(claims)
    rows = [row for claim in claims for row in claim]
    seen = {_seen(claim) for claim in claims}
    return Second(
        at=at,
        seen=next(each for each in (Seen.DOWN, Seen.AWAY, Seen.UP, Seen.UNOBSERVED) if each in seen),
        arrived=sum(row.arrived for row in rows),
        lost=max(0, sum(row.lost for row in rows)),
        timed=sum(row.timed for row in rows),
        delay_sum_s=sum(row.delay_s * row.timed for row in rows),
        delay_max_s=max(row.delay_max_s for row in rows),
        jitter_sum_s=sum(row.jitter_s * row.timed for row in rows),
        error_s=max(row.error_s for row in rows),
        doubts=sum(row.doubts for row in rows),
        switches=sum(row.switches for row in rows),
        switch_s=sum(row.switch_s for row in rows),
    )


def _seen(rows: Sequence[SecondRow]) -> Seen:
    """What one second of one run was."""
    letters = "".join(row.seen for row in rows)
    if sum(row.arrived for row in rows) > 0:
        return Seen.UP
    if "x" in letters or sum(row.lost for row in rows) > 0 or ("d" in letters and "s" in letters):
        return Seen.DOWN
    if "d" in letters:
        return Seen.AWAY
    return Seen.UP if "h" in letters else Seen.UNOBSERVED


def _settle_away(seconds: Sequence[Second]) -> list[Second]:
    """Seconds of a convicted link in which nothing was tried are down between two that are, else unobserved."""
    settled: list[Second] = []
    stretches = [list(stretch) for _, stretch in groupby(seconds, key=lambda each: each.seen is Seen.AWAY)]
    for stretch, after in pairwise([*stretches, []]):
        if stretch[0].seen is not Seen.AWAY:
            settled += stretch
            continue
        ends = [*settled[-1:], *after[:1]]
        is_whole = len(ends) == 2 and ends[1].at - ends[0].at == len(stretch) + 1
        is_down = is_whole and all(each.seen is Seen.DOWN for each in ends)
        settled += [_as(each, Seen.DOWN if is_down else Seen.UNOBSERVED) for each in stretch]
    return settled


def _as(second: Second, seen: Seen) -> Second:
    return Second(at=second.at, seen=seen, doubts=second.doubts, switches=second.switches, switch_s=second.switch_s)


def windows_of(seconds: Sequence[Second], day_start: int, until: int) -> Iterator[Window]:
    """The windows of a day as far as it has passed (``until``, UTC seconds), and the day itself as the last one."""
    end = min(day_start + DAY_S, until)
    for start in range(day_start, end, WINDOW_S):
        yield window_of(seconds, start, min(WINDOW_S, end - start))
    if end > day_start:
        yield window_of(seconds, day_start, end - day_start)


def window_of(seconds: Sequence[Second], start: int, span_s: int) -> Window:
    """The sums of one span."""
    inside = [each for each in seconds if start <= each.at < start + span_s]
    up = [each for each in inside if each.seen is Seen.UP]
    timed = sum(each.timed for each in inside)
    outages_s = _outages_s(inside)
    switches = sum(each.switches for each in inside)
    return Window(
        start=start,
        span_s=span_s,
        up_s=len(up),
        down_s=sum(each.seen is Seen.DOWN for each in inside),
        arrived=sum(each.arrived for each in up),
        lost=sum(each.lost for each in up),
        errored_s=sum(each.is_errored for each in inside),
        severe_s=sum(each.is_severe for each in inside),
        delay_s=sum(each.delay_sum_s for each in inside) / timed if timed else None,
        delay_max_s=max(each.delay_max_s for each in inside) if timed else None,
        error_s=max(each.error_s for each in inside) if timed else None,
        jitter_s=sum(each.jitter_sum_s for each in inside) / timed if timed else None,
        outages=len(outages_s),
        repair_s=sum(outages_s) / len(outages_s) if outages_s else None,
        doubts=sum(each.doubts for each in inside),
        switches=switches,
        switch_s=sum(each.switch_s for each in inside) / switches if switches else None,
    )


def _outages_s(seconds: Sequence[Second]) -> list[int]:
    """How many seconds each outage was down: an outage lasts until the link was seen up."""
    outages_s: list[int] = []
    is_out = False
    for second in seconds:
        if second.seen is Seen.DOWN:
            if not is_out:
                outages_s.append(0)
            outages_s[-1] += 1
            is_out = True
        elif second.seen is Seen.UP:
            is_out = False
    return outages_s


def checks_of(window: Window, targets: LinkTargets | None) -> list[Check]:
    """Every target against a window; none without targets."""
    if targets is None:
        return []
    spans = window.span_s / WINDOW_S
    checks = [Check("availability", limit, _availability(window, limit)) for limit in targets.availability_ratios]
    checks.append(Check("delay", targets.delay_s, _delay(window, targets.delay_s)))
    checks.append(Check("jitter", targets.jitter_s, _at_most(window.jitter_s, targets.jitter_s)))
    success = window.success_ratio
    checks.append(
        Check("success", targets.success_ratio, _at_most(None if success is None else -success, -targets.success_ratio))
    )
    checks.append(Check("errored", targets.errored_s * spans, _count(window, window.errored_s, targets.errored_s)))
    checks.append(Check("severe", targets.severe_s * spans, _count(window, window.severe_s, targets.severe_s)))
    return checks


def _availability(window: Window, limit: float) -> Verdict:
    if window.down_s > (1 - limit) * window.span_s:  # whatever the seconds nobody saw were
        return Verdict.FAIL
    ratio = window.availability_ratio
    if ratio is None or ratio < limit or window.observed_s < OBSERVED_RATIO * window.span_s:
        return Verdict.OPEN
    return Verdict.PASS


def _delay(window: Window, limit_s: float) -> Verdict:
    if window.delay_s is None or window.error_s is None:
        return Verdict.OPEN
    if window.delay_s > limit_s:
        return Verdict.FAIL
    return Verdict.PASS if window.delay_s + window.error_s <= limit_s else Verdict.OPEN


def _at_most(value: float | None, limit: float) -> Verdict:
    if value is None:
        return Verdict.OPEN
    return Verdict.PASS if value <= limit else Verdict.FAIL


def _count(window: Window, count: int, limit: int) -> Verdict:
    if count > limit * window.span_s / WINDOW_S:
        return Verdict.FAIL
    return Verdict.PASS if window.observed_s >= OBSERVED_RATIO * window.span_s else Verdict.OPEN


def overall(checks: Iterable[Check]) -> Verdict:
    """Fail where one fails, else open where one is; without any check there is no target."""
    verdicts = {check.verdict for check in checks}
    for verdict in (Verdict.FAIL, Verdict.OPEN, Verdict.PASS):
        if verdict in verdicts:
            return verdict
    return Verdict.NONE
