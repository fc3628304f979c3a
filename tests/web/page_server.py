"""A server that speaks the page contract of docs/api.md over real HTTP and WebSocket, with states the test chooses.

The pages are the product's files; only what a node would say is scripted. The tests against the real server are in
test_api*.py and in the demo.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "edge_agent/web/static"
DEMO = ROOT / "examples/demo/static"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; frame-src http://127.0.0.1:*; object-src 'none'; base-uri 'none'"
)
PUSH_S = 0.5
State = dict[str, Any]  # Any: JSON
StateMaker = Callable[[int], State]

_DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 100"><rect width="160" height="100" fill="#8b9aa1"/>'
    '<path d="M0 70 L50 40 L90 60 L160 35 V100 H0Z" fill="#4d5a60"/></svg>'
)


def now_ms() -> int:
    """UTC milliseconds by this machine's clock, the one the browser has too."""
    return time.time_ns() // 1_000_000


class PageServer:
    """One node's pages on loopback. ``posted`` are the actions it was given, oldest first.

    A test may set ``change`` (alters each state before it is said) and ``answer`` (what an action gets back).
    """

    def __init__(self, make: StateMaker, *, demo: StateMaker | None = None, port: int = 0) -> None:
        self.make = make
        self.demo = demo
        self.change: Callable[[State], None] = lambda state: None
        self.answer: Callable[[str, Any], State] = lambda path, body: {}
        self.posted: list[tuple[str, Any]] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._moved: set[asyncio.Event] = set()
        self._server = uvicorn.Server(
            uvicorn.Config(self._app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._run, name=f"pages-{self.port}")

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; its connections break as if the node had gone."""
        self._server.should_exit = True
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))

    def push(self) -> None:
        """Tell every page at once, as a node does when something changes."""
        self._loop.call_soon_threadsafe(lambda: [moved.set() for moved in self._moved])

    def show(self, make: StateMaker) -> None:
        """Say another state from now on."""
        self.make = make
        self.push()

    def state(self) -> State:
        """What the server says now; times of the scripted state are those of its making, so ages run on."""
        state = self.make(now_ms())
        self.change(state)
        return state

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/command", self._page),
            Route("/kit", self._page),
            WebSocketRoute("/api/state", self._say_state),
            WebSocketRoute("/demo/state", self._say_demo),
            Route("/api/picture/{id}", self._picture),
            Route("/{path:path}", self._act, methods=["POST"]),
            Mount("/demo/static", StaticFiles(directory=DEMO)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return Starlette(routes=routes)

    async def _page(self, request: Request) -> Response:
        name = DEMO / "demo.html" if self.demo else STATIC / f"{self.make(now_ms())['role']}.html"
        return FileResponse(name, headers={"Content-Security-Policy": POLICY})

    async def _picture(self, request: Request) -> Response:
        return Response(_DRAWING, media_type="image/svg+xml")

    async def _act(self, request: Request) -> Response:
        if request.headers["content-type"].startswith("image/"):
            body: Any = {"caption": request.query_params["caption"], "image_bytes": len(await request.body())}
        else:
            body = await request.json()
        self.posted.append((request.url.path, body))
        answer = self.answer(request.url.path, body)
        self.push()
        return JSONResponse(answer, status_code=409 if "error" in answer else 200)

    async def _say_state(self, page: WebSocket) -> None:
        await self._say(page, self.state)

    async def _say_demo(self, page: WebSocket) -> None:
        demo = self.demo
        if demo is not None:
            await self._say(page, lambda: demo(now_ms()))

    async def _say(self, page: WebSocket, read: Callable[[], State]) -> None:
        await page.accept()
        moved = asyncio.Event()
        self._moved.add(moved)
        try:
            while not self._server.should_exit:
                await page.send_text(json.dumps(read(), ensure_ascii=False))
                moved.clear()
                try:
                    await asyncio.wait_for(moved.wait(), PUSH_S)
                except TimeoutError:
                    continue
        except (WebSocketDisconnect, RuntimeError):
            return  # the page went away
        finally:
            self._moved.discard(moved)
