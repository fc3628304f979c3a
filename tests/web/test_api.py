"""The page server on its own: what it pushes and when, what it takes, and whom it refuses. Its desk is scripted."""

import asyncio
import base64
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from edge_agent.audit import AUDIT_FILE, Audit
from edge_agent.core.errors import ActionError, RefusalReason, RefusedError
from edge_agent.page_watchers import Watchers
from edge_agent.ports import PluginLostError
from edge_agent.security.audit import entries, verify
from edge_agent.web.report import ReportMaker, ReportPage
from edge_agent.web.server import JSON_MAX_BYTES, PHOTO_MAX_BYTES, Around, serve
from tests.integration.agents import free_port
from tests.web.page_client import PageClient

pytestmark = pytest.mark.slow
FRAME = "http://127.0.0.1:8090"


@dataclass(slots=True)
class ScriptedDesk:
    """A desk whose state and answers the test chooses."""

    role: str = "kit"
    content: dict[str, Any] = field(default_factory=lambda: {"n": 0})  # Any: JSON
    acted: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    error: Exception | None = None
    alarms: int = 0
    made: int = 0
    files: dict[tuple[int, ...], Path] = field(default_factory=dict)
    watchers: Watchers = field(default_factory=Watchers)

    async def state_json(self, now_ms: int) -> str:
        self.made += 1
        return json.dumps({**self.content, "alarms": self.alarms})

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.acted.append((action, body))
        return {"id": f"b-{len(self.acted)}"}

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        return (b"<svg/>", "text/html") if picture_id == "p~1" else None

    def track(self, unit: str) -> list[dict[str, Any]] | None:
        return [{"lat": 28.46}] if unit == "kit-7" else None

    def tiles(self, numbers: Sequence[int]) -> Path | None:
        return self.files.get(tuple(numbers))

    def watch(self) -> asyncio.Event:
        return self.watchers.watch()

    def unwatch(self, event: asyncio.Event) -> None:
        self.watchers.unwatch(event)

    def urgency(self) -> Hashable:
        return self.alarms

    def change(self) -> None:
        self.content["n"] += 1
        self.watchers.tell()

    def alarm(self) -> None:
        self.alarms += 1
        self.watchers.tell()


@asynccontextmanager
async def serving(
    desk: ScriptedDesk,
    report: ReportMaker | None = None,
    around: Around = lambda action, body: nullcontext(),
) -> AsyncIterator[PageClient]:
    """The server at work, and a page that knows its token."""
    port = free_port(socket.SOCK_STREAM)
    shown = serve(
        desk,
        f"127.0.0.1:{port}",
        now_ms=lambda: time.time_ns() // 1_000_000,
        frame_ancestors=(FRAME,),
        report=report,
        around=around,
    )
    async with asyncio.TaskGroup() as group:
        server = group.create_task(shown)
        client = PageClient(port)
        await client.state()
        yield client
        server.cancel()


async def read_for_ever(line: ClientConnection) -> None:
    """Returns by ConnectionClosed only."""
    async with asyncio.timeout(5.0):
        while True:
            await line.recv()


@pytest.fixture
async def desk() -> ScriptedDesk:
    return ScriptedDesk()


