"""Errors that every part of the simulator may raise."""

from edge_agent.core.errors import EdgeAgentError


class ProfileError(EdgeAgentError):
    """A profile holds a value that no link can have; the message names the field and what is allowed."""
