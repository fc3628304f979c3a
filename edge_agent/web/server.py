"""The pages of one node over HTTP on a loopback address: static files, the state by WebSocket, actions by POST.

The contract is docs/api.md, section "web". There is no login yet, so the address is loopback (the configuration sees to
that) and ``guard`` keeps other sites' pages out.
"""

import asyncio
import contextlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from edge_agent.addresses import parse_host_port
from edge_agent.core.errors import EdgeAgentError
from edge_agent.ports import PluginLostError
from edge_agent.web.desk import Desk
from edge_agent.web.feed import StateFeed
from edge_agent.web.guard import Guard
from edge_agent.web.report import ReportDoor, ReportMaker

STATIC = Path(__file__).parent / "static"
JSON_MAX_BYTES = 16_384
PHOTO_MAX_BYTES = 12_000_000  # a phone's camera makes 3 to 8 MB
DRAIN_MAX_BYTES = 64_000_000
PHOTOS_AT_ONCE = 2  # each holds its bytes twice in memory until it is stored
BODY_LONGEST_S = 120.0  # 12 MB over a poor Wi-Fi at 1 Mbit/s
SEND_LONGEST_S = 10.0  # a page that takes nothing for so long asks again when it is back
PAGES_MAX = 32
STOP_LONGEST_S = 0.8
TILE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}

Json = dict[str, Any]  # Any: JSON
Around = Callable[[str, Json], contextlib.AbstractAsyncContextManager[None]]

log = structlog.get_logger()


async def serve(
    desk: Desk,
    listen: str,
    *,
    now_ms: Callable[[], int],
    frame_ancestors: Sequence[str] = (),
    report: ReportMaker | None = None,
    around: Around = lambda action, body: contextlib.nullcontext(),
) -> None:
    """Serve ``desk`` at ``listen`` ("127.0.0.1:8080") until cancelled, which takes at most a second.

    ``frame_ancestors``: origins that may show the page in a frame; ``report`` makes link reports; what a person
    does is done inside of ``around``. Raises PluginLostError when the address is taken.
    """
    with _bind(listen) as listener:
        feed = StateFeed(desk, secrets.token_urlsafe(24), now_ms)
        app = Pages(desk, feed, now_ms, ReportDoor(report), around).app(frame_ancestors)
        server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws=_PageSocket,
                ws_per_message_deflate=False,  # loopback has bandwidth; CPU is what a kit lacks
                ws_max_size=JSON_MAX_BYTES,
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=128,
                timeout_graceful_shutdown=1,
            )
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run(), name="web:feed")
            try:
                await server.serve([listener])
            finally:
                await server.close([listener])
            raise PluginLostError(f"{listen}: the page server ended")


class _Server(uvicorn.Server):
    """uvicorn inside an agent: signals are the agent's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            log.info("page_opened", port=listener.getsockname()[1])

    async def close(self, listeners: list[socket.socket]) -> None:
        """End every connection, within STOP_LONGEST_S."""
        if not self.started:
            return
        try:
            async with asyncio.timeout(STOP_LONGEST_S):
                await self.shutdown(listeners)
        except TimeoutError:
            for task in self.server_state.tasks:  # an answer that nobody fetches
                task.cancel()


class _PageSocket(WebSocketsSansIOProtocol):
    """A page's line whose end is orderly also when the page has begun to close it: uvicorn would raise InvalidState."""

    def shutdown(self) -> None:
        if self.conn.state is State.OPEN:
            super().shutdown()
        else:
            self.transport.close()


def _bind(listen: str) -> socket.socket:
    """The listening socket. Raises PluginLostError."""
    address = parse_host_port(listen)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=64)
    except OSError as error:
        raise PluginLostError(f"{listen}: {os.strerror(error.errno) if error.errno else error}") from error


