"""Payloads as a kit makes them."""

from edge_agent.telemetry.payloads import Picture, Position, UnitReport

DUE_S = 20.0


def report(at_ms: int, *, due_s: float = DUE_S, name: str = "大陈岛前突队") -> UnitReport:
    """A kit with one radio link and nothing that waits."""
    links = [["radio", "up", 9600, 0.3, 0.0, "serial_radio"]]
    return UnitReport(at_ms=at_ms, due_s=due_s, name=name, number=7, links=links, backlog=[])


def position(captured_ms: int) -> Position:
    """A fix."""
    return Position(lat_deg=28.46, lon_deg=121.9, captured_at_ms=captured_ms, system="BD")


def picture(captured_ms: int, *, is_small: bool, full_id: str = "p1") -> Picture:
    """One of the two versions of a photo."""
    return Picture(
        image=b"\xff\xd8\xff", mime="image/jpeg", captured_at_ms=captured_ms, is_small=is_small, full_id=full_id
    )
