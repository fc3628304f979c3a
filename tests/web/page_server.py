"""The real page server with a scripted node behind it, and a stand-in for the demo's own server.

Pages, HTTP, WebSocket, token and policy are the product's; only what the node would know is written by the test.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge_agent.core.errors import ActionError
from edge_agent.web.server import STATIC, serve

DEMO = Path(__file__).parents[2] / "examples/demo/static"
PUSH_S = 0.5
START_LIMIT_S = 10.0
State = dict[str, Any]  # Any: JSON
StateMaker = Callable[[int], State]
_ADDED_BY_SERVER = ("role", "now_ms", "csrf")

_DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 100"><rect width="160" height="100" fill="#8b9aa1"/>'
    '<path d="M0 70 L50 40 L90 60 L160 35 V100 H0Z" fill="#4d5a60"/></svg>'
)


def now_ms() -> int:
    """UTC milliseconds by this machine's clock, the one the browser has too."""
    return time.time_ns() // 1_000_000


class ScriptedDesk:
    """A desk that says what a test wants and keeps what it was told (implements edge_agent.web.desk.Desk)."""

    def __init__(self, make: StateMaker) -> None:
        self.make = make
        self.role = str(make(now_ms())["role"])
        self.change: Callable[[State], None] = lambda state: None
        self.answer: Callable[[str, Any], State] = lambda path, body: {}
        self.posted: list[tuple[str, Any]] = []
        self.pushes = 0
        self.tracks: dict[str, list[State]] = {}
        self._watchers: set[asyncio.Event] = set()

    async def state_json(self, now_ms: int) -> str:
        made = self.make(now_ms)
        self.change(made)
        kept = {name: value for name, value in made.items() if name not in _ADDED_BY_SERVER}
        return json.dumps(kept, ensure_ascii=False)

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> State:
        kept = {name: len(value) if isinstance(value, bytes) else value for name, value in body.items()}
        self.posted.append((f"/api/{action}", kept))
        answer = self.answer(f"/api/{action}", kept)
        if "error" in answer:
            raise ActionError(answer["error"])
        self.push()
        return answer

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        return _DRAWING.encode(), "image/svg+xml"

    def track(self, unit: str) -> list[State] | None:
        return self.tracks.get(unit, [])

    def tiles(self, numbers: Sequence[int]) -> Path | None:
        return None

    def watch(self) -> asyncio.Event:
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        self._watchers.discard(event)

    def urgency(self) -> int:
        return self.pushes

    def push(self) -> None:
        """Something changed that a page must show at once."""
        self.pushes += 1
        for event in self._watchers:
            event.set()


class _Served:
    """A coroutine in a thread of its own, with a loopback port."""

    def __init__(self, port: int) -> None:
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"pages-{self.port}")

    def _serve(self) -> Coroutine[Any, Any, None]:
        """What runs in the thread."""
        raise AssertionError("a subclass says what to serve")

    def _run(self) -> None:
        self._task = self._loop.create_task(self._serve())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            return  # stop() asked for it
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert time.monotonic() < end_s, f"no server at {self.url}"
                time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        """End the server; its connections break as if the node had gone."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=10)


class PageServer(_Served):
    """One node's page on loopback. ``desk.posted`` are the actions it was given, oldest first."""

    def __init__(self, make: StateMaker, *, port: int = 0, clock: Callable[[], int] = now_ms) -> None:
        super().__init__(port)
        self.desk = ScriptedDesk(make)
        self.clock = clock

    def _serve(self) -> Coroutine[Any, Any, None]:
        listen = f"127.0.0.1:{self.port}"
        return serve(self.desk, listen, now_ms=self.clock, frame_ancestors=("http://127.0.0.1:*",))

    def push(self) -> None:
        """Tell every page at once, as a node does when something changes."""
        self._loop.call_soon_threadsafe(self.desk.push)

    def show(self, make: StateMaker) -> None:
        """Say another state from now on."""
        self.desk.make = make
        self.push()


class DemoServer(_Served):
    """The demo's own server as docs/api.md gives it; ``posted`` as above."""

    def __init__(self, make: StateMaker) -> None:
        super().__init__(0)
        self.make = make
        self.posted: list[tuple[str, Any]] = []

    def _serve(self) -> Coroutine[Any, Any, None]:
        app = Starlette(
            routes=[
                Route("/", self._page),
                WebSocketRoute("/demo/state", self._say),
                Route("/demo/{action:path}", self._act, methods=["POST"]),
                Mount("/demo/static", StaticFiles(directory=DEMO)),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )
        config = uvicorn.Config(app, port=self.port, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        return self._server.serve()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)

    async def _page(self, request: Request) -> Response:
        return FileResponse(DEMO / "demo.html")

    async def _act(self, request: Request) -> Response:
        self.posted.append((request.url.path, await request.json()))
        return JSONResponse({})

    async def _say(self, page: WebSocket) -> None:
        await page.accept()
        try:
            while not self._server.should_exit:
                await page.send_text(json.dumps(self.make(now_ms()), ensure_ascii=False))
                await asyncio.sleep(PUSH_S)
        except (WebSocketDisconnect, RuntimeError):
            return  # the page went away


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
