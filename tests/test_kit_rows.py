"""What a kit's page says of its messages follows from their fates, the links and what is ahead; nothing is made up."""

import asyncio
from dataclasses import replace
from typing import Any

from edge_agent.core.bundle import BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import LinkReport, NodeReport, QueueReport
from edge_agent.disk.types import Fate, FateState
from edge_agent.kit_memory import KitOrder, PhotoNote, SosRecord
from edge_agent.kit_rows import Outlook, command_heard_ms, order_row, own_rows, sos_json
from edge_agent.page_news import PageNews
from edge_agent.telemetry.payloads import Picture, Position, Text

NOW_MS = 1_760_000_000_000
FLASH_ONLY = frozenset({Precedence.FLASH})


class NoNews(PageNews):
    """News of a node where nothing happened; made without an event loop."""

    def __init__(self) -> None:
        self.position = None
        self._refused = {}


def link(name: str, state: LinkState, rate_bps: float | None = None) -> LinkReport:
    return LinkReport(
        link=name, peer="command", state=state, reason="", since_s=0, last_heard_s=None, rate_bps=rate_bps
    )


def waiting(precedence: Precedence, flow: str, bundles: int, payload_bytes: int) -> QueueReport:
    queue = QueueKey("command", precedence, "kit-1", flow)
    return QueueReport(queue=queue, bundles=bundles, payload_bytes=payload_bytes, oldest_age_s=1.0)


def report(*links: LinkReport, queues: tuple[QueueReport, ...] = ()) -> NodeReport:
    return NodeReport(links=links, queues=queues, last_heard_s={}, peer_roles={}, counters={})


def outlook(*links: LinkReport, queues: tuple[QueueReport, ...] = ()) -> Outlook:
    return Outlook(report=report(*links, queues=queues), news=NoNews(), now_s=100.0, now_ms=NOW_MS)


def fate(
    flow: str = "text",
    *,
    precedence: Precedence = Precedence.IMMEDIATE,
    state: FateState = FateState.ACCEPTED,
    payload: bytes | None = None,
    key: str = "",
    sequence: int = 0,
    **more: Any,  # Any: fields of Fate
) -> Fate:
    header = BundleHeader(destination="command", flow=flow, origin=Origin.PERSON, created_at_ms=NOW_MS, key=key)
    return Fate(
        bundle=BundleId("kit-1", 7, precedence, sequence),
        header=header,
        payload_bytes=more.pop("payload_bytes", len(payload or b"")),
        state=state,
        accepted_ms=NOW_MS,
        payload=payload,
        **more,
    )


def text(words: str, phrase: str = "") -> bytes:
    return Text(text=words, at_ms=NOW_MS, phrase=phrase).pack()


def why(found: Outlook, asked: Fate) -> dict[str, Any]:
    (row,) = own_rows([asked], {}, found)
    reason: dict[str, Any] = row["why"]
    return reason


def test_why_names_the_link_that_is_left_what_is_ahead_and_when() -> None:
    asked = fate(payload=text("x"), payload_bytes=60)
    sos, order = waiting(Precedence.FLASH, "sos", 2, 400), waiting(Precedence.FLASH, "text", 1, 200)
    own, report_queue = waiting(Precedence.IMMEDIATE, "text", 1, 600), waiting(Precedence.PRIORITY, "report", 1, 99)
    radio, dead = link("radio", LinkState.UP, 9_600.0), link("4g", LinkState.DOWN)
    assert why(outlook(radio, dead, queues=(sos, order, own, report_queue)), asked) == {
        "code": "only",
        "link": "radio",
        "rate_bps": 9_600.0,
        "ahead": {"flash": 1},
        "ahead_sos": 2,
        "expected_ms": NOW_MS + 1_000,
    }
    fast = link("4g", LinkState.DEGRADED, 80_000.0)
    assert why(outlook(radio, fast, queues=(order, own)), asked)["code"] == "ahead"
    found = why(outlook(radio, fast, queues=(own,)), asked)
    assert (found["code"], found["link"], found["ahead"], found["ahead_sos"]) == ("sending", "4g", {}, 0)


