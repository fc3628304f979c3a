"""From a press at the kit to the page of command and back: real agents, real stores, the contract of the pages."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from edge_agent.core.progress import Progress
from edge_agent.kit_memory import KitMemory, KitOrder
from edge_agent.kit_photo import WAITING_PICTURES_MAX
from edge_agent.telemetry.payloads import Position
from edge_agent.telemetry.receipts import read_receipts
from tests import components
from tests.integration.agents import edge_agent, running
from tests.pages_pair import PagePair, page_pair, start, write_page_pair
from tests.web.page_client import State

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[PagePair]:
    with page_pair(tmp_path) as made:
        yield made


def row(state: State, message_id: str) -> State:
    """The message of that id, or an empty one."""
    found: State = next((each for each in state["messages"] if each["id"] == message_id), {})
    return found


async def take_duty(pair: PagePair, name: str = "王敏") -> None:
    """Somebody is on duty at command."""
    await pair.command_page.state()
    await pair.command_page.act("duty", {"name": name})


async def test_an_sos_is_shown_at_command_and_the_kit_shows_who_confirmed(pair: PagePair) -> None:
    await take_duty(pair)
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        assert (await kit.next())["sos"] is None
        raised = await pair.kit_page.act("sos", {})
        stored = await kit.until(lambda state: state["sos"])
        assert stored["sos"]["id"] == raised["id"]
        assert raised["undo_until_ms"] - stored["sos"]["at_ms"] == 10_000
        shown = await command.until(lambda state: state["alarms"])
        (alarm,) = shown["alarms"]
        assert (alarm["kind"], alarm["units"], alarm["confirmed"]) == ("sos", ["kit-1"], None)
        assert 0 <= alarm["latency_s"] < 2
        received = await kit.until(lambda state: state["sos"]["received_ms"])
        assert (received["sos"]["via"], received["sos"]["sending"], received["sos"]["confirmed"]) == (
            ["radio"],
            [],
            None,
        )
        answer = await pair.command_page.act("confirm", {"alarm": alarm["id"]})
        confirmed = await kit.until(lambda state: state["sos"]["confirmed"])
        assert confirmed["sos"]["confirmed"] == {"by": "王敏", "at_ms": answer["at_ms"], "reason": ""}
        await pair.command_page.act("close", {"alarm": alarm["id"], "reason": "已救出"})
        await kit.until(lambda state: state["sos"] is None)


async def test_a_second_press_while_nobody_confirmed_is_the_same_call_and_a_later_one_a_new(pair: PagePair) -> None:
    await take_duty(pair)
    await pair.kit_page.state()
    first = await pair.kit_page.act("sos", {})
    assert await pair.kit_page.act("sos", {}) == first
    async with pair.command_page.watch() as command, pair.kit_page.watch() as kit:
        await command.until(lambda state: state["alarms"])
        await pair.command_page.act("confirm", {"alarm": first["id"]})
        await kit.until(lambda state: state["sos"]["confirmed"])
        second = await pair.kit_page.act("sos", {})
        assert second["id"] != first["id"]
        await command.until(lambda state: len(state["alarms"]) == 2)


async def test_a_withdrawn_sos_is_told_to_command_and_still_asks_for_confirmation(pair: PagePair) -> None:
    await take_duty(pair)
    await pair.kit_page.state()
    raised = await pair.kit_page.act("sos", {})
    await pair.kit_page.act("sos/withdraw", {"id": raised["id"]})
    async with pair.command_page.watch() as command, pair.kit_page.watch() as kit:
        shown = await command.until(lambda state: state["alarms"] and state["alarms"][0]["withdrawn_ms"])
        assert shown["alarms"][0]["confirmed"] is None
        assert (await kit.next())["sos"]["withdrawn_ms"] == shown["alarms"][0]["withdrawn_ms"]
        await pair.command_page.act("confirm", {"alarm": raised["id"]})
        await kit.until(lambda state: state["sos"] is None)
    refused = await pair.kit_page.post("sos/withdraw", {"id": "b-1"})
    assert (refused.status, "not known" in refused.json["error"]) == (409, True)


async def test_a_phrase_is_held_taken_back_or_sent_and_then_read_by_command(pair: PagePair) -> None:
    await take_duty(pair)
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        await kit.next()
        undone = await pair.kit_page.act("phrase", {"phrase": "all_safe"})
        sent = await pair.kit_page.act("phrase", {"phrase": "road_cut"})
        held = await kit.until(lambda state: row(state, sent["id"]))
        assert row(held, undone["id"])["state"] == "accepted"
        assert abs(row(held, undone["id"])["undo_until_ms"] - undone["undo_until_ms"]) < 500
        assert held["waiting"] == 2
        await pair.kit_page.act("cancel", {"id": undone["id"]})
        gone = await kit.until(lambda state: not row(state, undone["id"]))
        assert gone["waiting"] == 1
        shown = await command.until(lambda state: state["units"] and state["units"][0]["messages"])
        (message,) = shown["units"][0]["messages"]
        assert (message["phrase"], message["precedence"]) == ("road_cut", "immediate")
        delivered = await kit.until(lambda state: row(state, sent["id"]).get("state") == "delivered")
        assert row(delivered, sent["id"])["undo_until_ms"] is None
        await pair.command_page.act("read", {"message": message["id"]})
        read = await kit.until(lambda state: row(state, sent["id"]).get("state") == "read")
        assert row(read, sent["id"])["by"] == "王敏"
        refused = await pair.kit_page.post("cancel", {"id": sent["id"]})
        assert (refused.status, refused.json["error"]) == (409, "command has read it already: send a new message")


async def test_a_report_that_arrived_can_be_taken_back_until_it_is_read(pair: PagePair) -> None:
    """It stays at command, marked; the kit shows that it is cancelled once command has said so."""
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        await kit.next()
        sent = await pair.kit_page.act("text", {"text": "需要担架"})
        await kit.until(lambda state: row(state, sent["id"]).get("state") == "delivered")
        await pair.kit_page.act("cancel", {"id": sent["id"]})
        await kit.until(lambda state: row(state, sent["id"]).get("state") == "cancelled")
        shown = await command.until(
            lambda state: [each for unit in state["units"] for each in unit["messages"] if each["cancelled_ms"]]
        )
        assert [each["text"] for each in shown["units"][0]["messages"]] == ["需要担架"]


async def test_an_order_is_shown_answered_and_the_answer_reaches_command(pair: PagePair) -> None:
    await take_duty(pair)
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        await command.until(lambda state: state["units"])
        order = await pair.command_page.act("order", {"to": ["kit-1"], "text": "撤到二级避风点", "lifetime_s": 600})
        shown = await kit.until(lambda state: state["messages"])
        (message,) = shown["messages"]
        assert message["id"] == order["bundles"][0]
        assert (message["kind"], message["text"], message["by"], message["answer"]) == (
            "order",
            "撤到二级避风点",
            "王敏",
            "",
        )
        for answer in ("read", "done"):
            await pair.kit_page.act("answer", {"id": message["id"], "answer": answer})
            told = await command.until(lambda state, answer=answer: state["orders"][0]["state"] == answer)  # type: ignore[misc]  # mypy drops the default
            assert told["orders"][0]["reply"] == "kit-1"
        answered = await kit.until(lambda state: row(state, message["id"]).get("answer") == "done")
        assert row(answered, message["id"])["state"] == "done"


async def test_a_photo_goes_small_first_and_both_are_one_message(pair: PagePair) -> None:
    components.require("module:av")
    photo = shot()
    await pair.command_page.state()
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        await kit.next()
        answer = await pair.kit_page.post("photo?caption=north", photo, Content_Type="image/jpeg")
        assert answer.status == 200, answer.body
        message_id = answer.json["id"]
        seen = await command.until(lambda state: state["pictures"])
        assert seen["pictures"][0]["caption"] == "north"
        full = await command.until(lambda state: [each["is_small"] for each in state["pictures"]] == [False])
        image = await pair.command_page.get(full["pictures"][0]["url"])
        assert (image.headers["content-type"], image.body) == ("image/jpeg", photo)
        done = await kit.until(lambda state: row(state, message_id).get("state") == "delivered")
        message = row(done, message_id)
        assert (message["kind"], message["text"], message["small_state"]) == ("photo", "north", "delivered")
        assert len(photo) < message["bytes"] < len(photo) + 300
        assert [each["kind"] for each in done["messages"]] == ["photo"]


def shot() -> bytes:
    """A photo as a phone would make it: 1600 x 1200, about 200 kB."""
    import av
    import numpy

    rows, columns = numpy.mgrid[0:1200, 0:1600]
    plane = ((rows // 3) ^ (columns // 2)).astype(numpy.uint8)
    frame = av.VideoFrame.from_ndarray(
        numpy.dstack((plane, plane.T[:1200, :1200].repeat(2, 1)[:, :1600], plane)), "rgb24"
    )
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 1600, 1200, "yuvj420p"
    context.options = {"qmin": "6", "qmax": "6"}
    context.time_base = Fraction(1, 1)
    picture = frame.reformat(format="yuvj420p")
    picture.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(picture), *context.encode(None)))


async def test_photos_that_would_wait_for_hours_are_refused_and_texts_are_not(tmp_path: Path) -> None:
    pair = write_page_pair(tmp_path)
    start(pair.kit)
    try:
        await pair.kit_page.state()
        tiny = b"\xff\xd8\xff\xd9"
        for _ in range(WAITING_PICTURES_MAX):
            assert (await pair.kit_page.post("photo", tiny, Content_Type="image/jpeg")).status == 200
        refused = await pair.kit_page.post("photo", tiny, Content_Type="image/jpeg")
        assert (refused.status, f"{WAITING_PICTURES_MAX} pictures" in refused.json["error"]) == (409, True)
        await pair.kit_page.act("text", {"text": "x"})
        assert (await pair.kit_page.state())["waiting"] == WAITING_PICTURES_MAX + 1
    finally:
        pair.kit.kill()


async def test_what_is_no_photo_or_too_long_a_text_is_refused_in_words(pair: PagePair) -> None:
    await pair.kit_page.state()
    for action, body, headers, words in (
        ("photo", b"GIF89a", {"Content_Type": "image/jpeg"}, "JPEG, PNG, WebP, AVIF"),
        ("text", b'{"text": " "}', {}, "1 to 2000 characters"),
        ("text", b'{"text": "x", "precedence": "soon"}', {}, "flash, immediate"),
        ("phrase", b'{"phrase": "hello"}', {}, "at_position"),
        ("answer", b'{"id": "b-1", "answer": "read"}', {}, "not known"),
        ("cancel", b'{"id": "b-1"}', {}, "not known"),
        ("duty", b'{"name": "x"}', {}, "allowed at a kit"),
    ):
        answer = await pair.kit_page.post(action, body, **headers)
        assert answer.status == 409, (action, body)
        assert words in answer.json["error"]
    assert (await pair.kit_page.state())["messages"] == []


async def test_a_killed_kit_still_has_its_sos_its_withdrawal_and_sends_its_held_phrases(tmp_path: Path) -> None:
    """Command is not there: everything waits; the kit is killed between the press and the end of the five seconds."""
    pair = write_page_pair(tmp_path)
    start(pair.kit)
    try:
        await pair.kit_page.state()
        first = await pair.kit_page.act("sos", {})
        held = await pair.kit_page.act("phrase", {"phrase": "need_stretcher"})
        text = await pair.kit_page.act("text", {"text": "两人受伤", "precedence": "flash"})
        pair.kit.kill()
        start(pair.kit)
        async with pair.kit_page.watch() as kit:
            again = await kit.until(
                lambda state: row(state, held["id"]) and row(state, held["id"])["undo_until_ms"] is None
            )
            assert again["sos"]["id"] == first["id"]
            assert (again["sos"]["confirmed"], again["sos"]["received_ms"]) == (None, None)
            assert row(again, text["id"])["text"] == "两人受伤"
            assert row(again, held["id"])["why"]["code"] == "no_link"
            await pair.kit_page.act("sos/withdraw", {"id": first["id"]})
        pair.kit.kill()
        start(pair.kit)
        assert (await pair.kit_page.state())["sos"]["withdrawn_ms"] is not None
        start(pair.command)
        async with pair.command_page.watch() as command:
            shown = await command.until(lambda state: state["units"] and len(state["units"][0]["messages"]) == 2)
            assert sorted(each["phrase"] for each in shown["units"][0]["messages"]) == ["", "need_stretcher"]
            await command.until(lambda state: state["alarms"] and state["alarms"][0]["withdrawn_ms"])
    finally:
        for agent in (pair.kit, pair.command):
            if agent.is_running:
                agent.kill()


async def test_what_has_not_left_can_be_taken_back(tmp_path: Path) -> None:
    pair = write_page_pair(tmp_path)
    start(pair.kit)
    try:
        async with pair.kit_page.watch() as kit:
            await kit.next()
            texts = [(await pair.kit_page.act("text", {"text": f"{n}"}))["id"] for n in range(2)]
            await pair.kit_page.act("cancel", {"id": texts[0]})
            state = await kit.until(lambda state: row(state, texts[0]).get("state") == "cancelled")
            assert (row(state, texts[1])["state"], state["waiting"]) == ("accepted", 1)
    finally:
        pair.kit.kill()


async def test_a_kit_alone_says_what_is_missing(tmp_path: Path) -> None:
    pair = write_page_pair(
        tmp_path, kit_extra='[[driver]]\nname = "gnss"\nkind = "gnss"\nflow = "position"\nport = "/dev/no-such-port"\n'
    )
    start(pair.kit)
    try:
        async with pair.kit_page.watch() as kit:
            state = await kit.until(lambda state: "no-such-port" in str(state["missing"]))
            missing = {each["what"]: each["reason"] for each in state["missing"]}
            assert missing.keys() == {"position", "link", "command"}
            assert (missing["link"], missing["command"]) == ("no_link", "no_command")
            assert (state["command_heard_ms"], state["position"], state["is_clock_set"]) == (None, None, True)
            assert state["links"][0]["name"] == "radio"
    finally:
        pair.kit.kill()


async def test_where_the_kit_is_goes_with_its_sos(pair: PagePair) -> None:
    """A position that any driver or program of this kit sent is the kit's; an older one never replaces it."""
    for lat_deg, captured_at_ms in ((28.46, 1_760_000_000_000), (1.0, 1_750_000_000_000)):
        place = Position(lat_deg=lat_deg, lon_deg=121.9, captured_at_ms=captured_at_ms, system="BD", datum="CGCS2000")
        edge_agent("send", "--config", pair.kit.config, "--flow", "position", stdin=place.pack())
    async with pair.kit_page.watch() as kit, pair.command_page.watch() as command:
        state = await kit.until(lambda state: state["position"])
        expected = {
            "lat": 28.46,
            "lon": 121.9,
            "captured_ms": 1_760_000_000_000,
            "system": "BD",
            "datum": "CGCS2000",
        }
        assert state["position"] == expected
        await pair.kit_page.act("sos", {})
        shown = await command.until(lambda state: state["alarms"])
        assert shown["alarms"][0]["position"] == expected
    pair.command.kill()
    assert pair.kit.stop() == 0
    start(pair.kit)
    after = await pair.kit_page.state()
    assert (after["position"], after["command_heard_ms"] is not None) == (expected, True)


