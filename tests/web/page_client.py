"""A browser's part of the page contract in a few lines: state by WebSocket, actions by POST, with chosen headers."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

State = dict[str, Any]  # Any: JSON
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> State:
        """The body as an object."""
        content: State = json.loads(self.body)
        return content


@dataclass(slots=True)
class PageClient:
    """One page's connection to a node on this machine."""

    port: int
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request; http.client in a thread, so that the server may live in this loop."""
        return await asyncio.to_thread(self._request, method, path, body, dict(headers or {}))

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    async def get(self, path: str) -> Answer:
        """A plain request."""
        return await self.request("GET", path)

    async def post(self, action: str, body: object, **headers: str) -> Answer:
        """An action as the page sends it; ``headers`` with _ for - replace those of the page."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        usual = {"Content-Type": "application/json", "X-CSRF-Token": self.token}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request("POST", f"/api/{action}", content, {**usual, **given})

    async def act(self, action: str, body: object) -> State:
        """An action that must be done."""
        answer = await self.post(action, body)
        assert answer.status == 200, (action, answer.status, answer.body)
        return answer.json

    @asynccontextmanager
    async def watch(self, **headers: str) -> AsyncIterator["Watch"]:
        """The page's line to the server."""
        url = f"ws://127.0.0.1:{self.port}/api/state"
        async with connect(url, additional_headers=headers, max_size=None, compression=None) as line:
            yield Watch(self, line)

    async def state(self) -> State:
        """The state now; waits for a server that is starting."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    async with self.watch() as watch:
                        return await watch.next()
                except (OSError, EOFError):
                    await asyncio.sleep(0.02)  # a port that is not open yet has no event to wait for


@dataclass(slots=True)
class Watch:
    """States as they come."""

    client: PageClient
    line: ClientConnection

    async def next(self) -> State:
        """The next state."""
        state: State = json.loads(await self.line.recv())
        self.client.token = state["csrf"]
        return state

    async def until(self, holds: Callable[[State], object], patience_s: float = PATIENCE_S) -> State:
        """The first state for which ``holds`` is true."""
        state: State = {}
        try:
            async with asyncio.timeout(patience_s):
                while not state or not holds(state):
                    state = await self.next()
        except TimeoutError:
            raise AssertionError(f"not within {patience_s} s; last state: {state}") from None
        return state
