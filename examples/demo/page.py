"""A person at a page: sees its state as the browser does, and presses through the same HTTP API."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import websockets

Json = dict[str, Any]  # Any: JSON


class PageError(Exception):
    """The page refused an action; the message is its own."""


class Page:
    """One node's page, followed over restarts of its server."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.state: Json | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow the state for ever."""
        uri = self.address.replace("http://", "ws://") + "api/state"
        origin = self.address.rstrip("/")
        while True:
            try:
                async with websockets.connect(uri, origin=websockets.Origin(origin), max_size=None) as socket:
                    async for message in socket:
                        self.state = json.loads(message)
                        self._changed.set()
            except (OSError, websockets.WebSocketException):
                self.state = None
            await asyncio.sleep(0.2)

    async def until(self, holds: Callable[[Json], bool], timeout_s: float) -> Json | None:
        """The first state for which ``holds``; None when that takes longer than ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.state is None or not holds(self.state):
                    self._changed.clear()
                    await self._changed.wait()
                return self.state
        except TimeoutError:
            return None

    async def press(self, action: str, body: Json) -> Json:
        """Do what a button does. Raises PageError with the page's reason."""
        return await self._post(action, json.dumps(body).encode(), "application/json")

    async def send_photo(self, image: bytes, caption: str) -> Json:
        """Send a photo as the phone does."""
        return await self._post(f"photo?caption={quote(caption)}", image, "image/jpeg")

    async def _post(self, action: str, body: bytes, kind: str) -> Json:
        state = self.state
        if state is None:
            raise PageError(f"{self.address} does not answer")
        headers = {"Content-Type": kind, "X-CSRF-Token": state["csrf"], "Origin": self.address.rstrip("/")}
        request = urllib.request.Request(f"{self.address}api/{action}", data=body, headers=headers)

        def ask() -> Json:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                raise PageError(f"{action}: {error.read().decode()}") from error
            except OSError as error:
                raise PageError(f"{action}: {error}") from error

        return await asyncio.to_thread(ask)