async def test_an_order_typed_at_a_command_line_is_shown_too_and_garbage_is_not(pair: PagePair) -> None:
    await pair.command_page.state()
    for content in (b"\xff\xfe\xfd", "停泵".encode()):
        edge_agent("send", "--config", pair.command.config, "--flow", "order", "--to", "kit-1", stdin=content)
    async with pair.kit_page.watch() as kit:
        state = await kit.until(lambda state: state["messages"])
        assert [each["text"] for each in state["messages"]] == ["停泵"]


async def test_a_kit_whose_page_cannot_remember_still_raises_an_sos_and_says_what_it_cannot(tmp_path: Path) -> None:
    pair = write_page_pair(tmp_path)
    obstacle = tmp_path / "var/kit-1/page.db"
    obstacle.mkdir(parents=True)
    start(pair.kit)
    try:
        await pair.kit_page.state()
        raised = await pair.kit_page.act("sos", {})
        refused = await pair.kit_page.post("phrase", {"phrase": "all_safe"})
        assert (refused.status, "page.db: unable to open" in refused.json["error"]) == (409, True)
        state = await pair.kit_page.state()
        assert (state["sos"]["id"], state["messages"]) == (raised["id"], [])
        pair.kit.kill()
        obstacle.rmdir()
        start(pair.kit)
        assert (await pair.kit_page.state())["sos"]["id"] == raised["id"]
    finally:
        pair.kit.kill()


