"""The demo's own page: kit and command side by side, the tally, the test bench. Not part of the product."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

import edge_agent.web
from examples.demo.bench import Bench
from examples.demo.page import Json
from examples.demo.script import Script

STATIC = Path(__file__).parent / "static"
PAGE_STATIC = Path(edge_agent.web.__file__).parent / "static"
PUSH_S = 0.5


class DemoServer:
    """Serves one demo on loopback."""

    def __init__(
        self, bench: Bench, script: Script, state: Callable[[], Json], *, port: int, now_s: Callable[[], float]
    ) -> None:
        self._bench = bench
        self._script = script
        self._state = state
        self._port = port
        self._now_s = now_s
        self.report: Json | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        routes = [
            Route("/", self._page),
            Route("/demo/report.json", self._give_report),
            WebSocketRoute("/demo/state", self._say),
            Route("/demo/link/{name}", self._move, methods=["POST"]),
            Route("/demo/sos", self._sos, methods=["POST"]),
            Route("/demo/pause", self._pause, methods=["POST"]),
            Mount("/demo/static", StaticFiles(directory=STATIC)),
            Mount("/static", StaticFiles(directory=PAGE_STATIC)),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes, exception_handlers={HTTPException: _refuse}),
            host="127.0.0.1",
            port=self._port,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        await server._serve()  # serve() takes over the process's signals; the demo has its own

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "demo.html")

    async def _give_report(self, request: Request) -> Response:
        return JSONResponse(
            self.report or {"error": "the script is still running"}, status_code=200 if self.report else 404
        )

    async def _say(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(json.dumps({"clock_ms": time.time_ns() // 1_000_000, **self._state()}))
                await asyncio.sleep(PUSH_S)
        except (WebSocketDisconnect, RuntimeError):
            return  # the page was closed
        except asyncio.CancelledError:
            return  # the demo ends while a page is open, which is no error to tell of

    async def _move(self, request: Request) -> Response:
        name, action = request.path_params["name"], str((await _body(request)).get("action"))
        try:
            self._bench.do(name, action, self._now_s())
        except KeyError as error:
            return JSONResponse({"error": f"link {name!r}, action {action!r}: {error} is not known"}, status_code=404)
        return JSONResponse({})

    async def _sos(self, request: Request) -> Response:
        await _body(request)
        if await self._script.raise_sos() is None:
            return JSONResponse({"error": self._script.problems[-1]}, status_code=502)
        return JSONResponse({})

    async def _pause(self, request: Request) -> Response:
        paused = (await _body(request)).get("paused")
        if not isinstance(paused, bool):
            return JSONResponse({"error": f"paused {paused!r}: allowed: true or false"}, status_code=400)
        self._script.pause(paused)
        return JSONResponse({})


async def _body(request: Request) -> Json:
    """The JSON object of an action. Raises HTTPException: 415 for what a form of a foreign page could send, 400."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise HTTPException(415, "Content-Type: allowed: application/json")
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, f"body: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "body: not a JSON object")
    return body


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for nothing else
    return JSONResponse({"error": error.detail}, status_code=error.status_code)
