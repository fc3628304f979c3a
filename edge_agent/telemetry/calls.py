"""Calls for help that travel in several copies: one operation, whoever passes it on."""

import hashlib

from edge_agent.core.bundle import BundleId

OPERATION_BYTES = 8


def operation_of(sos: BundleId) -> bytes:
    """The operation id of all copies of one call: a BLAKE2b hash of its bundle's id."""
    return hashlib.blake2b(str(sos).encode(), digest_size=OPERATION_BYTES).digest()