def test_without_a_link_there_is_no_forecast() -> None:
    found = why(outlook(link("radio", LinkState.DOWN)), fate(payload=text("x")))
    assert (found["code"], found["link"], found["rate_bps"], found["expected_ms"]) == ("no_link", "", None, None)
    found = why(outlook(replace(link("radio", LinkState.UP, 9_600.0), carries=FLASH_ONLY)), fate(payload=text("x")))
    assert (found["code"], found["expected_ms"]) == ("not_allowed", None)


def test_a_peer_without_room_is_said_until_it_has_room_again() -> None:
    found, asked = outlook(link("radio", LinkState.UP, 9_600.0)), fate(payload=text("x"))
    found.news._refused[asked.bundle] = 101.0
    assert why(found, asked)["code"] == "peer_full"
    assert why(replace(found, now_s=101.0), asked)["code"] == "only"


def test_only_what_waits_has_a_reason_and_each_state_has_its_own_time() -> None:
    found = outlook(link("radio", LinkState.UP, 9_600.0))
    for state, times, at_ms in (
        (FateState.FORWARDED, {"forwarded_ms": NOW_MS + 1}, NOW_MS + 1),
        (FateState.DELIVERED, {"delivered_ms": NOW_MS + 2, "forwarded_ms": NOW_MS + 1}, NOW_MS + 2),
        (FateState.EXPIRED, {"closed_ms": NOW_MS + 3}, NOW_MS + 3),
    ):
        (row,) = own_rows([fate(payload=text("x"), state=state, via=("radio",), **times)], {}, found)
        assert (row["state"], row["why"], row["state_at_ms"], row["via"]) == (state.value, None, at_ms, ["radio"])


def test_words_of_the_store_that_pages_lack_are_told_in_theirs() -> None:
    found = outlook()
    (evicted,) = own_rows([fate(payload=text("x"), state=FateState.EVICTED, closed_ms=NOW_MS)], {}, found)
    assert (evicted["state"], "full" in evicted["reason"]) == ("refused", True)
    (superseded,) = own_rows([fate(payload=text("x"), state=FateState.SUPERSEDED, closed_ms=NOW_MS)], {}, found)
    assert superseded["state"] == "cancelled"
    (read,) = own_rows([fate(payload=text("x"), state=FateState.READ, read_ms=NOW_MS, detail="王敏")], {}, found)
    assert (read["state"], read["by"], read["reason"]) == ("read", "王敏", "")


def test_both_versions_of_a_photo_are_one_row_and_a_lone_small_one_is_a_row_too() -> None:
    def small(full_id: str) -> bytes:
        return Picture(
            image=b"i", mime="image/avif", captured_at_ms=NOW_MS, caption="北侧", is_small=True, full_id=full_id
        ).pack()

    full = fate("picture", key="photo-1", payload_bytes=2_400_000, sequence=1)
    first = fate("picture", precedence=Precedence.PRIORITY, state=FateState.DELIVERED, payload=small("photo-1"))
    notes = {"photo-1": PhotoNote(id="photo-1", caption="北侧塌方")}
    (row,) = own_rows([full, first], notes, outlook())
    assert (row["id"], row["kind"], row["text"]) == ("photo-1", "photo", "北侧塌方")
    assert (row["state"], row["small_state"], row["bytes"]) == ("accepted", "delivered", 2_400_000)
    (row,) = own_rows([first], {"photo-1": PhotoNote(id="photo-1", caption="北侧")}, outlook())
    assert (row["kind"], row["text"], row["state"], row["small_state"]) == ("photo", "北侧", "delivered", None)