class RequestError(EdgeAgentError):
    """A request that is not answered as it wished: status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Pages:
    """What each address answers."""

    def __init__(
        self, desk: Desk, feed: StateFeed, now_ms: Callable[[], int], report: ReportDoor, around: Around
    ) -> None:
        self._desk = desk
        self._feed = feed
        self._now_ms = now_ms
        self._report = report
        self._around = around
        self._photos = asyncio.Semaphore(PHOTOS_AT_ONCE)

    def app(self, frame_ancestors: Sequence[str]) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route(f"/{self._desk.role}", self._page),
                WebSocketRoute("/api/state", self._say_state),
                Route("/api/picture/{id:path}", self._picture),
                Route("/api/track/{unit:path}", self._track),
                Route("/layers/{layer:int}", self._tiles),
                Route("/layers/{layer:int}/{z:int}/{x:int}/{y:int}", self._tiles),
                Route("/report", self._report.answer),
                Route("/report/{day}", self._report.answer),
                Route("/api/{action:path}", self._act, methods=["POST"]),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[Middleware(Guard, frame_ancestors=frame_ancestors)],
            exception_handlers={404: _not_found, RequestError: _refused, Exception: _failed},
        )

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / f"{self._desk.role}.html")

    async def _picture(self, request: Request) -> Response:
        found = await self._desk.picture(request.path_params["id"])
        if found is None:
            return JSONResponse({"error": "no such picture (any more)"}, status_code=404)
        image, media_type = found
        return Response(image, media_type=media_type if media_type.startswith("image/") else "image/x-unknown")

    async def _track(self, request: Request) -> Response:
        track = self._desk.track(request.path_params["unit"])
        if track is None:
            return JSONResponse({"error": "no such unit"}, status_code=404)
        return JSONResponse(track)

    async def _tiles(self, request: Request) -> Response:
        """Tiles of the deployment's own map: an archive in the ranges that are asked for, or one tile of a folder."""
        path = await asyncio.to_thread(self._desk.tiles, list(request.path_params.values()))
        if path is not None:
            return FileResponse(path, media_type=TILE_TYPES.get(path.suffix, "application/octet-stream"))
        if "z" in request.path_params:
            return Response(status_code=204)  # beyond the edge of what was prepared: no fault, so no complaint
        return JSONResponse({"error": "no such map layer"}, status_code=404)

    async def _act(self, request: Request) -> Response:
        action = request.path_params["action"]
        if not hmac.compare_digest(request.headers.get("x-csrf-token", "").encode(), self._feed.token.encode()):
            raise RequestError(403, "X-CSRF-Token: not the one of this start of the agent; load the page again")
        try:
            if action == "photo":
                async with self._photos:
                    answer = await self._do(action, await _read_photo(request))
            else:
                answer = await self._do(action, await _read_json(request))
        except EdgeAgentError as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError(409, str(error)) from error
        self._feed.hurry()
        return JSONResponse(answer)

    async def _do(self, action: str, body: Json) -> Json:
        async with self._around(action, body):
            return await self._desk.act(action, body, self._now_ms())

    async def _say_state(self, page: WebSocket) -> None:
        if self._feed.pages >= PAGES_MAX:
            await page.close()  # before it is accepted: the browser gets 403 and tries again
            return
        await page.accept()
        with self._feed.page() as news:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(_until_gone(page, news), name="web:page")
                while not reader.done():
                    await news.wait()
                    news.clear()
                    try:
                        async with asyncio.timeout(SEND_LONGEST_S):
                            await page.send_text(self._feed.text)
                    except (TimeoutError, WebSocketDisconnect):
                        break
                reader.cancel()


async def _until_gone(page: WebSocket, news: asyncio.Event) -> None:
    """Return when the page has gone, and wake its writer. Pages never speak: whatever comes is the end."""
    await page.receive()
    news.set()


async def _read_json(request: Request) -> Json:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError(415, "Content-Type: allowed: application/json")
    try:
        body = json.loads(await _read_body(request, JSON_MAX_BYTES), parse_constant=_refuse_constant)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but no text that can be sent on
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the body is not JSON, or holds no valid text") from error
    if not isinstance(body, dict):
        raise RequestError(400, "the body is not a JSON object")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


async def _read_photo(request: Request) -> Json:
    mime = request.headers.get("content-type", "").partition(";")[0].strip()
    if not mime.startswith("image/"):
        raise RequestError(415, f"Content-Type {mime[:80]!r}: this file is not a picture")
    image = await _read_body(request, PHOTO_MAX_BYTES)
    return {"image": image, "mime": mime, "caption": request.query_params.get("caption", "")}


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises RequestError when it is too long or takes too long.

    A longer one is read to its end, up to a bound, because a browser shows an answer only after it was sent.
    """
    too_long = RequestError(413, f"it has more than {max_bytes} bytes")
    body, length = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_LONGEST_S):
            async for piece in request.stream():
                length += len(piece)
                if length <= max_bytes:
                    body += piece
                elif length > DRAIN_MAX_BYTES:
                    raise too_long
    except TimeoutError as error:
        raise RequestError(408, f"the body did not come within {BODY_LONGEST_S:g} s") from error
    except ClientDisconnect as error:
        raise RequestError(400, "the sender left in the middle") from error
    if length > max_bytes:
        raise too_long
    return bytes(body)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # registered for it alone
    return JSONResponse({"error": str(error)}, status_code=error.status)


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{request.url.path[:80]}: not found"}, status_code=404)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"defect: {type(error).__name__}"}, status_code=500)  # uvicorn logs where
