"""Errors this project raises on purpose, and the names of what it refuses.

What a peer sends is never an error: it is counted by name and dropped (``counters``).
"""

from enum import StrEnum


class EdgeAgentError(Exception):
    """Base of every error this project raises on purpose."""


class ActionError(EdgeAgentError):
    """What a person asked for on a page cannot be done; the message says why, in words for them."""


class RefusedError(EdgeAgentError):
    """A bundle was not accepted; ``reason`` says why in a word that pages translate."""

    def __init__(self, reason: "RefusalReason", detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class RefusalReason(StrEnum):
    """Why a node did not take a bundle. The order is the code on the wire: append only."""

    STORE_FULL = "store_full"
    STORE_FAILED = "store_failed"
    TOO_LARGE = "too_large"
    WINDOW_CLOSED = "window_closed"
    PARTIAL_DROPPED = "partial_dropped"
    EXPIRED = "expired"
    NO_ROUTE = "no_route"
    IDENTITY_MISMATCH = "identity_mismatch"
    MALFORMED = "malformed"