@pytest.mark.parametrize("is_same_boot", [True, False])
async def test_an_order_whose_time_is_over_is_acted_on_by_nobody_and_command_is_told(
    tmp_path: Path, *, is_same_boot: bool
) -> None:
    """Surely over, it has expired; of a boot that nobody knows it may be over, and a person has to ask."""
    pair = write_page_pair(tmp_path)
    with running(pair.command, pair.kit):
        sent = edge_agent(
            "send", "--config", pair.command.config, "--flow", "order", "--to", "kit-1", "--lifetime", 6,
            "--wait", "delivered", "--timeout", 20, stdin=b"leave now",
        )  # fmt: skip
        assert pair.kit.stop() == 0
        memory = KitMemory(tmp_path / "var/kit-1")
        (order,) = memory.all(KitOrder)
        if not is_same_boot:
            order.boot_id = "another"
        order.taken_s -= 6
        await memory.keep(order)
        memory.close()
        start(pair.kit)
        word = Progress.EXPIRED_THERE if is_same_boot else Progress.HELD
        async with pair.kit_page.watch() as kit:
            (message,) = (await kit.until(lambda state: state["messages"][0]["state"] != "delivered"))["messages"]
            assert (message["text"], message["state"], message["answer"]) == ("leave now", word.word, "")
        told = edge_agent("listen", "--config", pair.command.config, "--flow", "read", "--count", 1, "--since", "all")
        line = json.loads(told)
        packed = line["payload"].encode() if "payload" in line else base64.b64decode(line["payload_b64"])
        (receipt,) = read_receipts(packed, reader="command", writer="kit-1", at_ms=0)
        assert receipt.state is word
        assert [str(bundle) for bundle in receipt.bundles()] == [json.loads(sent)["bundle"]]
        answered = await pair.kit_page.post("answer", {"id": message["id"], "answer": "read"})
        assert answered.status == (409 if is_same_boot else 200)


async def test_a_page_whose_port_is_taken_does_not_stop_the_kit(tmp_path: Path) -> None:
    pair = write_page_pair(tmp_path)
    with socket.create_server(("127.0.0.1", pair.kit_page.port)):
        pair.kit.start()
        try:
            line = pair.kit.wait_for("plugin_lost", what="page")
            assert line["reason"] == f"127.0.0.1:{pair.kit_page.port}: Address already in use"
            status = json.loads(await asyncio.to_thread(edge_agent, "status", "--config", pair.kit.config, "--json"))
            assert status["node"] == "kit-1"
        finally:
            assert pair.kit.stop() == 0