async def test_the_state_comes_at_once_and_again_within_a_second(desk: ScriptedDesk) -> None:
    loop = asyncio.get_running_loop()
    async with serving(desk) as client, client.watch() as watch:
        first = await watch.next()
        assert (first["role"], first["n"]) == ("kit", 0)
        assert abs(first["now_ms"] - time.time_ns() // 1_000_000) < 1000
        assert len(first["csrf"]) >= 24
        began_s = loop.time()
        for _ in range(2):
            assert (await watch.next())["n"] == 0
        assert 0.8 < loop.time() - began_s < 2.5


async def test_many_changes_are_a_few_states_and_the_last_one_is_shown(desk: ScriptedDesk) -> None:
    async with serving(desk) as client, client.watch() as watch:
        await watch.next()
        made = desk.made
        for _ in range(100):
            desk.change()
            await asyncio.sleep(0.01)
        await watch.until(lambda state: state["n"] == 100, patience_s=1.0)
        assert desk.made - made <= 8


async def test_an_alarm_waits_for_no_ordinary_state(desk: ScriptedDesk) -> None:
    loop = asyncio.get_running_loop()
    took_s = []
    async with serving(desk) as client, client.watch() as watch:
        for n in range(1, 6):
            desk.change()
            await watch.next()  # the next ordinary state is due 0.2 s after this one
            desk.alarm()
            began_s = loop.time()
            await watch.until(lambda state, n=n: state["alarms"] == n)  # type: ignore[misc]  # mypy drops the default
            took_s.append(loop.time() - began_s)
    assert min(took_s) < 0.1  # one that waited would have waited each time; a busy machine is late now and then


async def test_an_action_needs_the_token_of_the_state(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        assert (await client.post("sos", {})).json == {"id": "b-1"}
        for token in ("", "wrong", "é"):
            answer = await client.post("sos", {}, X_CSRF_Token=token)
            assert answer.status == 403
            assert "X-CSRF-Token" in answer.json["error"]
        assert [action for action, _ in desk.acted] == ["sos"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"])
async def test_a_page_of_another_origin_can_neither_act_nor_listen(desk: ScriptedDesk, origin: str) -> None:
    async with serving(desk) as client:
        answer = await client.post("sos", {}, Origin=origin)
        assert answer.status == 403
        assert origin in answer.json["error"]
        with pytest.raises(InvalidStatus, match="403"):
            async with client.watch(Origin=origin):
                pass
        own = f"http://127.0.0.1:{client.port}"
        assert (await client.post("sos", {}, Origin=own)).status == 200
        async with client.watch(Origin=own) as watch:
            await watch.next()
        assert len(desk.acted) == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "10.0.0.7", "", "127.0.0.1.evil.example"])
async def test_a_name_that_was_pointed_at_this_machine_is_refused(desk: ScriptedDesk, host: str) -> None:
    async with serving(desk) as client:
        for answer in (
            await client.request("GET", "/", headers={"Host": host}),
            await client.post("sos", {}, Host=host, Origin=f"http://{host}"),
        ):
            assert answer.status in (400, 403)
            assert b"csrf" not in answer.body
        assert desk.acted == []
        for own in ("localhost", f"localhost:{client.port}", "[::1]:80", "127.0.0.2"):
            assert (await client.request("GET", "/", headers={"Host": own})).status == 200


async def test_what_is_no_action_is_refused_with_the_reason(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        for body, headers, status in (
            (b"[1]", {}, 400),
            (b"{", {}, 400),
            (b'{"a": NaN}', {}, 400),
            (b"[" * 16_000, {}, 400),
            (b"\xff", {}, 400),
            (b'{"text": "\\ud800"}', {}, 400),
            (b'{"a": "' + b"x" * JSON_MAX_BYTES + b'"}', {}, 413),
            (b"{}", {"Content_Type": "text/plain"}, 415),
            (b"{}", {"Content_Type": "image/png"}, 415),
        ):
            answer = await client.post("text", body, **headers)
            assert (answer.status, bool(answer.json["error"])) == (status, True), body[:20]
        assert desk.acted == []
        assert (await client.post("text", b'{"text": "%s"}' % (b"x" * 15_000))).status == 200


async def test_what_the_desk_refuses_is_said_in_its_words(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        desk.error = ActionError("nobody is on duty: enter a name first")
        answer = await client.post("confirm", {})
        assert (answer.status, answer.json) == (409, {"error": "nobody is on duty: enter a name first"})
        desk.error = RefusedError(RefusalReason.STORE_FULL, "no room for 3 bytes")
        answer = await client.post("confirm", {})
        assert (answer.status, answer.json) == (409, {"error": "store_full: no room for 3 bytes"})


async def test_a_photo_reaches_the_desk_whole_and_a_larger_one_is_refused_readably(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        image = bytes(range(256)) * 4096
        assert (await client.post("photo?caption=%E5%A1%8C", image, Content_Type="image/jpeg")).status == 200
        assert desk.acted == [("photo", {"image": image, "mime": "image/jpeg", "caption": "塌"})]
        assert (await client.post("photo", image, Content_Type="text/html")).status == 415
        answer = await client.post("photo", bytes(PHOTO_MAX_BYTES + 1), Content_Type="image/jpeg")
        assert (answer.status, answer.json) == (413, {"error": f"it has more than {PHOTO_MAX_BYTES} bytes"})
        assert len(desk.acted) == 1


async def test_pages_load_nothing_from_elsewhere_and_only_the_allowed_frame_them(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        for path in ("/", "/kit"):
            page = await client.get(path)
            assert page.status == 200
            assert b"/static/js/kit/main.js" in page.body
            policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
            assert policy["frame-ancestors"] == f"'self' {FRAME}"
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == "'self'"
            assert policy["connect-src"] == f"'self' ws://127.0.0.1:{client.port}"
            assert page.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/command")).status == 404
        script = await client.get("/static/js/kit/main.js")
        assert (script.status, script.headers["cache-control"]) == (200, "no-cache")
        for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/server.py", "/api/sos"):
            assert (await client.get(path)).status in (404, 405)


async def test_a_picture_is_never_taken_for_a_page(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        picture = await client.get("/api/picture/p~1")
        assert (picture.status, picture.body) == (200, b"<svg/>")
        assert not picture.headers["content-type"].startswith("text/")
        missing = await client.get("/api/picture/p~2")
        assert (missing.status, bool(missing.json["error"])) == (404, True)


async def test_map_tiles_are_served_in_the_ranges_that_are_asked_for(desk: ScriptedDesk, tmp_path: Path) -> None:
    """Of an archive of gigabytes a page reads a few kilobytes; a tile beyond the edge is no fault."""
    whole = bytes(range(256)) * 8
    desk.files = {(0,): tmp_path / "sea.pmtiles", (1, 3, 2, 1): tmp_path / "1.webp"}
    for path in desk.files.values():
        path.write_bytes(whole)
    async with serving(desk) as client:
        part = await client.request("GET", "/layers/0", headers={"Range": "bytes=7-126"})
        assert (part.status, part.body) == (206, whole[7:127])
        assert part.headers["content-range"] == f"bytes 7-126/{len(whole)}"
        assert (await client.request("GET", "/layers/0", headers={"Range": "bytes=0-16383"})).body == whole
        beyond = await client.request("GET", "/layers/0", headers={"Range": f"bytes={len(whole)}-"})
        assert beyond.status == 416
        tile = await client.get("/layers/1/3/2/1")
        assert (tile.status, tile.headers["content-type"]) == (200, "image/webp")
        assert (await client.get("/layers/1/3/2/2")).status == 204
        for path in (
            "/layers/2",
            "/layers/1/3/2",
            "/layers/-1",
            "/layers/..%2f..%2fsecret.key",
            "/layers/1/3/2/..%2f1",
        ):
            assert (await client.get(path)).status == 404


async def test_the_whole_track_of_a_unit_is_there_for_who_asks(desk: ScriptedDesk) -> None:
    """The state has the end of it, for forty units at once."""
    async with serving(desk) as client:
        assert json.loads((await client.get("/api/track/kit-7")).body) == [{"lat": 28.46}]
        assert (await client.get("/api/track/kit-8")).status == 404


async def test_a_page_that_takes_nothing_costs_nobody_anything(desk: ScriptedDesk) -> None:
    """Half a megabyte of state, eighty times, for a page that never reads: the others see each, memory stays."""
    desk.content["large"] = "x" * 500_000
    async with serving(desk) as client, client.watch() as watch:
        await watch.next()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1024)
        writer.write(
            b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" in await reader.readline()
        tracemalloc.start()
        try:
            for n in range(1, 81):
                desk.alarm()
                await watch.until(lambda state, n=n: state["alarms"] >= n)  # type: ignore[misc]  # as above
            assert tracemalloc.get_traced_memory()[0] < 12_000_000
        finally:
            tracemalloc.stop()
            writer.close()


async def test_a_page_that_speaks_is_hung_up_on(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        async with connect(f"ws://127.0.0.1:{client.port}/api/state") as line:
            await line.recv()
            await line.send("hello")
            with pytest.raises(ConnectionClosed):
                await read_for_ever(line)
        await client.state()


async def test_states_are_made_for_pages_only(desk: ScriptedDesk) -> None:
    async with serving(desk) as client:
        await client.get("/")  # the page of ``serving`` has gone by now, or goes with the next state
        desk.change()
        await asyncio.sleep(1.3)
        made = desk.made
        for _ in range(20):
            desk.change()
            await asyncio.sleep(0.02)
        assert desk.made <= made + 1


async def test_a_taken_address_is_said_and_a_stopped_server_gives_its_own_back(desk: ScriptedDesk) -> None:
    loop = asyncio.get_running_loop()
    async with serving(desk) as client:
        with pytest.raises(PluginLostError, match=rf"127\.0\.0\.1:{client.port}: Address already in use"):
            await serve(desk, f"127.0.0.1:{client.port}", now_ms=lambda: 0)
        line = await connect(f"ws://127.0.0.1:{client.port}/api/state")
        began_s = loop.time()
    assert loop.time() - began_s < 1.0
    with pytest.raises(ConnectionClosed):
        await read_for_ever(line)
    with socket.create_server(("127.0.0.1", client.port)):
        pass


async def test_a_stop_while_a_page_is_closing_is_quiet(desk: ScriptedDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that said goodbye with much unread, and goes while the server ends, makes no traceback."""
    monkeypatch.setattr("edge_agent.web.server.SEND_LONGEST_S", 0.5)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    desk.content["much"] = "x" * 20_000_000
    async with serving(desk) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(
            b"GET /api/state HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 101 " in await reader.readline()
        writer.write(b"\x88\x82\0\0\0\0\x03\xe8")  # close, code 1000, masked with zeros (RFC 6455, section 5.5.1)
        made = -1
        while made != desk.made:  # states are made for pages only: the server knows that this one has gone
            made = desk.made
            desk.alarm()
            await asyncio.sleep(0.3)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert complaints == []


async def test_a_link_report_lets_in_its_own_style_and_nothing_else(desk: ScriptedDesk) -> None:
    asked: list[str] = []

    async def make(day: str) -> ReportPage:
        asked.append(day)
        if day == "2026-11-01":
            raise ActionError("the disk takes nothing")
        return ReportPage(html="<style>p{}</style><p>报告</p>", style="p{}")

    async with serving(desk, make) as page:
        today, that_day = await page.get("/report"), await page.get("/report/2026-11-20")
        assert (today.status, today.body.decode()) == (200, "<style>p{}</style><p>报告</p>")
        assert today.headers["content-type"] == "text/html; charset=utf-8"
        policy = today.headers["content-security-policy"]
        digest = base64.b64encode(sha256(b"p{}").digest()).decode()
        assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
        assert "script-src" not in policy
        assert that_day.status == 200
        assert asked == ["", "2026-11-20"]
        failed = await page.get("/report/2026-11-01")
        assert (failed.status, failed.json["error"]) == (503, "the disk takes nothing")
        assert (await page.get("/report/../secret")).status == 404
        assert (await page.get("/report/20261120")).status == 404
        assert (await page.get("/")).headers["content-security-policy"].startswith("default-src 'none'; script-src")
        foreign = await page.request("GET", "/report", headers={"Host": "evil.example"})
        assert foreign.status == 403


async def test_a_node_that_makes_no_reports_has_none(desk: ScriptedDesk) -> None:
    async with serving(desk) as page:
        assert (await page.get("/report")).status == 404


async def test_what_is_pressed_is_in_the_audit_log_with_its_outcome(desk: ScriptedDesk, tmp_path: Path) -> None:
    audit = Audit(tmp_path, "kit-1", lambda: 1_000)
    async with serving(desk, around=lambda action, body: audit.act("page", "Li", action, body)) as client:
        assert (await client.post("text", {"text": "x" * 300})).status == 200
        assert (await client.post("photo?caption=wall", b"picture", Content_Type="image/jpeg")).status == 200
        desk.error = ActionError("nobody is on duty: enter a name first")
        assert (await client.post("confirm", {"id": "a"})).status == 409
    await audit.close()
    assert verify(tmp_path / AUDIT_FILE, "kit-1").lines == 3
    text, photo, refused = entries(tmp_path / AUDIT_FILE)
    assert (text["where"], text["who"], text["act"], text["about"]) == ("page", "Li", "text", {"text": "x" * 200})
    assert photo["about"] == {"image": "7 bytes", "mime": "image/jpeg", "caption": "wall"}
    assert (refused["about"], refused["refused"]) == ({"id": "a"}, "nobody is on duty: enter a name first")


async def test_a_press_is_answered_though_the_audit_log_cannot_be_written(desk: ScriptedDesk, tmp_path: Path) -> None:
    audit = Audit(tmp_path / "missing", "kit-1", lambda: 1_000)
    async with serving(desk, around=lambda action, body: audit.act("page", "Li", action, body)) as client:
        assert (await client.post("sos", {})).json == {"id": "b-1"}
    await audit.close()
