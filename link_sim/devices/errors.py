"""Errors of the device stand-ins."""

from edge_agent.core.errors import EdgeAgentError


class DeviceError(EdgeAgentError):
    """A stand-in was given what its device cannot have; the message names the field, the value and what is allowed."""
