"""Control of live links over HTTP and JSON, from this machine only.

``GET /links`` gives every link; ``POST /links/NAME`` changes one and gives it back. A body holds any of: ``direction``
("up", "down", "both"), ``restore`` (true), ``slow_bps`` (as ``LiveLink.slow``), ``outage`` ("drop", "hold", null),
``kills_in_flight`` (with an outage), ``reset`` (true: breaks the connections of a TCP link), and the numbers of
LinkProfile (``rate_bps``, ``delay_s``, ``jitter_s``, ``loss_ratio``, ...), which ``restore`` and ``slow_bps`` do not
have beside them. All of it holds, or an error says which field is wrong and nothing has changed.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote

from edge_agent.addresses import HostPort, is_loopback
from edge_agent.core.errors import EdgeAgentError
from link_sim.errors import ProfileError
from link_sim.link.model import Outage
from link_sim.real_time.live import Direction, LiveLink

_HEAD_MAX_BYTES = 8192
_BODY_MAX_BYTES = 65_536
_REQUEST_S = 10.0  # a client that is slower than that is not on this machine
_STATUS_WORDS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}


Choice = TypeVar("Choice", Direction, Outage)


class ControlError(EdgeAgentError):
    """A request that is not granted; ``status`` is the HTTP code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def change(link: LiveLink, wishes: Mapping[str, object]) -> None:
    """Do what one body asks of one link. Raises ControlError or ProfileError, and then nothing has changed."""
    numbers = dict(wishes)
    direction = _one_of(Direction, "direction", numbers.pop("direction", "both"))
    is_restored = _flag("restore", numbers.pop("restore", False))
    kills_in_flight = _flag("kills_in_flight", numbers.pop("kills_in_flight", False))
    is_reset = _flag("reset", numbers.pop("reset", False))
    has_outage, wish = "outage" in numbers, numbers.pop("outage", None)
    outage = None if wish is None else _one_of(Outage, "outage", wish, "null")
    if is_restored and numbers:
        raise ControlError(
            400, f"restore brings back every number; it allows no {', '.join(sorted(numbers))} beside it"
        )
    slow_bps = _slow_bps(numbers)
    if kills_in_flight and outage is None:
        raise ControlError(400, "kills_in_flight: allowed beside an outage of drop or hold")
    if is_reset and link.reset is None:
        raise ControlError(400, f"reset: link {link.name} has no connections; allowed is a TCP link")
    if slow_bps is not None:
        link.slow(slow_bps, direction=direction)
    elif numbers:
        link.set(numbers, direction=direction)
    if is_restored:
        link.restore(direction=direction)
    if outage is not None:
        link.cut(outage, kills_in_flight=kills_in_flight, direction=direction)
    elif has_outage:
        link.mend(direction=direction)
    if is_reset and link.reset is not None:
        link.reset()


def _slow_bps(numbers: dict[str, object]) -> int | None:
    """The rate in bit/s that a link is slowed to, taken out of ``numbers``; None when that is not asked for."""
    if "slow_bps" not in numbers:
        return None
    slow_bps = numbers.pop("slow_bps")
    if type(slow_bps) is not int or slow_bps < 1:
        raise ControlError(400, f"slow_bps {slow_bps!r}: allowed is a whole number, 1 or more")
    if numbers:
        raise ControlError(
            400, f"slow_bps keeps every other number; it allows no {', '.join(sorted(numbers))} beside it"
        )
    return slow_bps


def _one_of(choices: Iterable[Choice], name: str, value: object, *more: str) -> Choice:
    choices = list(choices)
    for choice in choices:
        if choice.value == value:
            return choice
    allowed = ", ".join([*(str(choice.value) for choice in choices), *more])
    raise ControlError(400, f"{name} {value!r}: allowed is {allowed}")


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ControlError(400, f"{name} {value!r}: allowed is true or false")
    return value


class ControlServer:
    """The HTTP door to some live links; ``async with`` opens and closes it. Port 0 takes any free port."""

    def __init__(self, links: Iterable[LiveLink], *, listen: HostPort) -> None:
        if not is_loopback(listen):
            raise ControlError(400, f"control {listen}: allowed is an address of this machine, such as 127.0.0.1:8500")
        self._links = {link.name: link for link in links}
        self._listen = listen
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> HostPort:
        """Where it listens; the port is real once it was started."""
        if self._server is None:
            return self._listen
        return HostPort(host=self._listen.host, port=self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._listen.host, self._listen.port, limit=_HEAD_MAX_BYTES
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, one connection."""
        try:
            async with asyncio.timeout(_REQUEST_S):
                status, answer = await self._answer(reader)
                content = json.dumps(answer).encode()
                head = (
                    f"HTTP/1.1 {status} {_STATUS_WORDS[status]}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + content)
                await writer.drain()
        except (TimeoutError, OSError):  # the client went away; there is nobody to tell
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, object]:
        try:
            method, path, body = await _read_request(reader)
            if path == "/links" and method == "GET":
                return 200, [link.describe() for link in self._links.values()]
            name = unquote(path.removeprefix("/links/"))
            if not path.startswith("/links/") or name not in self._links:
                raise ControlError(
                    404, f"{path}: there is /links" + "".join(f", /links/{name}" for name in self._links)
                )
            if method not in ("GET", "POST"):
                raise ControlError(405, f"{method}: allowed is GET or POST")
            if method == "POST":
                change(self._links[name], body)
            return 200, self._links[name].describe()
        except ControlError as error:
            return error.status, {"error": str(error)}
        except ProfileError as error:
            return 400, {"error": str(error)}


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, object]]:
    """Method, path and JSON body. Raises ControlError for what is none of ours, OSError when the client went away."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ControlError(400, f"head is longer than {_HEAD_MAX_BYTES} bytes") from error
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError from error
    request, *lines = head.strip().split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    words = request.split(" ")
    if len(words) != 3:
        raise ControlError(400, "not an HTTP request")
    if words[0] != "POST":
        return words[0], words[1], {}
    if fields.get("content-type", "").split(";")[0] != "application/json":  # no form of a foreign page can say that
        raise ControlError(403, "Content-Type: allowed is application/json")
    length_text = fields.get("content-length", "")
    if not length_text.isascii() or not length_text.isdigit() or int(length_text) > _BODY_MAX_BYTES:
        raise ControlError(400, f"Content-Length {length_text!r}: allowed is 0 to {_BODY_MAX_BYTES}")
    try:
        body = json.loads(await reader.readexactly(int(length_text)))
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError from error
    except ValueError as error:
        raise ControlError(400, f"body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ControlError(400, "body is not a JSON object")
    return words[0], words[1], body
