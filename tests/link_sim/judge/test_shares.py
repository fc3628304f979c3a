"""The judge of neglect: a class that gets nothing for a minute of sending complains; an outage begins it anew."""

from edge_agent.core.bundle import Precedence
from link_sim.judge.shares import NeglectJudge

FRAME_BYTES, FRAME_S = 1_000, 0.5
ALL_READY = [True] * len(Precedence)


def complaint_of(seconds: float, *, outage_at_s: float | None = None) -> str:
    """What is said of PRIORITY while IMMEDIATE takes every frame of a link for so long."""
    judge, now_s = NeglectJudge(0.05), 0.0
    class_bytes = [0] * len(Precedence)
    class_bytes[Precedence.IMMEDIATE] = FRAME_BYTES
    while now_s < seconds:
        if outage_at_s is not None and now_s == outage_at_s:
            judge.forget()
        wrong = judge.note(now_s, class_bytes, ALL_READY, (Precedence.PRIORITY,), FRAME_BYTES, is_alone=True)
        if wrong:
            return wrong
        now_s += FRAME_S
    return ""


def test_a_class_that_gets_nothing_for_a_minute_of_sending_is_neglected() -> None:
    assert "PRIORITY was ready" in complaint_of(80.0)


def test_less_than_a_minute_is_no_neglect() -> None:
    assert complaint_of(60.0) == ""


def test_the_minute_begins_anew_after_an_outage() -> None:
    assert complaint_of(100.0, outage_at_s=40.0) == ""
    assert "PRIORITY was ready" in complaint_of(120.0, outage_at_s=40.0)
