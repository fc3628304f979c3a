"""The printable link report at /report: made elsewhere, sent with a policy that lets in its own style alone."""

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_agent.core.errors import EdgeAgentError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """A whole page that loads nothing; ``style`` is what stands in its style element."""

    html: str
    style: str


ReportMaker = Callable[[str], Awaitable[ReportPage]]
"""The report of a day, "YYYY-MM-DD" in UTC or "" for today. Raises EdgeAgentError with the reason."""


class ReportDoor:
    """Answers GET /report and /report/YYYY-MM-DD."""

    def __init__(self, make: ReportMaker | None) -> None:
        self._make = make

    async def answer(self, request: Request) -> Response:
        """The page of the day that is asked for, or why there is none, as JSON."""
        day = request.path_params.get("day", "")
        if self._make is None or (day and not _DAY.fullmatch(day)):
            return JSONResponse({"error": f"day {day[:40]!r}: allowed: YYYY-MM-DD"}, status_code=404)
        try:
            page = await self._make(day)
        except EdgeAgentError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        digest = base64.b64encode(sha256(page.style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        return Response(
            page.html,
            media_type="text/html",
            headers={"Content-Security-Policy": f"{policy}; frame-ancestors 'none'", "Cache-Control": "no-store"},
        )
