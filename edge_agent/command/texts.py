"""What a person typed, checked."""

from collections.abc import Mapping
from typing import Any

from edge_agent.core.errors import ActionError


def wanted_text(body: Mapping[str, Any], key: str, longest: int) -> str:  # Any: JSON
    """A text that a person typed. Raises ActionError naming the key."""
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= longest:
        raise ActionError(f"{key}: a text of 1 to {longest} characters is needed")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ActionError(f"{key}: half a character (a lone surrogate) is in the text; type it again")
    return value.strip()
