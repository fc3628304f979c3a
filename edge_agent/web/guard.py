"""Who may ask this server: programs and pages of this machine alone, and no page of another site through a browser.

A page elsewhere can make a browser send requests here. It cannot choose ``Host`` (which names its own site when it
points its name at us: DNS rebinding), nor ``Origin``, nor read the token that every action must carry.
"""

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PLAIN_METHODS = ("GET", "HEAD")
"""They change nothing, and a browser lets no other site read their answers."""


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, and says to browsers what a page here may load and who may
    frame it. ``frame_ancestors`` are origins beside our own."""

    def __init__(self, app: ASGIApp, frame_ancestors: Sequence[str] = ()) -> None:
        self._app = app
        self._frame_ancestors = " ".join(("'self'", *frame_ancestors))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = _refusal(scope, headers)
        if refusal:
            await JSONResponse({"error": refusal}, status_code=403)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), headers["host"])
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _add_headers(self, answer: MutableHeaders, host: str) -> None:
        own = answer.get("Content-Security-Policy")  # of a page that needs less than the others
        answer["Content-Security-Policy"] = own or (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
            f"media-src 'self' blob:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; "
            f"object-src 'none'; frame-ancestors {self._frame_ancestors}"
        )
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Referrer-Policy"] = "same-origin"
        answer["Cross-Origin-Resource-Policy"] = "same-origin"
        answer.setdefault("Cache-Control", "no-cache")  # kept, but asked again each time: a new version shows at once


def _refusal(scope: Scope, headers: Headers) -> str:
    """Why this request is not answered; empty when it is."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_own_host(hosts[0]):
        return f"host {', '.join(hosts)[:80]!r}: allowed: localhost, 127.0.0.1, [::1], with any port"
    origin = headers.get("origin")
    is_plain = scope["type"] == "http" and scope["method"] in _PLAIN_METHODS
    if not is_plain and origin is not None and origin != f"http://{hosts[0]}":  # programs that are no browser send none
        return f"origin {origin[:80]!r}: allowed: http://{hosts[0]}"
    return ""


def is_own_host(host: str) -> bool:
    """Whether a Host header names this machine by its loopback."""
    name, colon, port = host.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        name = host
    if name == "localhost":
        return True
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