def test_the_call_for_help_and_answers_are_no_messages_and_programs_texts_are() -> None:
    fates = [
        fate("sos", precedence=Precedence.FLASH),
        fate("sos.withdraw", precedence=Precedence.FLASH),
        fate("read"),
        fate("text", payload="水位 3 m\n".encode()),
        fate("blob", payload=b"\xff\x00"),
        fate("text", payload=text("", "road_cut"), key="phrase-9"),
    ]
    rows = own_rows(fates, {}, outlook())
    assert [(row["kind"], row["text"], row["phrase"]) for row in rows] == [
        ("text", "水位 3 m", ""),
        ("text", "blob", ""),
        ("phrase", "", "road_cut"),
    ]
    assert rows[2]["id"] == "phrase-9"


def test_an_order_that_came_too_late_asks_for_a_person_until_it_is_answered() -> None:
    order = KitOrder(id="command~1", at_ms=NOW_MS, text="撤", received_ms=NOW_MS + 9, is_held=True)
    assert (order_row(order)["state"], order_row(order)["answer"]) == ("held", "")
    order.answer, order.answered_ms = "done", NOW_MS + 20
    row = order_row(order)
    assert (row["state"], row["answer"], row["state_at_ms"]) == ("done", "done", NOW_MS + 20)
    assert order_row(KitOrder(id="x", received_ms=NOW_MS))["state"] == "delivered"


def test_an_sos_that_waits_names_the_links_that_may_send_it() -> None:
    record = SosRecord(id="kit-1~1", at_ms=NOW_MS, undo_until_ms=NOW_MS + 10_000)
    no_flash = replace(link("4g", LinkState.UP), carries=frozenset({Precedence.ROUTINE}))
    links = report(no_flash, link("radio", LinkState.DEGRADED), link("vsat", LinkState.DOWN))
    asked = fate("sos", precedence=Precedence.FLASH)
    assert sos_json(record, asked, links)["sending"] == ["radio"]
    sent = sos_json(record, replace(asked, state=FateState.FORWARDED, via=("radio",)), links)
    assert (sent["sending"], sent["received_ms"], sent["via"]) == ([], None, ["radio"])
    assert sos_json(record, None, links)["stored_ms"] == NOW_MS


def test_an_sos_is_over_when_it_is_closed_or_withdrawn_and_confirmed() -> None:
    by = {"by": "王敏", "at_ms": NOW_MS, "reason": ""}
    assert SosRecord(id="a").is_open
    assert SosRecord(id="a", confirmed=by).is_open
    assert SosRecord(id="a", withdrawn_ms=NOW_MS).is_open
    assert not SosRecord(id="a", withdrawn_ms=NOW_MS, confirmed=by).is_open
    assert not SosRecord(id="a", closed=by).is_open


def test_command_was_heard_when_any_command_post_was_and_nobody_else() -> None:
    heard = NodeReport(
        links=(),
        queues=(),
        last_heard_s={"kit-2": 99.0, "county": 40.0, "city": 70.0},
        peer_roles={"kit-2": "kit", "county": "command", "city": "command"},
        counters={},
    )
    assert command_heard_ms(heard, 100.0, NOW_MS) == NOW_MS - 30_000
    assert command_heard_ms(replace(heard, last_heard_s={"kit-2": 99.0}), 100.0, NOW_MS) is None


async def test_the_newest_position_made_here_is_the_units_own() -> None:
    news = PageNews(asyncio.Event())

    def place(lat_deg: float, captured_at_ms: int) -> bytes:
        return Position(lat_deg=lat_deg, lon_deg=1.0, captured_at_ms=captured_at_ms).pack()

    news.accepted("reading", place(1.0, NOW_MS))
    news.accepted("position", b"\xc1")
    assert (news.position, news.changed.is_set()) == (None, False)
    news.accepted("position.boat", place(2.0, NOW_MS))
    news.accepted("position", place(3.0, NOW_MS - 1))
    assert news.position is not None
    assert (news.position.lat_deg, news.changed.is_set()) == (2.0, True)
